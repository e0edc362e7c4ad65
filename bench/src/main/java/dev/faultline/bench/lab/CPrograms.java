package dev.faultline.bench.lab;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * The contenders in C, compiled on this machine for this machine, in this run.
 *
 * <p>Threads: one. Lifetime: {@link #close} removes what was compiled.
 */
final class CPrograms implements AutoCloseable {

    /** The flags, the same for all programs. */
    static final List<String> FLAGS = List.of("-std=gnu17", "-O3", "-march=native", "-Wall", "-Wextra", "-pthread");

    private static final List<String> COMPILERS = List.of("gcc", "cc", "clang");
    private static final List<String> HEADERS = List.of("slice.h", "walk.h", "uring.h", "uring_socket.h");
    private static final String SOURCES = "/c/";
    private static final long LIMIT_S = 60;

    /** This machine cannot make the program. */
    static final class Absent extends Exception {
        private static final long serialVersionUID = 1;

        Absent(String message) {
            super(message);
        }
    }

    private final List<String> compilers;
    private final List<Path> made = new ArrayList<>();
    private final Map<String, Path> programs = new HashMap<>();

    /** Programs made by the first compiler of the usual ones that is there. */
    CPrograms() {
        this(COMPILERS);
    }

    /**
     * Programs made by one of some compilers.
     *
     * @param compilers names or paths, the first that is there is used
     */
    CPrograms(List<String> compilers) {
        this.compilers = compilers;
    }

    /**
     * The program made of a source; it is compiled once.
     *
     * @param source the file's name
     * @return the program
     * @throws Absent if there is no compiler, no headers, or another system
     * @throws InterruptedException if the caller is interrupted
     */
    Path of(String source) throws Absent, InterruptedException {
        Path program = programs.get(source);
        if (program == null) {
            try {
                program = compile(source);
            } catch (IOException e) {
                throw new Absent("cannot be compiled: " + e);
            }
            programs.put(source, program);
        }
        return program;
    }

    private Path compile(String source) throws Absent, IOException, InterruptedException {
        Path directory = Files.createTempDirectory("faultline-lab-");
        made.add(directory);
        for (String header : HEADERS) {
            Path _ = copy(header, directory);
        }
        Path file = copy(source, directory);
        Path program = directory.resolve(source.replace(".c", ""));
        made.add(program);
        Path words = directory.resolve("words");
        made.add(words);
        for (String compiler : compilers) {
            List<String> command = new ArrayList<>(List.of(compiler));
            command.addAll(FLAGS);
            command.addAll(List.of("-o", program.toString(), file.toString()));
            Process process;
            try {
                process = new ProcessBuilder(command)
                        .redirectErrorStream(true)
                        .redirectOutput(words.toFile())
                        .start();
            } catch (IOException e) {
                // Not there: the next one.
                continue;
            }
            if (!process.waitFor(LIMIT_S, TimeUnit.SECONDS)) {
                process.destroyForcibly();
                throw new Absent(compiler + " did not end within s=" + LIMIT_S);
            }
            if (process.exitValue() != 0) {
                String first = Files.readString(words).lines().findFirst().orElse("no word");
                throw new Absent(compiler + " ended with status=" + process.exitValue() + ": " + first);
            }
            return program;
        }
        throw new Absent("no C compiler on the PATH: looked for " + String.join(", ", compilers));
    }

    private Path copy(String name, Path directory) throws IOException {
        try (InputStream in = CPrograms.class.getResourceAsStream(SOURCES + name)) {
            if (in == null) {
                throw new IOException("no resource " + SOURCES + name);
            }
            Path file = directory.resolve(name);
            made.add(file);
            Files.write(file, in.readAllBytes());
            return file;
        }
    }

    /** Removes what was compiled, newest first, so that directories are empty when their turn comes. */
    @Override
    public void close() {
        for (Path path : made.reversed()) {
            try {
                boolean _ = Files.deleteIfExists(path);
            } catch (IOException e) {
                // A temporary file stays; the system removes it.
            }
        }
        made.clear();
        programs.clear();
    }
}
