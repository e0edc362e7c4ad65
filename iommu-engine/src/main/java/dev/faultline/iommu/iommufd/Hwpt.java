package dev.faultline.iommu.iommufd;

import org.jspecify.annotations.Nullable;

/**
 * A page table of a program's: the kernel's HWPT.
 *
 * <p>Threads: any; fixed once it has an id. Held by what is attached to it; a nesting parent also by what is nested in it.
 */
abstract sealed class Hwpt extends IommufdObject permits HwptPaging, HwptNested {
    private final Domain domain;
    private final @Nullable FaultObject fault;
    private final boolean takesPasids;

    Hwpt(Domain domain, @Nullable FaultObject fault, boolean takesPasids) {
        this.domain = domain;
        this.fault = fault;
        this.takesPasids = takesPasids;
    }

    /** What the driver made of it. */
    Domain domain() {
        return domain;
    }

    /** Where its faults go. */
    @Nullable
    FaultObject fault() {
        return fault;
    }

    /** Whether it was made with the PASID flag. */
    boolean takesPasids() {
        return takesPasids;
    }
}
