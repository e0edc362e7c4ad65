package dev.faultline.iommu.tlb;

/**
 * Whose translation it is, in one word: a domain, and a PASID or none. And the arithmetic of keys in the IOTLB.
 *
 * <p>A domain is what an address space is called in the TLBs. First-stage and nested translations carry the PASID, those of a second stage
 * alone do not.
 */
public final class TlbTag {
    /** A PASID's bits. */
    public static final int PASID_BITS = 20;
    /** The most domains there are, 0 excepted. */
    public static final int MAX_DOMAINS = (1 << 18) - 1;
    /** No PASID. */
    public static final int NO_PASID = -1;

    /** A PASID plus one, so that 0 is none. */
    private static final int PASID_FIELD_BITS = PASID_BITS + 1;

    private static final long PASID_FIELD_MASK = (1L << PASID_FIELD_BITS) - 1;

    private TlbTag() {}

    /**
     * Puts one together.
     *
     * @param domain 1 to {@link #MAX_DOMAINS}
     * @param pasid 0 to 2^20 - 1, or {@link #NO_PASID}
     * @return the tag
     */
    public static long of(int domain, int pasid) {
        return (long) domain << PASID_FIELD_BITS | (pasid + 1L);
    }

    static int domain(long tag) {
        return (int) (tag >>> PASID_FIELD_BITS);
    }

    static int pasid(long tag) {
        return (int) (tag & PASID_FIELD_MASK) - 1;
    }
}
