package dev.faultline.bench.contender;

import java.util.List;

/** Everyone who is measured: what it is, the window it keeps full, and the process it wants. */
public enum Contender {
    /** The yardstick. */
    PINGPONG("pingpong", "two lines and a spin, moving over 512 lines", 1, 512, ""),
    /** The fault queue at window 1. */
    QUEUE_W1("queue.w1", "the fault queue, a lane driven by hand at both ends", 1, 512, ""),
    /** The fault queue at window 64. */
    QUEUE_W64("queue.w64", "the fault queue, a lane driven by hand at both ends", 64, 4096, ""),
    /** The engine's loop at window 1. */
    LOOP_W1(
            "loop.w1",
            "a device reads 64 bytes of a page that is not there: fault, a zeroed page, answer, retry, copy",
            1,
            EngineLoop.PAGES,
            ""),
    /** Disruptor at window 64. */
    DISRUPTOR_W64("disruptor.w64", "Disruptor 4, a ring each way, batches of 16", 64, 4096, ""),
    /** Agrona at window 64. */
    AGRONA_W64(
            "agrona.w64",
            "Agrona OneToOneRingBuffer each way, claims in place, bounds checks off",
            64,
            4096,
            "-Dagrona.disable.bounds.checks=true --add-opens=java.base/jdk.internal.misc=ALL-UNNAMED"),
    /** JCTools at window 64. */
    JCTOOLS_W64(
            "jctools.w64",
            "JCTools SpscArrayQueue each way, objects used again",
            64,
            4096,
            "--sun-misc-unsafe-memory-access=allow");

    private final String key;
    private final String what;
    private final int window;
    private final int pieceRoundTrips;
    private final String jvmFlags;

    Contender(String key, String what, int window, int pieceRoundTrips, String jvmFlags) {
        this.key = key;
        this.what = what;
        this.window = window;
        this.pieceRoundTrips = pieceRoundTrips;
        this.jvmFlags = jvmFlags;
    }

    /**
     * Its name in results and on the command line of its process.
     *
     * @return a word
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
     * Round trips it keeps under way.
     *
     * @return 1 or more
     */
    public int window() {
        return window;
    }

    /**
     * Round trips timed at a time.
     *
     * @return 1 or more
     */
    public int pieceRoundTrips() {
        return pieceRoundTrips;
    }

    /**
     * What its process needs beside the flags all have.
     *
     * @return flags of {@code java}
     */
    public List<String> jvmFlags() {
        return jvmFlags.isEmpty() ? List.of() : List.of(jvmFlags.split(" ", -1));
    }

    /**
     * Makes it, ready for its first slice.
     *
     * @return a new contest
     */
    public Contest open() {
        return switch (this) {
            case PINGPONG -> new PingPong();
            case QUEUE_W1, QUEUE_W64 -> new CarriedFaults(window, FaultQueueCarrier.carrier(window));
            case LOOP_W1 -> new EngineLoop();
            case DISRUPTOR_W64 -> new CarriedFaults(window, DisruptorCarrier.carrier());
            case AGRONA_W64 -> new CarriedFaults(window, AgronaCarrier.carrier());
            case JCTOOLS_W64 -> new CarriedFaults(window, JctoolsCarrier.carrier(window));
        };
    }

    /**
     * Finds one by its name.
     *
     * @param key as {@link #key} gave it
     * @return the contender
     * @throws IllegalArgumentException if there is none
     */
    public static Contender of(String key) {
        for (Contender contender : values()) {
            if (contender.key.equals(key)) {
                return contender;
            }
        }
        throw new IllegalArgumentException("contender=" + key + " is unknown");
    }
}
