package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;

/**
 * The fact that a device of a program's, or a PASID of it, translates through a page table: what VFIO's ATTACH begins and DETACH ends.
 *
 * <p>Threads: any; a replace or an end waits a bounded time, {@code IommuConfig.limitNs}, for the threads that step the device. Ownership:
 * closed by whoever attached, or with the device. Errors: {@link IommufdException}. Source: {@code drivers/iommu/iommufd/device.c}, Linux
 * 7.2.
 */
public final class UserAttachment implements AutoCloseable {
    private final DeviceObject bound;
    private final int pasid;
    private final Once ending = new Once();

    UserAttachment(DeviceObject bound, int pasid) {
        this.bound = bound;
        this.pasid = pasid;
    }

    /**
     * Translates through another page table from now on, without a moment of none. Open groups are answered INVALID.
     *
     * @param table the other
     * @throws IommufdException EINVAL if this is ended
     */
    public void replace(UserPageTable table) {
        if (ending.isDone()) {
            throw new IommufdException(
                    Errno.EINVAL, "replace", "pasid", Integer.toString(pasid), "one that is attached");
        }
        int _ = Iommufd.refusedAs("replace", () -> bound.replace(pasid, table.id()));
    }

    /**
     * Ends it. Open groups are answered INVALID. Doing it again does nothing.
     *
     * @throws IommufdException EBUSY if a thread has entered the device and does not step it within the limit: it may be tried again
     */
    @Override
    public void close() {
        ending.run(() -> Iommufd.detach(() -> bound.detach(pasid)));
    }
}
