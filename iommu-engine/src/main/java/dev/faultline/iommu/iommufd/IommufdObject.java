package dev.faultline.iommu.iommufd;

/**
 * What has an id in a {@link Context}.
 *
 * <p>Threads: any. Lifetime: from its id being set aside until nobody holds it and it is destroyed. Its two counts are the {@link
 * ObjectTable}'s: users, which are the table itself, other objects, open descriptors, attachments and commands under way; and those
 * among them that are only passing, which a removal by a driver waits for.
 *
 * <p>Errors: none of its own. Source: {@code struct iommufd_object} of {@code include/linux/iommufd.h}, Linux 7.2.
 */
public abstract sealed class IommufdObject
        permits Ioas,
                Hwpt,
                DeviceObject,
                FaultObject,
                Viommu,
                Vdevice,
                EventQueue,
                HwQueue,
                AccessObject,
                DriverObject {
    /** Set once, when the id is set aside; then read by whoever found the object by it. */
    int id;

    /** Under the table's lock. */
    int users = 1;

    /** Under the table's lock. */
    int passing;

    IommufdObject() {}

    /**
     * Its id.
     *
     * @return 1 or more; 0 before it has one
     */
    public final int id() {
        return id;
    }

    /** Lets go of what it holds for long, for somebody waits for those that are passing. Before a removal by a driver. */
    void release() {}

    /** Nobody holds it, and its id is free, or never stood for it. */
    abstract void destroy();
}
