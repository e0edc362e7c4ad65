package dev.faultline.iommu.iommufd;

/** A queue in a guest's memory that the hardware reads: the kernel's HW_QUEUE. */
public final class HwQueue extends IommufdObject {
    HwQueue() {}

    @Override
    void destroy() {}
}
