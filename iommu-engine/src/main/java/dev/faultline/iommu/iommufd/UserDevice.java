package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;

/**
 * A device that is bound to a program: the kernel's DEVICE, with the part of VFIO that attaches it.
 *
 * <p>Threads: any; an attach or the end waits a bounded time, {@code IommuConfig.limitNs}, for the threads that step the device. Ownership:
 * whoever binds it closes it, or {@link Iommufd#close} does; the driver's device stays its driver's. Errors: {@link IommufdException}.
 * Source: {@code drivers/iommu/iommufd/device.c}, Linux 7.2.
 */
public final class UserDevice implements AutoCloseable {
    private final Iommufd program;
    private final DeviceObject bound;
    private final Once closing = new Once();

    UserDevice(Iommufd program, DeviceObject bound) {
        this.program = program;
        this.bound = bound;
    }

    /**
     * Its id, which its faults carry.
     *
     * @return 1 or more
     */
    public int id() {
        return bound.id();
    }

    /**
     * The engine's device, to be stepped, read and written by.
     *
     * @return the device
     */
    public dev.faultline.iommu.Device engine() {
        return bound.device().device();
    }

    /**
     * Attaches the device as a whole.
     *
     * @param table to what
     * @return the attachment
     */
    public UserAttachment attach(UserPageTable table) {
        return attach(table, 0);
    }

    /**
     * Attaches one PASID.
     *
     * @param table to what
     * @param pasid 1 or more, or 0 for the device as a whole
     * @return the attachment
     */
    public UserAttachment attach(UserPageTable table, int pasid) {
        requireOpen();
        int _ = Iommufd.refusedAs("attach", () -> bound.attach(pasid, table.id()));
        return new UserAttachment(bound, pasid);
    }

    /**
     * Attaches the device as a whole, through an automatic page table without fault queue.
     *
     * @param space what it will see
     * @return the attachment
     */
    public UserAttachment attach(UserAddressSpace space) {
        requireOpen();
        int _ = Iommufd.refusedAs("attach", () -> bound.attach(0, space.id()));
        return new UserAttachment(bound, 0);
    }

    private void requireOpen() {
        if (closing.isDone()) {
            throw new IommufdException(
                    Errno.ENODEV, "attach", "device", Integer.toString(id()), "one that is not closed");
        }
    }

    /**
     * Detaches it and gives it back. Doing it again does nothing.
     *
     * @throws IommufdException EBUSY if a thread has entered it and does not step it within the limit: it may be tried again
     */
    @Override
    public void close() {
        closing.run(() -> {
            Iommufd.detach(bound::detachAll);
            bound.unbind();
            program.gone(this);
        });
    }

    @Override
    public String toString() {
        return "device " + id();
    }
}
