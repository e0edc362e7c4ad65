package dev.faultline.iommu.iommufd;

/** A queue of events for a guest: the kernel's vEVENTQ. */
final class EventQueue extends IommufdObject {
    @Override
    void destroy() {}
}
