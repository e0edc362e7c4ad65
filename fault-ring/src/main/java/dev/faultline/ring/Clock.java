package dev.faultline.ring;

/**
 * What time it is, for all that ages: deadlines, time-outs, ages and latencies. Waits for other threads do not go by it.
 *
 * <p>Threads: any. Units: nanoseconds from an origin of its own, as {@link System#nanoTime}; it never goes back. Progress: a
 * reading neither waits nor allocates.
 */
@FunctionalInterface
public interface Clock {
    /** The machine's. */
    Clock SYSTEM = System::nanoTime;

    /**
     * Reads it.
     *
     * @return nanoseconds
     */
    long nowNs();
}
