package dev.faultline.iommu.iommufd;

import java.nio.ByteBuffer;

/**
 * How a guest's IOMMU is spoken to: the types and structures that {@link Iommufd} gives and takes for a program.
 *
 * <p>Immutable.
 */
public interface GuestFormat {
    /**
     * The type of a guest's IOMMU, and of its event queue.
     *
     * @return 1 or more
     */
    int type();

    /**
     * The type of its invalidations.
     *
     * @return of {@code IOMMU_HWPT_INVALIDATE}
     */
    int invalidationType();

    /**
     * How long an invalidation is.
     *
     * @return bytes
     */
    int invalidationBytes();

    /**
     * How long an event is, without its header.
     *
     * @return bytes
     */
    int eventBytes();

    /**
     * The invalidations by which a device forgets pages of every PASID.
     *
     * @param virtualId the guest's id of the device
     * @param address the first page, a multiple of 4096
     * @param pages of 4096 bytes, 1 or more
     * @return one or more, one after the other
     */
    byte[] forget(long virtualId, long address, long pages);

    /**
     * The invalidations by which a device forgets everything it knows of the guest's page tables.
     *
     * @param virtualId the guest's id of the device
     * @return one or more, one after the other
     */
    byte[] forgetAll(long virtualId);

    /**
     * Reads an event.
     *
     * @param sequence its number
     * @param data its bytes, in native order, from 0 on
     * @return what it says
     */
    GuestEvents.Event event(int sequence, ByteBuffer data);
}
