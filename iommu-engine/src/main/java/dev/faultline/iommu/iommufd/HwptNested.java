package dev.faultline.iommu.iommufd;

import org.jspecify.annotations.Nullable;

/** A guest's page table: over a nesting parent, or through a vIOMMU that is over one. */
final class HwptNested extends Hwpt {
    private final HwptPaging parent;
    private final @Nullable Viommu viommu;

    HwptNested(
            NestedDomain domain,
            @Nullable FaultObject fault,
            boolean takesPasids,
            HwptPaging parent,
            @Nullable Viommu viommu) {
        super(domain, fault, takesPasids);
        this.parent = parent;
        this.viommu = viommu;
    }

    HwptPaging parent() {
        return parent;
    }

    @Nullable
    Viommu viommu() {
        return viommu;
    }

    @Override
    NestedDomain domain() {
        return (NestedDomain) super.domain();
    }

    @Override
    void destroy() {}
}
