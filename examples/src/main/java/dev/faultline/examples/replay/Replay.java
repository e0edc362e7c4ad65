package dev.faultline.examples.replay;

import org.jspecify.annotations.Nullable;

/**
 * A replay that runs on threads of its own.
 *
 * <p>Threads: {@link #stop} and {@link #progress} are for any, the rest for the one that has it. Ownership: closing stops it
 * and frees everything; trace and recorder stay the caller's. Progress: {@link #await} waits as long as it is told.
 */
public interface Replay extends AutoCloseable {
    /**
     * How far it is.
     *
     * @param done accesses or groups done
     * @param faults groups raised
     * @param fraction of the whole, or NaN where nobody knows
     */
    record Progress(long done, long faults, double fraction) {}

    /** Begins. */
    void start();

    /**
     * Waits for the end.
     *
     * @param ms milliseconds at most
     * @return whether it has ended
     * @throws InterruptedException if interrupted
     */
    boolean await(long ms) throws InterruptedException;

    /** Asks it to end early, and returns at once. */
    void stop();

    /**
     * How far it is.
     *
     * @return the figures of about now
     */
    Progress progress();

    /**
     * Why it could not go on: damaged input, no memory, a bug.
     *
     * @return the reason, or null
     */
    @Nullable
    Throwable failure();

    /**
     * What came out. Only after the end.
     *
     * @return the report
     */
    ReplayReport report();

    /**
     * Makes ready to replay a trace, or to raise a recorded fault stream again.
     *
     * @param config how
     * @param input which
     * @param recorder is told every group, or null
     * @return not started yet
     */
    static Replay of(ReplayConfig config, TraceInput input, @Nullable FaultRecorder recorder) {
        if (input.isFaultStream()) {
            return new FaultStreamReplay(config, input, recorder);
        }
        return config.virtual() ? new VirtualReplay(config, input, recorder) : new TraceReplay(config, input, recorder);
    }

    @Override
    void close();
}
