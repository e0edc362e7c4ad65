package dev.faultline.ring;

/**
 * Decides what becomes of all groups that are there at once: for a handler that can do for many what it does for one, such as map
 * all their pages with one call, or order them before it reads from a disk.
 *
 * <p>Threads: the worker's. Ownership: the batch and its groups are valid until this method returns. Errors: a handler that
 * throws, or returns null, has those groups of the batch answered {@link Answer#INVALID} that it has not answered; the exception
 * is reported once and the next batch is handled.
 */
@FunctionalInterface
public interface BatchHandler {
    /**
     * Makes the pages of all groups present, or decides that they cannot be.
     *
     * @param batch the groups, one at least
     * @return the answer to every group of the batch that was not answered by {@link FaultBatch#answer}
     */
    Answer handle(FaultBatch batch);
}
