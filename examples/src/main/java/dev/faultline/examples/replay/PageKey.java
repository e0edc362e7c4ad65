package dev.faultline.examples.replay;

/** A page of one address space in one long: the PASID above 36 bits of page number. */
final class PageKey {
    private static final int PAGE_BITS = 36;

    private PageKey() {}

    static long of(int pasid, long address) {
        return (long) pasid << PAGE_BITS | address / TraceAccess.PAGE_BYTES;
    }

    static int pasid(long key) {
        return (int) (key >>> PAGE_BITS);
    }

    static long page(long key) {
        return key & (1L << PAGE_BITS) - 1;
    }

    static long address(long key) {
        return page(key) * TraceAccess.PAGE_BYTES;
    }
}
