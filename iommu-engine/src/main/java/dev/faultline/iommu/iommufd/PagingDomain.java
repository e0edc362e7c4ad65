package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.AreaTable;
import org.jspecify.annotations.Nullable;

/** A page table that shows what an address space maps. */
public non-sealed interface PagingDomain extends Domain {
    /**
     * What joins the address space.
     *
     * @return always the same
     */
    AreaTable areas();

    /**
     * What devices write to, as far as it is noticed.
     *
     * @return null if the page table was not made for that
     */
    default @Nullable DirtyTracking dirty() {
        return null;
    }
}
