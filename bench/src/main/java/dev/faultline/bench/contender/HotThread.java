package dev.faultline.bench.contender;

import dev.faultline.ffm.LinuxCalls;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** What the kernel says about one thread: how often, and for how long, it was kept from its core. */
final class HotThread {

    private static final String INVOLUNTARY = "nonvoluntary_ctxt_switches:";

    private final Path task;

    /** Holds the start of the kernel's line, which has the state behind the last bracket of the thread's name. */
    private final byte[] start = new byte[64];

    private HotThread(Path task) {
        this.task = task;
    }

    /**
     * The calling thread.
     *
     * @param cpu the core it is to stay on, or -1 for any
     * @return its account
     */
    static HotThread current(int cpu) {
        if (cpu >= 0) {
            try (LinuxCalls calls = LinuxCalls.open()) {
                int result = calls.setAffinity(cpu);
                if (result < 0) {
                    throw new IllegalStateException("sched_setaffinity: cpu=" + cpu + " result=" + result);
                }
            }
        }
        try {
            return new HotThread(Path.of("/proc").resolve(Files.readSymbolicLink(Path.of("/proc/thread-self"))));
        } catch (IOException | UnsupportedOperationException e) {
            return new HotThread(Path.of("/nonexistent"));
        }
    }

    /**
     * Times it was taken off its core while it wanted to go on.
     *
     * @return a count, 0 where the kernel does not tell
     */
    long involuntarySwitches() {
        for (String line : text("status").split("\n", -1)) {
            if (line.startsWith(INVOLUNTARY)) {
                return Long.parseLong(line.substring(INVOLUNTARY.length()).strip());
            }
        }
        return 0;
    }

    /**
     * Time it was ready to run and had no core.
     *
     * @return ns, or {@link Slice#UNKNOWN} where the kernel does not tell
     */
    long waitedNs() {
        String[] words = text("schedstat").strip().split(" ", -1);
        return words.length < 2 ? Slice.UNKNOWN : Long.parseLong(words[1]);
    }

    /**
     * Whether the kernel has put the thread to sleep.
     *
     * @return false while it runs, or is ready to
     * @throws UncheckedIOException if the kernel does not tell
     */
    boolean isAsleep() {
        try (RandomAccessFile stat = new RandomAccessFile(task.resolve("stat").toFile(), "r")) {
            int bytes = stat.read(start);
            int bracket = bytes - 1;
            while (bracket >= 0 && start[bracket] != ')') {
                bracket--;
            }
            return bracket >= 0 && bracket + 2 < bytes && start[bracket + 2] == 'S';
        } catch (IOException e) {
            throw new UncheckedIOException("cannot see whether a thread sleeps", e);
        }
    }

    private String text(String file) {
        try {
            return Files.readString(task.resolve(file));
        } catch (IOException e) {
            return "";
        }
    }
}
