package dev.faultline.iommu.iommufd;

/**
 * Asked before everything a process takes that could be used up: memory, ids, descriptors, attach handles. Nothing is refused unless a
 * test puts a gate here.
 *
 * <p>Threads: any.
 */
final class Allocations {
    /** Says no. */
    @FunctionalInterface
    interface Gate {
        /**
         * Something is about to be taken.
         *
         * @param what for people
         * @throws ErrnoException if it is not to be had
         */
        void take(String what) throws ErrnoException;
    }

    private volatile Gate gate = what -> {};

    void take(String what) throws ErrnoException {
        gate.take(what);
    }

    void gate(Gate next) {
        gate = next;
    }
}
