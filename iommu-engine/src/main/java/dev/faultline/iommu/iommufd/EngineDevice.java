package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.FaultModel;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * A device of the engine's behind {@code /dev/iommu}. It is stepped as any other; what it is attached to is the program's affair.
 *
 * <p>Threads: any. Lifetime: its driver's.
 */
public final class EngineDevice implements DriverDevice {
    private static final int PAGING_FLAGS = NEST_PARENT | PASID;

    /** What is told of the hardware: bits of a guest's addresses, and of physical ones. */
    private static final HardwareInfo INFO = new HardwareInfo(
            EngineDriver.VIOMMU_TYPE, (byte) 48, (byte) 0, (byte) 52, (byte) 0, (byte) 0, (byte) 0, (byte) 0, (byte) 0);

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
        return new EngineDevice(driver, device.virtualFunction(config), true, new IsolationGroup());
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
     * @throws ErrnoException EBADF if there is no such descriptor, EPERM if it is another's
     */
    public DeviceObject bind(SystemCalls process, int fd) throws ErrnoException {
        return process.context(fd).bind(this, true);
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
        return false;
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
        if (type != HardwareInfo.DEFAULT && type != EngineDriver.VIOMMU_TYPE) {
            throw EngineDriver.unknown("in_data_type", "0 or 0x464c");
        }
        return INFO;
    }

    // ---- page tables ----

    @Override
    public PagingDomain paging(int flags, @Nullable UserData data, @Nullable FaultQueue faults) throws ErrnoException {
        if ((flags & ~PAGING_FLAGS) != 0) {
            throw EngineDriver.unknown("flags", "NEST_PARENT, FAULT_ID_VALID, PASID");
        }
        if (data != null) {
            throw EngineDriver.unknown("data_type", "0");
        }
        return new EnginePaging(driver, faults);
    }

    @Override
    public NestedDomain nested(PagingDomain parent, int flags, UserData data, @Nullable FaultQueue faults)
            throws ErrnoException {
        requireNestedFlags(flags);
        return new EngineNested(driver, (EnginePaging) parent, null, data, faults);
    }

    static void requireNestedFlags(int flags) throws ErrnoException {
        if ((flags & ~PASID) != 0) {
            throw EngineDriver.unknown("flags", "FAULT_ID_VALID, PASID");
        }
    }

    @Override
    public boolean hasViommus(int type) {
        return type == EngineDriver.VIOMMU_TYPE;
    }

    @Override
    public VirtualIommu viommu(Viommu viommu, PagingDomain parent, @Nullable UserData data) throws ErrnoException {
        if (data != null) {
            throw new ErrnoException(Errno.EINVAL, "data_len", "0");
        }
        return new EngineViommu(driver, viommu, (EnginePaging) parent);
    }

    // ---- attachments ----

    @Override
    public void admit(Domain to, int pasid) throws ErrnoException {
        if (to instanceof EngineNested nested) {
            nested.requireAttachable();
            EngineViommu viommu = nested.viommu();
            if (viommu != null && viommu.virtualId(this).isEmpty()) {
                throw new ErrnoException(Errno.ENOENT, "pt_id", "a page table whose vIOMMU knows the device");
            }
        }
        if (to.table().queue() != null && device.config().faults() == FaultModel.TERMINATE) {
            throw new ErrnoException(
                    Errno.ENODEV, "pt_id", "a page table without fault queue, for the device asks for no pages");
        }
    }

    @Override
    public void attached(Domain to, int pasid) {
        var _ = attached.put(pasid, to);
    }

    @Override
    public void detached(int pasid) {
        var _ = attached.remove(pasid);
    }

    /** The guest's page tables it is attached to through a guest's IOMMU. */
    List<EngineNested> attachedThrough(EngineViommu viommu) {
        return attached.values().stream()
                .filter(domain -> domain instanceof EngineNested nested && viommu.equals(nested.viommu()))
                .map(EngineNested.class::cast)
                .distinct()
                .toList();
    }

    /** An access ended because an address could not be translated: an event for the guest that has the device. */
    private void failed(int pasid, long address, int access, AccessResult why) {
        Domain domain = attached.get(pasid == FaultProducer.NO_PASID ? 0 : pasid);
        EngineViommu viommu = domain instanceof EngineNested nested ? nested.viommu() : null;
        if (viommu != null) {
            OptionalLong virtualId = viommu.virtualId(this);
            if (virtualId.isPresent()) {
                viommu.report(virtualId.getAsLong(), pasid, address, access, why);
            }
        }
    }
}
