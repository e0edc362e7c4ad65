package dev.faultline.iommu.iommufd;

import org.jspecify.annotations.Nullable;

/** A page table that shows what an {@link Ioas} maps. */
final class HwptPaging extends Hwpt {
    private final Ioas ioas;
    private final boolean nestParent;
    private final boolean automatic;

    HwptPaging(
            PagingDomain domain,
            @Nullable FaultObject fault,
            boolean takesPasids,
            Ioas ioas,
            boolean nestParent,
            boolean automatic) {
        super(domain, fault, takesPasids);
        this.ioas = ioas;
        this.nestParent = nestParent;
        this.automatic = automatic;
    }

    Ioas ioas() {
        return ioas;
    }

    @Override
    PagingDomain domain() {
        return (PagingDomain) super.domain();
    }

    /** Whether page tables may be nested in it. */
    boolean isNestParent() {
        return nestParent;
    }

    /** Whether an attach to the address space made it, and the last detach destroys it. */
    boolean isAutomatic() {
        return automatic;
    }

    @Override
    void destroy() {}
}
