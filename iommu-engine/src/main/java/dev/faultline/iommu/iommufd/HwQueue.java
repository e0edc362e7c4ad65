package dev.faultline.iommu.iommufd;

/** A queue in a guest's memory that the hardware reads: the kernel's HW_QUEUE. */
final class HwQueue extends IommufdObject {
    @Override
    void destroy() {}
}
