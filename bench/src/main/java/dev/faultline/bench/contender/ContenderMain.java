package dev.faultline.bench.contender;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.stream.Stream;

/**
 * The process of one contender, {@code CONTENDER REQUESTER_CPU RESPONDER_CPU HELPER_CPU...}, or of one gauge, {@code GAUGE}.
 *
 * <p>Takes {@code run MILLISECONDS} on standard input and answers each with a line of {@link Slice}, or {@code figure VALUE}; says {@code ready} at the start and
 * {@code failed WHY} when it cannot go on. It is idle between slices, and ends when its input ends, so it never outlives who started it.
 */
public final class ContenderMain {

    /** Said once, when commands are welcome. */
    public static final String READY = "ready";

    /** Runs one slice; a number of milliseconds follows. */
    public static final String RUN = "run";

    /** Said when it cannot go on; the reason follows. */
    public static final String FAILED = "failed";

    /** Said by a gauge; its value follows. */
    public static final String FIGURE = "figure";

    private static final long NS_PER_MS = 1_000_000;

    private ContenderMain() {}

    /**
     * Runs until standard input ends.
     *
     * @param args contender, requester's core, responder's core, cores of its helpers; -1 for any core
     */
    public static void main(String[] args) {
        PrintStream out = System.out;
        BlockingQueue<String> commands = new LinkedBlockingQueue<>();
        Thread.ofPlatform().daemon().name("commands").start(() -> listen(commands));
        try {
            Turn turn = Gauge.isOne(args[0]) ? gauge(args[0]) : contender(args);
            out.println(READY);
            out.flush();
            while (true) {
                String[] words = commands.take().split(" ", -1);
                if (!words[0].equals(RUN) || words.length != 2) {
                    throw new IllegalArgumentException("command=" + words[0] + ": allowed " + RUN + " MILLISECONDS");
                }
                out.println(turn.run(Long.parseLong(words[1]) * NS_PER_MS));
                out.flush();
            }
        } catch (Throwable t) {
            fail(t);
        }
    }

    /** Answers one command. */
    private interface Turn {
        String run(long ns) throws InterruptedException;
    }

    private static Turn gauge(String key) {
        Gauge.Sampler sampler = Gauge.of(key).open();
        return ns -> FIGURE + " " + sampler.sample(ns);
    }

    private static Turn contender(String[] args) {
        Contender contender = Contender.of(args[0]);
        List<Integer> cpus = Stream.of(args).skip(1).map(Integer::valueOf).toList();
        SliceRunner runner = new SliceRunner(contender.open(), contender.pieceRoundTrips(), cpus, ContenderMain::fail);
        return ns -> runner.run(ns).line();
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
