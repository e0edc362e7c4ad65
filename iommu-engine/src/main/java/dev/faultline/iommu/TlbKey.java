package dev.faultline.iommu;

/** The arithmetic of cached translations: keys, and the check words that tell a whole entry from a torn one. */
final class TlbKey {
    static final int PAGE_NUMBER_BITS = 36;
    static final long PAGE_NUMBER_MASK = (1L << PAGE_NUMBER_BITS) - 1;
    /** Domains and PASIDs share the bits above the page number; the top bit stays free. */
    static final int MAX_SPACES = 1 << 27;

    private TlbKey() {}

    /** Key of a page for all devices: space 1 or more, so that no key is 0. */
    static long ofSpace(int space, long address) {
        return ((long) space << PAGE_NUMBER_BITS) | pageNumber(address);
    }

    /** Key of a page for one device; a request without PASID (-1) has keys of its own, and none is 0. */
    static long ofPasid(int pasid, long address) {
        return ((pasid + 2L) << PAGE_NUMBER_BITS) | pageNumber(address);
    }

    /** The same, of the page another key names. */
    static long ofPasidPage(int pasid, long key) {
        return ((pasid + 2L) << PAGE_NUMBER_BITS) | (key & PAGE_NUMBER_MASK);
    }

    static long pageNumber(long address) {
        return (address >>> Frames.SHIFT) & PAGE_NUMBER_MASK;
    }

    /** A bijection that spreads every bit over the word (the finalizer of MurmurHash3). */
    static long mix(long value) {
        long h = (value ^ value >>> 33) * 0xff51_afd7_ed55_8ccdL;
        h = (h ^ h >>> 33) * 0xc4ce_b9fe_1a85_ec53L;
        return h ^ h >>> 33;
    }

    /** Where a key's set starts: few bits are needed, the high ones are the well-spread ones. */
    static int hash(long key) {
        return (int) ((key * 0x9e37_79b9_7f4a_7c15L) >>> 32);
    }
}
