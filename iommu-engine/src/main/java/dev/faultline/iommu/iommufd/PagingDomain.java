package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.AreaTable;
import org.jspecify.annotations.Nullable;

/**
 * A page table that shows what an address space maps.
 *
 * <p>Threads: any. Ownership and lifetime: as {@link Domain} says; it joins its address space before a
 * device is attached, and leaves it after. Units: bytes. Errors: {@link dev.faultline.iommu.AreaResult} of what joins. Source: {@code IOMMU_DOMAIN_UNMANAGED} of {@code
 * include/linux/iommu.h}, Linux 7.2.
 */
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
