package dev.faultline.iommu.table;

/**
 * How large the pages of a first stage are that its second stage has only in parts. Whoever forgets one by any of its addresses has to forget
 * so much around it.
 *
 * <p>Threads: any. Written by walks before what they found is cached, read by who invalidates, again after the walks of before are over; a
 * stale value costs one more round.
 */
final class Cuts {
    private volatile int largestLg2 = Translation.PAGE_SHIFT;

    /** A page of so many bytes was met whose translation is of less. */
    void note(int lg2) {
        if (lg2 > largestLg2) {
            grow(lg2);
        }
    }

    private synchronized void grow(int lg2) {
        largestLg2 = Math.max(largestLg2, lg2);
    }

    int largestLg2() {
        return largestLg2;
    }
}
