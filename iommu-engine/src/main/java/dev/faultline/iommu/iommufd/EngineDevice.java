package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.FaultModel;
import dev.faultline.iommu.PageTable;
import dev.faultline.ring.FaultQueue;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * A device of the engine's behind {@code /dev/iommu}. It is stepped as any other; what it is attached to is the program's affair.
 *
 * <p>Threads: any. Lifetime: its driver's.
 *
 * <p>Ownership: its driver closes it. Units: bytes, nanoseconds. Errors: {@link ErrnoException} where a program asks; an exception where
 * a caller is wrong. Source: the parts of {@code drivers/iommu/iommufd/device.c}, Linux 7.2, that VFIO uses.
 */
public final class EngineDevice implements DriverDevice {
    private final EngineDriver driver;
    private final Device device;

    /** It is a virtual function. */
    private final boolean virtual;

    private final IsolationGroup group;

    /** By PASID. */
    private final Map<Integer, Domain> attached = new ConcurrentHashMap<>();

    EngineDevice(EngineDriver driver, Device device, boolean virtual, IsolationGroup group) {
        this.driver = driver;
        this.device = device;
        this.virtual = virtual;
        this.group = group;
        device.tellFaults(this::failed);
        group.add(this);
    }

    /**
     * Makes a virtual function of it, bound to nobody.
     *
     * @param config how; one that makes page requests may not be attached to page tables with a fault queue
     * @return the virtual function
     * @throws IllegalArgumentException as {@link Device#virtualFunction}
     * @throws IllegalStateException as {@link Device#virtualFunction}
     */
    public EngineDevice virtualFunction(DeviceConfig config) {
        return driver.added(new EngineDevice(driver, device.virtualFunction(config), true, new IsolationGroup()));
    }

    /**
     * A driver is about to reset it: it is blocked, and its isolation group neither attached nor moved (EBUSY) until {@link #resetDone}. It
     * can be detached. Open groups of page requests stay, until the device itself is {@linkplain Device#reset reset}.
     *
     * @throws dev.faultline.iommu.QuiescenceTimeout if a thread has entered the device and does not step it within the limit: nothing has
     *     changed
     */
    public void prepareReset() {
        group.prepareReset(this);
    }

    /**
     * The reset is done: it translates through what its group is attached to now.
     *
     * @throws IllegalStateException if it is not being reset; as {@link dev.faultline.iommu.QuiescenceTimeout} if a thread has entered the
     *     device and does not step it within the limit: it still is
     */
    public void resetDone() {
        group.resetDone(this);
    }

    /**
     * Gives it to a program.
     *
     * @param process the program
     * @param fd a descriptor of {@code /dev/iommu}
     * @return the object: what names the device in commands, and attaches it
     * @throws ErrnoException EBADF if there is no such descriptor, EPERM if it is another's, EBUSY and ENOMEM as {@link Context#bind},
     *     EINVAL if the device has a direct region
     */
    public DeviceObject bind(SystemCalls process, int fd) throws ErrnoException {
        return process.bind(fd, this);
    }

    @Override
    public IsolationGroup group() {
        return group;
    }

    @Override
    public EngineDriver driver() {
        return driver;
    }

    @Override
    public Device device() {
        return device;
    }

    @Override
    public int pasids() {
        return 1 << device.config().pasidBits();
    }

    @Override
    public boolean tracksDirty() {
        return true;
    }

    /** Virtual functions use their physical one's page request interface; a failure of one would stop all. */
    @Override
    public boolean maySharePageRequests() {
        return !virtual || device.config().faults() != FaultModel.PAGE_REQUEST;
    }

    @Override
    public boolean hasAts() {
        return true;
    }

    @Override
    public HardwareInfo hardwareInfo(int type) throws ErrnoException {
        return driver.architecture().hardwareInfo(type);
    }

    // ---- page tables ----

    @Override
    public PagingDomain paging(int flags, @Nullable UserData data, @Nullable FaultQueue faults) throws ErrnoException {
        if (data != null) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "data_type", "0");
        }
        return driver.architecture().paging(flags, faults);
    }

    @Override
    public NestedDomain nested(PagingDomain parent, int flags, UserData data, @Nullable FaultQueue faults)
            throws ErrnoException {
        return driver.architecture().nested((EnginePaging) parent, flags, data, faults);
    }

    @Override
    public boolean hasViommus(int type) {
        return type == driver.architecture().guests().type();
    }

    @Override
    public VirtualIommu viommu(Viommu viommu, PagingDomain parent, @Nullable UserData data) throws ErrnoException {
        if (!(parent instanceof EnginePaging paging) || paging.driver() != driver) {
            throw new ErrnoException(Errno.EINVAL, "hwpt_id", "a page table of the device's IOMMU");
        }
        return driver.architecture().viommu(viommu, paging, data);
    }

    // ---- attachments ----

    @Override
    public void admit(Domain to, int pasid) throws ErrnoException {
        driver.architecture().admit(this, to, pasid);
    }

    @Override
    public void attached(Domain to, int pasid) {
        var _ = attached.put(pasid, to);
        driver.architecture().attached(this, to, pasid);
    }

    @Override
    public void detached(int pasid) {
        var _ = attached.remove(pasid);
    }

    /**
     * What it is attached to, as a whole and by PASIDs.
     *
     * @return of one moment, each once
     */
    public List<Domain> attached() {
        return attached.values().stream().distinct().toList();
    }

    /** An access ended because an address could not be translated. */
    private void failed(PageTable table, int pasid, long address, int access, AccessResult why, long fault) {
        driver.architecture().failed(this, table, new Architecture.FailedAccess(pasid, address, access, why, fault));
    }
}
