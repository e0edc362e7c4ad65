package dev.faultline.bench.contender;

import java.util.List;

/** What a contender is, whatever window it keeps full. */
public enum Kind {
    /** The yardstick. */
    PINGPONG("pingpong", "two lines and a spin, moving over 512 lines"),
    /** The fault queue. */
    QUEUE("queue", "the fault queue, a lane driven by hand at both ends"),
    /** The engine's loop over the fault queue. */
    LOOP("loop", "a device reads 64 bytes of a page that is not there: fault, a zeroed page, answer, retry, copy"),
    /** Disruptor. */
    DISRUPTOR("disruptor", "Disruptor 4, a ring each way, single producers, events published in batches"),
    /** Agrona. */
    AGRONA(
            "agrona",
            "Agrona OneToOneRingBuffer each way, claims in place, bounds checks off",
            "-Dagrona.disable.bounds.checks=true",
            "--add-opens=java.base/jdk.internal.misc=ALL-UNNAMED"),
    /** JCTools. */
    JCTOOLS(
            "jctools",
            "JCTools SpscArrayQueue each way, relaxed offers, drained in batches, objects used again",
            "--sun-misc-unsafe-memory-access=allow");

    private static final int LEAST_PIECE_ROUND_TRIPS = 512;
    private static final int USUAL_PIECE_ROUND_TRIPS = 4096;

    private final String key;
    private final String what;
    private final String jvmFlags;

    Kind(String key, String what, String... jvmFlags) {
        this.key = key;
        this.what = what;
        this.jvmFlags = String.join(" ", jvmFlags);
    }

    /**
     * The first part of its contenders' names.
     *
     * @return words joined by dots
     */
    String key() {
        return key;
    }

    /**
     * What it is, for people.
     *
     * @return a phrase
     */
    String what() {
        return what;
    }

    /**
     * What its process needs beside the flags all have.
     *
     * @return flags of {@code java}
     */
    List<String> jvmFlags() {
        return jvmFlags.isEmpty() ? List.of() : List.of(jvmFlags.split(" ", -1));
    }

    /**
     * Round trips timed at a time: some tens of microseconds.
     *
     * @param window round trips under way
     * @return 1 or more
     */
    int pieceRoundTrips(int window) {
        if (this == LOOP) {
            return EngineLoop.PAGES;
        }
        return window == 1 ? LEAST_PIECE_ROUND_TRIPS : USUAL_PIECE_ROUND_TRIPS;
    }

    /**
     * Makes one, ready for its first slice.
     *
     * @param window round trips it keeps under way
     * @return a new contest
     */
    Contest open(int window) {
        return switch (this) {
            case PINGPONG -> new PingPong();
            case QUEUE -> new CarriedFaults(window, FaultQueueCarrier.carrier(window));
            case LOOP -> new EngineLoop();
            case DISRUPTOR -> new CarriedFaults(window, DisruptorCarrier.carrier(window));
            case AGRONA -> new CarriedFaults(window, AgronaCarrier.carrier(window));
            case JCTOOLS -> new CarriedFaults(window, JctoolsCarrier.carrier(window));
        };
    }

    /**
     * One that keeps so many round trips under way.
     *
     * @param window a power of two
     * @return the contender
     */
    public Contender at(int window) {
        return new Contender(this, window);
    }
}
