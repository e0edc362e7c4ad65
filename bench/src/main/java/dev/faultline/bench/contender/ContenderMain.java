package dev.faultline.bench.contender;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * The process of one contender: {@code CONTENDER REQUESTER_CPU RESPONDER_CPU}.
 *
 * <p>Takes {@code run MILLISECONDS} on standard input and answers each with a line of {@link Slice}; says {@code ready} at the start and
 * {@code failed WHY} when it cannot go on. It is idle between slices, and ends when its input ends, so it never outlives who started it.
 */
public final class ContenderMain {

    /** Said once, when commands are welcome. */
    public static final String READY = "ready";

    /** Runs one slice; a number of milliseconds follows. */
    public static final String RUN = "run";

    /** Said when it cannot go on; the reason follows. */
    public static final String FAILED = "failed";

    private static final long NS_PER_MS = 1_000_000;

    private ContenderMain() {}

    /**
     * Runs until standard input ends.
     *
     * @param args contender, requester's core, responder's core; -1 for any core
     */
    public static void main(String[] args) {
        PrintStream out = System.out;
        BlockingQueue<String> commands = new LinkedBlockingQueue<>();
        Thread.ofPlatform().daemon().name("commands").start(() -> listen(commands));
        try {
            Contender contender = Contender.of(args[0]);
            SliceRunner runner = new SliceRunner(
                    contender.open(),
                    contender.pieceRoundTrips(),
                    Integer.parseInt(args[1]),
                    Integer.parseInt(args[2]),
                    ContenderMain::fail);
            out.println(READY);
            out.flush();
            while (true) {
                String[] words = commands.take().split(" ", -1);
                if (!words[0].equals(RUN) || words.length != 2) {
                    throw new IllegalArgumentException("command=" + words[0] + ": allowed " + RUN + " MILLISECONDS");
                }
                out.println(runner.run(Long.parseLong(words[1]) * NS_PER_MS).line());
                out.flush();
            }
        } catch (Throwable t) {
            fail(t);
        }
    }

    private static void listen(BlockingQueue<String> commands) {
        try (BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                commands.add(line);
            }
        } catch (IOException e) {
            // The pipe broke: the same as its end.
        }
        Runtime.getRuntime().halt(0);
    }

    private static void fail(Throwable t) {
        System.out.println(FAILED + " " + t.toString().replace('\n', ' '));
        System.out.flush();
        t.printStackTrace();
        Runtime.getRuntime().halt(1);
    }
}
