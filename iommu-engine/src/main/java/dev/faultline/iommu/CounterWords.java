package dev.faultline.iommu;

import java.util.concurrent.atomic.AtomicLongArray;

/**
 * The counters of one device: written by the thread that has entered it, read by anybody. Opaque accesses are enough, for no
 * other memory is read on the strength of a counter.
 */
final class CounterWords {
    static final int ACCESSES = 0;
    static final int FAILED = 1;
    static final int BYTES = 2;
    static final int TLB_HITS = 3;
    static final int TLB_MISSES = 4;
    static final int IOTLB_HITS = 5;
    static final int IOTLB_MISSES = 6;
    static final int WALKS = 7;
    static final int PAGE_REQUESTS = 8;
    static final int GROUPS = 9;
    static final int RETRIES = 10;
    static final int HELD = 11;
    static final int INVALIDATIONS = 12;
    static final int FLUSHES = 13;
    static final int UNKNOWN_ANSWERS = 14;
    static final int IGNORED_ANSWERS = 15;
    static final int LATE_GROUPS = 16;
    static final int DELIVERED = 17;
    static final int OVERFLOW_ANSWERED = 18;
    static final int OVERFLOW_DROPPED = 19;
    static final int UNHANDLED = 20;
    static final int DISCARDED = 21;
    static final int MARKERS = 22;
    static final int LOST = 23;
    private static final int COUNT = 24;

    /** Empty words on both sides, so that a reader of other memory does not take the line. */
    private static final int PADDING = 16;

    private final AtomicLongArray words = new AtomicLongArray(2 * PADDING + COUNT);

    void add(int counter, long n) {
        words.setOpaque(PADDING + counter, words.getPlain(PADDING + counter) + n);
    }

    Counters snapshot() {
        return new Counters(
                get(ACCESSES),
                get(FAILED),
                get(BYTES),
                get(TLB_HITS),
                get(TLB_MISSES),
                get(IOTLB_HITS),
                get(IOTLB_MISSES),
                get(WALKS),
                get(PAGE_REQUESTS),
                get(GROUPS),
                get(RETRIES),
                get(HELD),
                get(INVALIDATIONS),
                get(FLUSHES),
                get(UNKNOWN_ANSWERS),
                get(IGNORED_ANSWERS),
                get(LATE_GROUPS));
    }

    PageRequestCounters pageRequests(int outstanding) {
        return new PageRequestCounters(
                get(PAGE_REQUESTS),
                get(DELIVERED),
                get(OVERFLOW_ANSWERED),
                get(OVERFLOW_DROPPED),
                get(UNHANDLED),
                get(DISCARDED),
                get(MARKERS),
                get(LOST),
                outstanding);
    }

    private long get(int counter) {
        return words.getOpaque(PADDING + counter);
    }
}
