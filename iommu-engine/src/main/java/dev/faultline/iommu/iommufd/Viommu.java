package dev.faultline.iommu.iommufd;

/** A guest's IOMMU, over a nesting parent: the kernel's vIOMMU. */
final class Viommu extends IommufdObject {
    @Override
    void destroy() {}
}
