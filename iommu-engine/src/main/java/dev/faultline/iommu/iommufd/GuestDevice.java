package dev.faultline.iommu.iommufd;

/**
 * A device as a guest knows it: the kernel's vDEVICE.
 *
 * <p>Threads: any. Ownership: whoever makes it closes it, before its guest's IOMMU; it goes by itself with the device. Errors: {@link
 * IommufdException}. Source: {@code drivers/iommu/iommufd/viommu.c}, Linux 7.2.
 */
public final class GuestDevice implements AutoCloseable {
    private final Iommufd program;
    private final GuestIommu guest;
    private final int id;
    private final int deviceId;
    private final Once destroying = new Once();

    GuestDevice(Iommufd program, GuestIommu guest, int id, int deviceId) {
        this.program = program;
        this.guest = guest;
        this.id = id;
        this.deviceId = deviceId;
    }

    /**
     * Its id among the program's objects, which is not the guest's.
     *
     * @return 1 or more
     */
    public int id() {
        return id;
    }

    /** The guest knows it no more. Doing it again does nothing. */
    @Override
    public void close() {
        destroying.run(() -> {
            program.destroy(id);
            guest.forget(deviceId);
        });
    }
}
