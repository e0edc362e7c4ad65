package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.IovaRange;
import dev.faultline.ring.FaultQueue;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A device as its IOMMU's driver sees it: what {@code /dev/iommu} asks of the two.
 *
 * <p>Threads: any; whatever changes how it is attached comes from one thread at a time. Ownership: whoever makes it closes it, after it
 * is unbound.
 *
 * <p>Units: PASIDs are numbers below {@link #pasids}. Errors: {@link ErrnoException}, whose number the program gets; nothing else may be
 * thrown. Source: {@code struct iommu_ops} and {@code struct iommu_domain_ops} of {@code include/linux/iommu.h}, Linux 7.2.
 */
public interface DriverDevice {
    /** A request for a page table. */
    int NEST_PARENT = 1;

    /** With tracking of what devices write to. */
    int DIRTY_TRACKING = 1 << 1;

    /** Also for PASIDs. */
    int PASID = 1 << 3;

    /**
     * With which devices it is attached and detached, for their hardware cannot keep them apart.
     *
     * @return the same for the device's life, that it was {@linkplain IsolationGroup#add added} to when it was made
     */
    IsolationGroup group();

    /**
     * Its driver: which IOMMU it is behind.
     *
     * @return the same for all devices behind the same
     */
    Driver driver();

    /**
     * The engine's device.
     *
     * @return what is attached and makes requests
     */
    Device device();

    /**
     * How many PASIDs it has, 0 with them.
     *
     * @return 1 if it has none
     */
    int pasids();

    /**
     * Whether what it writes to can be tracked.
     *
     * @return true if it can
     */
    boolean tracksDirty();

    /**
     * Makes a page table that shows what an address space maps.
     *
     * @param flags of {@link #NEST_PARENT}, {@link #DIRTY_TRACKING}, {@link #PASID}, and others that are not known here
     * @param data of a type that the driver knows; null without
     * @param faults where faults of its devices go, or null
     * @return the page table
     * @throws ErrnoException EOPNOTSUPP for what it cannot do, or another refusal
     */
    PagingDomain paging(int flags, @Nullable UserData data, @Nullable FaultQueue faults) throws ErrnoException;

    /**
     * Makes a page table of a guest's.
     *
     * @param parent made by the same driver, as a nesting parent
     * @param flags {@link #PASID} or none
     * @param data of a type that the driver knows
     * @param faults where faults of its devices go, or null
     * @return the page table
     * @throws ErrnoException EOPNOTSUPP for what it cannot do, or another refusal
     */
    NestedDomain nested(PagingDomain parent, int flags, UserData data, @Nullable FaultQueue faults)
            throws ErrnoException;

    /**
     * The addresses at which nothing may be mapped while it is attached as a whole.
     *
     * @return the reserved regions of its engine's device, unless it says otherwise
     */
    default List<IovaRange> reserved() {
        return device().config().reserved().stream()
                .map(region -> new IovaRange(region.first(), region.last()))
                .toList();
    }

    /**
     * Whether it may be attached to page tables with a fault queue.
     *
     * @return false for virtual functions that share their physical one's page request interface
     */
    default boolean maySharePageRequests() {
        return true;
    }

    /**
     * Says whether the device, or a PASID of it, may be attached.
     *
     * @param to a page table of the same driver
     * @param pasid 0 for the device as a whole
     * @throws ErrnoException if not; everything stays as it is
     */
    void admit(Domain to, int pasid) throws ErrnoException;

    /**
     * It is attached, instead of what was before, if anything.
     *
     * @param to the page table
     * @param pasid 0 for the device as a whole
     */
    void attached(Domain to, int pasid);

    /**
     * It is attached no more.
     *
     * @param pasid 0 for the device as a whole
     */
    void detached(int pasid);

    /**
     * Whether it may have translations of its own, by ATS.
     *
     * @return true if it may
     */
    default boolean hasAts() {
        return false;
    }

    /**
     * What its driver tells of the hardware.
     *
     * @param type the type of data that is wanted, {@link HardwareInfo#DEFAULT} for the driver's own
     * @return what the driver tells
     * @throws ErrnoException EOPNOTSUPP for a type it does not know
     */
    default HardwareInfo hardwareInfo(int type) throws ErrnoException {
        return HardwareInfo.NONE;
    }

    /**
     * Whether a guest may have an IOMMU of a type.
     *
     * @param type as a program asks for it
     * @return true if {@link #viommu} makes such
     */
    default boolean hasViommus(int type) {
        return false;
    }

    /**
     * Makes a guest's IOMMU.
     *
     * @param viommu for which program's object, whose type is one of {@link #hasViommus}
     * @param parent the second stage, made by the same driver as a nesting parent
     * @param data of that type, or null
     * @return what does the driver's part
     * @throws ErrnoException a refusal
     */
    default VirtualIommu viommu(Viommu viommu, PagingDomain parent, @Nullable UserData data) throws ErrnoException {
        throw new ErrnoException(Errno.EOPNOTSUPP, "type", "a type that the device's driver has");
    }
}
