package dev.faultline.iommu;

/**
 * What the IOMMU remembers of a group while it is with the fault queue: 15:0 its index, 36:16 its PASID and one, 63:37 its
 * attachment. So a response finds its function's group by index and carries its PASID, and what belongs to an attachment can be
 * answered when that ends.
 */
final class RequestTag {
    private static final int INDEX_BITS = 16;
    private static final int PASID_BITS = 21;
    private static final int KEY_SHIFT = INDEX_BITS + PASID_BITS;

    /** Keys go round after this; no two live attachments of a device have the same. */
    static final int KEYS = 1 << (Long.SIZE - KEY_SHIFT);

    private RequestTag() {}

    static long of(int key, int pasid, int index) {
        return (long) key << KEY_SHIFT | (long) (pasid + 1) << INDEX_BITS | index;
    }

    static int index(long tag) {
        return (int) tag & ((1 << INDEX_BITS) - 1);
    }

    static int pasid(long tag) {
        return (int) (tag >>> INDEX_BITS & ((1 << PASID_BITS) - 1)) - 1;
    }

    /** Of a reported group, whose index and PASID are kept elsewhere: their bits name the place. */
    static long ofSlot(int key, int slot) {
        return (long) key << KEY_SHIFT | slot;
    }

    static int slot(long tag) {
        return (int) tag;
    }

    static int key(long tag) {
        return (int) (tag >>> KEY_SHIFT);
    }
}
