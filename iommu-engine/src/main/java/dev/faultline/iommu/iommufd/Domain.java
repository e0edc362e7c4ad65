package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.PageTable;

/**
 * A page table as its driver made it: the kernel's {@code iommu_domain}.
 *
 * <p>Threads: any. Ownership: whoever asked the driver for it closes it, after everything is detached.
 *
 * <p>Errors: none; what can be refused is refused when it is made. Source: {@code struct iommu_domain} of {@code include/linux/iommu.h},
 * Linux 7.2.
 */
public sealed interface Domain permits PagingDomain, NestedDomain {
    /**
     * Who made it.
     *
     * @return the driver; page tables of another cannot be attached to its devices, nor be parents of its page tables
     */
    Driver driver();

    /**
     * What devices are attached to.
     *
     * @return the engine's page table; its fault queue is where faults go
     */
    PageTable table();

    /** Nothing is attached to it, or nested in it, any more. */
    void close();
}
