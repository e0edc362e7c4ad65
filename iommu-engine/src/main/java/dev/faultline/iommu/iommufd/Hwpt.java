package dev.faultline.iommu.iommufd;

import org.jspecify.annotations.Nullable;

/**
 * A page table of a program's: the kernel's HWPT.
 *
 * <p>Threads: any; fixed once it has an id. Held by what is attached to it; a nesting parent also by what is nested in it.
 */
abstract sealed class Hwpt extends IommufdObject permits HwptPaging, HwptNested {
    private final ObjectTable objects;
    private final Domain domain;
    private final @Nullable FaultObject fault;
    private final boolean takesPasids;

    /** The fault queue is held by the caller, and from now on by this too. */
    Hwpt(ObjectTable objects, Domain domain, @Nullable FaultObject fault, boolean takesPasids) {
        this.objects = objects;
        this.domain = domain;
        this.fault = fault;
        this.takesPasids = takesPasids;
        if (fault != null) {
            objects.use(fault);
        }
    }

    final ObjectTable objects() {
        return objects;
    }

    /** What the driver made of it. */
    Domain domain() {
        return domain;
    }

    /** Where its faults go. */
    final @Nullable FaultObject fault() {
        return fault;
    }

    /** Whether it was made with the PASID flag. */
    final boolean takesPasids() {
        return takesPasids;
    }

    /** The table that shows the address space behind it. */
    abstract HwptPaging paging();

    @Override
    void destroy() {
        try {
            domain.close();
        } finally {
            if (fault != null) {
                objects.unuse(fault);
            }
        }
    }
}
