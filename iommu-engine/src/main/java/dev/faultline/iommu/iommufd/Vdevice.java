package dev.faultline.iommu.iommufd;

/**
 * A device as a guest knows it, by an id that a vIOMMU knows: the kernel's vDEVICE. A device has one at most.
 *
 * <p>Threads: any. It holds its vIOMMU, and its device only as a command under way does: a driver that takes the device away has the
 * vDEVICE removed first, and its id is never used again.
 *
 * <p>Lifetime: until it is destroyed, or its device leaves. Errors: {@link ErrnoException} of the command that makes it. Source: {@code
 * drivers/iommu/iommufd/viommu.c}, Linux 7.2.
 */
public final class Vdevice extends IommufdObject {
    private final Viommu viommu;
    private final DeviceObject device;
    private final long virtualId;
    private volatile boolean accepted;

    Vdevice(Viommu viommu, DeviceObject device, long virtualId) {
        this.viommu = viommu;
        this.device = device;
        this.virtualId = virtualId;
        ObjectTable objects = viommu.context().objects();
        objects.use(viommu);
        objects.use(device);
        objects.pass(device);
    }

    /**
     * The id the guest knows it by.
     *
     * @return unique among the vIOMMU's
     */
    public long virtualId() {
        return virtualId;
    }

    /**
     * The device.
     *
     * @return as it is bound
     */
    public DeviceObject device() {
        return device;
    }

    /** From now on the vIOMMU finds it. */
    void accept() {
        accepted = true;
    }

    boolean isAccepted() {
        return accepted;
    }

    @Override
    void destroy() {
        viommu.release(virtualId, this);
        device.hasNoMore(this);
        ObjectTable objects = viommu.context().objects();
        objects.unuse(viommu);
        objects.letGo(device);
    }
}
