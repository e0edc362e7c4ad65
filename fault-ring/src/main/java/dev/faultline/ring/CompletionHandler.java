package dev.faultline.ring;

/**
 * Takes completions from a {@link FaultConsumer}: groups, and reads that ended without one.
 *
 * <p>Threads: called inside {@code poll} or {@code await}, by their caller. Ownership: see {@link FaultGroup}.
 */
@FunctionalInterface
public interface CompletionHandler {
    /**
     * A read was completed by a group.
     *
     * @param userData what the read was posted with
     * @param group the faults, a view
     */
    void group(long userData, FaultGroup group);

    /**
     * Reads ended without a group.
     *
     * @param userData what they were posted with, or what the cancel named
     * @param why {@link Result#CANCELLED} or {@link Result#CLOSED}
     * @param reads how many; 0 if a cancel found none
     */
    default void ended(long userData, Result why, int reads) {}
}
