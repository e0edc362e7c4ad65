package dev.faultline.iommu.iommufd;

import org.jspecify.annotations.Nullable;

/** A guest's page table: over a nesting parent, or through a vIOMMU that is over one. */
final class HwptNested extends Hwpt {
    private final HwptPaging parent;
    private final @Nullable Viommu viommu;

    /** The vIOMMU, or else the parent, is held by the caller, and from now on by this too. */
    HwptNested(
            ObjectTable objects,
            NestedDomain domain,
            @Nullable FaultObject fault,
            boolean takesPasids,
            HwptPaging parent,
            @Nullable Viommu viommu) {
        super(objects, domain, fault, takesPasids);
        this.parent = parent;
        this.viommu = viommu;
        objects.use(holds());
    }

    private IommufdObject holds() {
        return viommu != null ? viommu : parent;
    }

    @Override
    HwptPaging paging() {
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
    void destroy() {
        try {
            super.destroy();
        } finally {
            objects().unuse(holds());
        }
    }
}
