package dev.faultline.iommu.tlb;

/**
 * Where the last tables of walks lie, by domain and by the range a table is for, so that a walk of four levels begins at its last step. Shared by all
 * devices, bounded, and as lock-free as the {@link Iotlb}, which it is made of.
 *
 * <p>An entry is a table's physical address with the rights that the tables above it leave, in the form of a translation. It goes when a table is taken
 * out of its place; a change of leaves alone leaves it (the hint IH of VT-d's invalidations, Leaf of the SMMU's). Who takes a table out changes
 * the entry above it, invalidates here, appends to the log, waits, and only then uses the table's frame again: a walk that found the entry before has
 * ended by then, since only threads between two quiescent points look here.
 *
 * <p>Threads: any. A fill that an invalidation overtook is taken back, as in the IOTLB.
 */
public final class WalkCache {
    private final Iotlb tables;

    /**
     * An empty one.
     *
     * @param entries a power of two, 4 or more
     */
    public WalkCache(int entries) {
        tables = new Iotlb(entries);
    }

    /**
     * Looks for the table that has an address's leaf.
     *
     * @param domain whose
     * @param address which
     * @param size log2 of the pages of 4 KiB that a table is for
     * @return what {@link #insert} was given, or 0
     */
    public long lookup(int domain, long address, int size) {
        return tables.lookup(TlbTag.of(domain, TlbTag.NO_PASID), address, size);
    }

    /**
     * What a filler reads before it walks.
     *
     * @return a number
     */
    public long sequence() {
        return tables.sequence();
    }

    /**
     * Keeps where a table is, unless an invalidation began after {@code sequence} was read.
     *
     * @param domain whose
     * @param address one that the table is for
     * @param size log2 of the pages of 4 KiB that it is for
     * @param reached its physical address, and in the low bits the rights
     * @param sequence what {@link #sequence} gave before the walk
     * @return whether it is kept
     */
    public boolean insert(int domain, long address, int size, long reached, long sequence) {
        return tables.insert(TlbTag.of(domain, TlbTag.NO_PASID), address, size, reached, sequence);
    }

    /**
     * Forgets the tables of a range.
     *
     * @param domain whose, {@link Iotlb#ANY_DOMAIN} for all
     * @param address of a page in the range
     * @param size log2 of the range in pages of 4 KiB, aligned, up to {@link Iotlb#EVERYTHING}
     */
    public void invalidate(int domain, long address, int size) {
        tables.invalidate(domain, TlbTag.NO_PASID, address, size);
    }
}
