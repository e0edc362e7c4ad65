package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.Area;

/**
 * The marks that a page table keeps of what was written to. The kernel's {@code iommu_dirty_ops}.
 *
 * <p>Threads: any.
 *
 * <p>Lifetime: its page table's. Units: bytes. Errors: none; what is not shown has no marks. Source: {@code struct iommu_dirty_ops} of
 * {@code include/linux/iommu.h}, Linux 7.2.
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

    /** One look at marks. Threads: one. */
    @FunctionalInterface
    interface Reading {
        /**
         * Tells of what was written to in a part of an area. Waits for nobody.
         *
         * @param area one that is shown
         * @param first the first address
         * @param last the last one
         * @param sink is told, in no particular order
         */
        void read(Area area, long first, long last, Sink sink);

        /**
         * When it returns, the next write to what was told is noticed again, if it was to be cleared.
         *
         * @throws dev.faultline.iommu.QuiescenceTimeout if a thread does not step its device: then what was told is told again
         */
        default void end() {}
    }

    /**
     * Begins to read marks.
     *
     * @param clear whether what is told counts as clean then
     * @return to be ended, also where reading failed
     */
    Reading read(boolean clear);
}
