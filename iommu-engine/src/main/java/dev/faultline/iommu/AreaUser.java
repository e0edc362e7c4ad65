package dev.faultline.iommu;

/**
 * Who reads and writes an address space's memory without a device, as a software device does. The kernel's access.
 *
 * <p>Threads: called by those that unmap, which hold no lock.
 */
public interface AreaUser {
    /**
     * What addresses and lengths of areas have to be multiples of while it uses them.
     *
     * @return a power of two up to {@link Areas#PAGE_BYTES}
     */
    long alignment();

    /**
     * Areas are about to go: what it has pinned in a range has to be unpinned before this returns.
     *
     * @param first the first address
     * @param last the last one, unsigned
     */
    void unmapping(long first, long last);
}
