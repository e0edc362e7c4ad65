package dev.faultline.examples.cli;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** The real command in a process of its own: the classes under test, on this Java runtime. */
final class FaultlineProcess {
    private static final long LIMIT_S = 60;

    /** What a process that has ended left behind. */
    record Ended(int status, String out, String err, long ms) {}

    private final Process process;
    private final CompletableFuture<String> out;
    private final CompletableFuture<String> err;
    private final long startNs = System.nanoTime();

    private FaultlineProcess(Process process) {
        this.process = process;
        out = CompletableFuture.supplyAsync(() -> text(process.getInputStream()));
        err = CompletableFuture.supplyAsync(() -> text(process.getErrorStream()));
    }

    static FaultlineProcess start(Path folder, String... words) throws IOException {
        return start(folder, List.of("--enable-native-access=ALL-UNNAMED"), "", words);
    }

    /** With options of the Java runtime, and something that its class path begins with. */
    static FaultlineProcess start(Path folder, List<String> options, String before, String... words)
            throws IOException {
        List<String> command = new ArrayList<>(List.of(
                // Whoever runs the tests in the background has interrupts ignored, and his children inherit that.
                "env",
                "--default-signal=INT",
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC"));
        command.addAll(options);
        command.addAll(List.of(
                "-classpath", before + System.getProperty("java.class.path"), "dev.faultline.examples.cli.Faultline"));
        command.addAll(List.of(words));
        return new FaultlineProcess(
                new ProcessBuilder(command).directory(folder.toFile()).start());
    }

    static Ended run(Path folder, String... words) throws Exception {
        return end(start(folder, words));
    }

    static Ended run(Path folder, List<String> options, String before, String... words) throws Exception {
        return end(start(folder, options, before, words));
    }

    private static Ended end(FaultlineProcess started) throws Exception {
        started.process.getOutputStream().close();
        return started.end();
    }

    Process process() {
        return process;
    }

    /** Sends a signal by its name. */
    void signal(String name) throws Exception {
        int sent = new ProcessBuilder("kill", "-" + name, Long.toString(process.pid()))
                .start()
                .waitFor();
        if (sent != 0) {
            throw new AssertionError("kill: " + sent);
        }
    }

    Ended end() throws Exception {
        if (!process.waitFor(LIMIT_S, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new AssertionError("still running after " + LIMIT_S + " s; said: " + err.get());
        }
        long ms = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - startNs);
        return new Ended(process.exitValue(), out.get(), err.get(), ms);
    }

    private static String text(InputStream in) {
        try {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
