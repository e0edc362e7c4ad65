package dev.faultline.ring;

/**
 * Decides what becomes of a group of page faults: the one method a user writes.
 *
 * <p>Threads: called by one thread at a time, the worker's or the one that polls. Ownership: the group is a view, valid
 * until this method returns; what is needed later has to be copied, the cookie above all. Errors: a handler that throws has
 * its group answered {@link Answer#INVALID}; the exception is reported once and the next group is handled.
 */
@FunctionalInterface
public interface FaultHandler {
    /**
     * Makes the pages of a group present, or decides that they cannot be.
     *
     * @param group the faults, a view
     * @return the answer, or {@link Answer#LATER}
     */
    Answer handle(FaultGroup group);
}
