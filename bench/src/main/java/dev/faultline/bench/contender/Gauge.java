package dev.faultline.bench.contender;

import dev.faultline.ring.Waiting;
import java.util.List;

/** A figure that is no slice of round trips: it is read several times, in a process of its own, with nothing else running. */
public enum Gauge {
    /** An idle queue that sleeps. */
    IDLE_PARK("idle.park", "processor time of an idle queue, percent: consumer in await, SPIN_THEN_PARK", 1000, ""),
    /** What the machine charges for waking up. */
    IDLE_SLEEPERS("idle.sleepers", "two threads that do nothing but sleep as often as the queue's", 1000, ""),
    /** An idle queue that yields. */
    IDLE_YIELD("idle.yield", "processor time of an idle queue, percent: YIELD", 100, ""),
    /** An idle queue that spins. */
    IDLE_SPIN("idle.spin", "processor time of an idle queue, percent: SPIN", 100, ""),
    /** Memory. */
    OUTSTANDING_BYTES(
            "outstanding.bytes", "memory of a queue for each of 2^20 open groups, on and off the heap", 1, "-Xmx512m"),
    /** Changing a table. */
    MAP_UNMAP(
            "map.unmap",
            "time of mapping a page of 4 KiB and unmapping it, its tables there, nobody told, ns",
            100,
            ""),
    /** The file-like door. */
    FILE_PAIR(
            "file.pair", "time of reading one fault off a descriptor and writing its answer, uncontended, ns", 100, ""),
    /** A batch of invalidations. */
    INVALIDATE(
            "invalidate.1000", "time of 1,000 invalidation commands, as a multiple of one of 1,000 entries", 200, ""),
    /** Replacing with faults outstanding. */
    REPLACE("replace.10000", "time a group of replacing with 10,000 outstanding, as a multiple of with 1,000", 500, "");

    private final String key;
    private final String what;
    private final int sampleMs;
    private final String jvmFlags;

    Gauge(String key, String what, int sampleMs, String jvmFlags) {
        this.key = key;
        this.what = what;
        this.sampleMs = sampleMs;
        this.jvmFlags = jvmFlags;
    }

    /** Reads the figure. */
    interface Sampler {
        /**
         * Reads it once.
         *
         * @param ns how long it looks, where that matters
         * @return the figure
         * @throws InterruptedException if the caller is interrupted
         */
        double sample(long ns) throws InterruptedException;
    }

    /**
     * Its name on the command line of its process, and in reasons.
     *
     * @return words joined by dots
     */
    public String key() {
        return key;
    }

    /**
     * What it is, for people.
     *
     * @return a phrase
     */
    public String what() {
        return what;
    }

    /**
     * How long one reading takes.
     *
     * @return ms
     */
    public int sampleMs() {
        return sampleMs;
    }

    /**
     * What its process needs beside the flags all have.
     *
     * @return flags of {@code java}
     */
    public List<String> jvmFlags() {
        return jvmFlags.isEmpty() ? List.of() : List.of(jvmFlags.split(" ", -1));
    }

    Sampler open() {
        return switch (this) {
            case IDLE_PARK -> IdleThreads.ofQueue(Waiting.SPIN_THEN_PARK);
            case IDLE_SLEEPERS -> IdleThreads.ofSleepers();
            case IDLE_YIELD -> IdleThreads.ofQueue(Waiting.YIELD);
            case IDLE_SPIN -> IdleThreads.ofQueue(Waiting.SPIN);
            case OUTSTANDING_BYTES -> new OpenGroupBytes();
            case MAP_UNMAP -> new MapUnmapPairs();
            case FILE_PAIR -> new FileReadsAndWrites();
            case INVALIDATE -> new InvalidationBatches();
            case REPLACE -> new ReplaceWithOpenGroups();
        };
    }

    static boolean isOne(String key) {
        for (Gauge gauge : values()) {
            if (gauge.key.equals(key)) {
                return true;
            }
        }
        return false;
    }

    static Gauge of(String key) {
        for (Gauge gauge : values()) {
            if (gauge.key.equals(key)) {
                return gauge;
            }
        }
        throw new IllegalArgumentException("gauge=" + key + " is unknown");
    }
}
