package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.PageTable;
import dev.faultline.ring.FaultQueue;
import org.jspecify.annotations.Nullable;

/**
 * Whose IOMMU an {@link EngineDriver} shows: its page tables, its guests' IOMMUs, and what it tells of itself. All else is the same for
 * every one.
 *
 * <p>Threads: any; {@link #failed} is called by the thread that has entered the device, and must neither wait nor change attachments.
 * Lifetime: its driver's.
 */
public interface Architecture {
    /**
     * What is told of the hardware.
     *
     * @param type the type of data that is wanted, {@link HardwareInfo#DEFAULT} for its own
     * @return what is told
     * @throws ErrnoException EOPNOTSUPP for a type it does not know
     */
    HardwareInfo hardwareInfo(int type) throws ErrnoException;

    /**
     * Makes a page table that shows what an address space maps.
     *
     * @param flags as {@link DriverDevice#paging} has them
     * @param faults where faults of its devices go, or null
     * @return the page table
     * @throws ErrnoException EOPNOTSUPP for what it cannot do, or another refusal
     */
    EnginePaging paging(int flags, @Nullable FaultQueue faults) throws ErrnoException;

    /**
     * Makes a page table of a guest's without a guest's IOMMU.
     *
     * @param parent made by this, as a nesting parent
     * @param flags {@link DriverDevice#PASID} or none
     * @param data of a type that it knows
     * @param faults where faults of its devices go, or null
     * @return the page table
     * @throws ErrnoException EOPNOTSUPP for what it cannot do, or another refusal
     */
    NestedDomain nested(EnginePaging parent, int flags, UserData data, @Nullable FaultQueue faults)
            throws ErrnoException;

    /**
     * How guests' IOMMUs are spoken to.
     *
     * @return the same for the life of this
     */
    GuestFormat guests();

    /**
     * Makes a guest's IOMMU.
     *
     * @param viommu for which program's object
     * @param parent made by this, as a nesting parent
     * @param data that the program gives, or null
     * @return what does the driver's part
     * @throws ErrnoException a refusal
     */
    VirtualIommu viommu(Viommu viommu, EnginePaging parent, @Nullable UserData data) throws ErrnoException;

    /**
     * Says whether a device, or a PASID of it, may be attached.
     *
     * @param device which
     * @param to a page table that this made
     * @param pasid 0 for the device as a whole
     * @throws ErrnoException if not; everything stays as it is
     */
    void admit(EngineDevice device, Domain to, int pasid) throws ErrnoException;

    /**
     * A device is attached, instead of what was before, if anything.
     *
     * @param device which
     * @param to the page table
     * @param pasid 0 for the device as a whole
     */
    default void attached(EngineDevice device, Domain to, int pasid) {}

    /**
     * An access ended because its address could not be translated, and nobody is asked for the page.
     *
     * @param device whose
     * @param in through which it was translated: what this made is known by it
     * @param access the access
     */
    void failed(EngineDevice device, PageTable in, FailedAccess access);

    /**
     * An access that ended.
     *
     * @param pasid its PASID, or -1
     * @param address the first byte that was not moved
     * @param wanted the bits of a fault record's permissions
     * @param why how it ended
     * @param fault what the walk found, as {@link dev.faultline.iommu.TranslationFaultSink} has it
     */
    record FailedAccess(int pasid, long address, int wanted, AccessResult why, long fault) {}
}
