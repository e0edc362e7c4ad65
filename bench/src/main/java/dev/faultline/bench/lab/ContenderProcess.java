package dev.faultline.bench.lab;

import dev.faultline.bench.contender.Contender;
import dev.faultline.bench.contender.ContenderMain;
import dev.faultline.bench.contender.Gauge;
import dev.faultline.bench.contender.Slice;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * A contender, or a gauge, in a process of its own, idle unless a slice or a reading was asked for.
 *
 * <p>Threads: one asks; {@link #kill} may come from any.
 *
 * <p>Progress: every wait has a limit; a process that does not answer is killed.
 */
final class ContenderProcess implements AutoCloseable {

    /**
     * Flags every contender gets: the heap and its collector are the same for all, and what is compiled is compiled before it goes on, since a
     * compiler that works beside a slice takes one of its two cores.
     */
    static final List<String> COMMON_FLAGS =
            List.of("--enable-native-access=ALL-UNNAMED", "-Xms64m", "-Xmx64m", "-XX:+UseSerialGC", "-Xbatch");

    private static final long START_LIMIT_MS = 20_000;
    private static final long ANSWER_LIMIT_MS = 10_000;
    private static final String ENDED = "";

    /** A contender that cannot go on. */
    static final class Failed extends Exception {
        private static final long serialVersionUID = 1;

        Failed(String message) {
            super(message);
        }
    }

    private final String key;
    private final Process process;
    private final PrintStream commands;
    private final BlockingQueue<String> answers = new LinkedBlockingQueue<>();

    private volatile String lastWords = "";

    private ContenderProcess(String key, Process process) {
        this.key = key;
        this.process = process;
        this.commands = new PrintStream(process.getOutputStream(), true, StandardCharsets.US_ASCII);
        Thread.ofPlatform().daemon().name("answers of " + key).start(this::listen);
    }

    /**
     * Starts it; {@link #awaitReady} comes next.
     *
     * @param contender who
     * @param cpus a core for each of its hot threads, or -1
     * @param programs makes it, if it is a program in C
     * @return the process
     * @throws Failed if it does not start
     * @throws CPrograms.Absent if it is a program in C that this machine cannot make
     * @throws InterruptedException if the caller is interrupted
     */
    static ContenderProcess start(Contender contender, List<Integer> cpus, CPrograms programs)
            throws Failed, CPrograms.Absent, InterruptedException {
        List<String> command;
        String program = contender.kind().program();
        if (program == null) {
            command = java(contender.jvmFlags(), contender.key());
        } else {
            command = new ArrayList<>();
            command.add(programs.of(program).toString());
            command.add(Integer.toString(contender.window()));
        }
        cpus.forEach(cpu -> command.add(Integer.toString(cpu)));
        return start(contender.key(), command);
    }

    /**
     * Starts a gauge; {@link #awaitReady} comes next.
     *
     * @param gauge which
     * @return the process
     * @throws Failed if it does not start
     */
    static ContenderProcess start(Gauge gauge) throws Failed {
        return start(gauge.key(), java(gauge.jvmFlags(), gauge.key()));
    }

    private static List<String> java(List<String> flags, String key) {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(COMMON_FLAGS);
        command.addAll(flags);
        command.add("-cp");
        command.add(classPath());
        command.add(ContenderMain.class.getName());
        command.add(key);
        return command;
    }

    private static ContenderProcess start(String key, List<String> command) throws Failed {
        try {
            return new ContenderProcess(
                    key, new ProcessBuilder(command).redirectErrorStream(true).start());
        } catch (IOException e) {
            throw new Failed("did not start: " + e.getMessage());
        }
    }

    /**
     * Waits until it welcomes commands.
     *
     * @throws Failed if it never does
     * @throws InterruptedException if the caller is interrupted
     */
    void awaitReady() throws Failed, InterruptedException {
        String answer = answer(START_LIMIT_MS);
        if (!answer.equals(ContenderMain.READY)) {
            throw new Failed("said before it was ready: " + answer);
        }
    }

    /** Modules or class path, whatever this process was started with: a contender runs from the class path. */
    private static String classPath() {
        @Nullable String modules = System.getProperty("jdk.module.path");
        String classes = System.getProperty("java.class.path");
        return modules == null ? classes : modules + java.io.File.pathSeparator + classes;
    }

    private void listen() {
        try (BufferedReader in = process.inputReader(StandardCharsets.UTF_8)) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                if (isAnswer(line)) {
                    answers.add(line);
                } else {
                    // Words of the virtual machine: worth hearing only if they are its last.
                    lastWords = line;
                }
            }
        } catch (IOException e) {
            // The pipe broke: the same as its end.
        }
        answers.add(ENDED);
    }

    private static boolean isAnswer(String line) {
        return line.equals(ContenderMain.READY)
                || line.startsWith(Slice.WORD + " ")
                || line.startsWith(ContenderMain.FIGURE + " ")
                || line.startsWith(ContenderMain.FAILED + " ");
    }

    private String answer(long limitMs) throws Failed, InterruptedException {
        String answer = answers.poll(limitMs, TimeUnit.MILLISECONDS);
        if (answer == null) {
            throw new Failed("no answer within ms=" + limitMs + " " + lastWords);
        }
        if (answer.equals(ENDED)) {
            throw new Failed("ended with status=" + process.waitFor() + " " + lastWords);
        }
        if (answer.startsWith(ContenderMain.FAILED)) {
            throw new Failed(answer);
        }
        return answer;
    }

    /**
     * Runs one slice.
     *
     * @param sliceMs how long it takes at least
     * @return what it came to
     * @throws Failed if it does not answer
     * @throws InterruptedException if the caller is interrupted
     */
    Slice run(int sliceMs) throws Failed, InterruptedException {
        return Slice.parse(ask(sliceMs));
    }

    /**
     * Reads a gauge once.
     *
     * @param sampleMs how long it looks
     * @return the figure
     * @throws Failed if it does not answer
     * @throws InterruptedException if the caller is interrupted
     */
    double sample(int sampleMs) throws Failed, InterruptedException {
        return Double.parseDouble(ask(sampleMs).substring(ContenderMain.FIGURE.length() + 1));
    }

    private String ask(int ms) throws Failed, InterruptedException {
        commands.println(ContenderMain.RUN + " " + ms);
        return answer(ms + ANSWER_LIMIT_MS);
    }

    /** Ends it at once. */
    void kill() {
        process.destroyForcibly();
    }

    /** Ends it. */
    @Override
    public void close() {
        kill();
    }

    @Override
    public String toString() {
        return key;
    }
}
