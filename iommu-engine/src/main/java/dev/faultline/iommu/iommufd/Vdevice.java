package dev.faultline.iommu.iommufd;

/** A device as a guest knows it: the kernel's vDEVICE. */
final class Vdevice extends IommufdObject {
    @Override
    void destroy() {}
}
