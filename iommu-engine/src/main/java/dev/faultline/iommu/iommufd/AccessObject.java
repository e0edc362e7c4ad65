package dev.faultline.iommu.iommufd;

/** A user of an address space that is no device: the kernel's access. */
final class AccessObject extends IommufdObject {
    @Override
    void destroy() {}
}
