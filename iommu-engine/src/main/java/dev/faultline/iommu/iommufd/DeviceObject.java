package dev.faultline.iommu.iommufd;

/**
 * A device bound to a context: the kernel's {@code iommufd_device}.
 *
 * <p>Threads: any. Held by the driver that bound it, and by its attachments: a program cannot destroy it.
 */
public final class DeviceObject extends IommufdObject {
    private final Context context;
    private final DriverDevice device;

    DeviceObject(Context context, DriverDevice device) {
        this.context = context;
        this.device = device;
    }

    /**
     * Where it is bound.
     *
     * @return the context
     */
    public Context context() {
        return context;
    }

    /**
     * What is bound.
     *
     * @return the driver's device
     */
    public DriverDevice device() {
        return device;
    }

    @Override
    void destroy() {}
}
