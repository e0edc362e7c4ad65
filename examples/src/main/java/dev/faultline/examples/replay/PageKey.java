package dev.faultline.examples.replay;

/** A page of one address space in one long: the space's number above 36 bits of page number. */
final class PageKey {
    private static final int PAGE_BITS = TraceAccess.ADDRESS_BITS - 12;
    private static final int SIGN_BITS = Long.SIZE - TraceAccess.ADDRESS_BITS;

    private PageKey() {}

    static long of(int number, long address) {
        return (long) number << PAGE_BITS | page(address >>> 12);
    }

    static int number(long key) {
        return (int) (key >>> PAGE_BITS);
    }

    static long page(long key) {
        return key & (1L << PAGE_BITS) - 1;
    }

    /** Where the page begins, sign-extended as page tables of 48 bits want it. */
    static long address(long key) {
        return page(key) << (12 + SIGN_BITS) >> SIGN_BITS;
    }
}
