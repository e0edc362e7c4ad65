package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.AreaTable;

/** A page table that shows what an address space maps. */
public non-sealed interface PagingDomain extends Domain {
    /**
     * How it shows that.
     *
     * @return the table that joins the address space
     */
    AreaTable areas();

    /**
     * Whether it was made so that what devices write to can be tracked.
     *
     * @return true if so
     */
    boolean tracksDirty();
}
