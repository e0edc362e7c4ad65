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
     * Reads ended without a group, or an operation is done.
     *
     * @param userData what they were posted with, or what the operation named
     * @param why {@link Result#CANCELLED} or {@link Result#CLOSED} for reads; {@link Result#OK} for a nop or a command, {@link
     *     Result#REFUSED} for a command
     * @param value how many reads, 0 if a cancel found none; what the engine returned for a command
     */
    default void ended(long userData, Result why, int value) {}
}
