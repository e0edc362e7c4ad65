package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.Area;

/**
 * The marks that a page table keeps of what was written to. The kernel's {@code iommu_dirty_ops}.
 *
 * <p>Threads: any.
 */
public interface DirtyTracking {
    /** Is told what was written to. */
    @FunctionalInterface
    interface Sink {
        /**
         * A page, or the part of it that was asked for.
         *
         * @param first its first address
         * @param bytes how long
         */
        void dirty(long first, long bytes);
    }

    /**
     * Notices writes from now on, or no more.
     *
     * @param on which
     */
    void track(boolean on);

    /**
     * Tells of what was written to in a part of an area.
     *
     * @param area one that is shown
     * @param first the first address
     * @param last the last one
     * @param clear whether it counts as clean then
     * @param sink is told, in the order of addresses
     */
    void read(Area area, long first, long last, boolean clear, Sink sink);
}
