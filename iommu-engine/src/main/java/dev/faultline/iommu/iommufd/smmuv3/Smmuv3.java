package dev.faultline.iommu.iommufd.smmuv3;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.FaultModel;
import dev.faultline.iommu.Invalidations;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.QuiescenceTimeout;
import dev.faultline.iommu.StreamEntry;
import dev.faultline.iommu.TableFormat;
import dev.faultline.iommu.iommufd.Architecture;
import dev.faultline.iommu.iommufd.Domain;
import dev.faultline.iommu.iommufd.DriverDevice;
import dev.faultline.iommu.iommufd.EngineDevice;
import dev.faultline.iommu.iommufd.EngineDriver;
import dev.faultline.iommu.iommufd.EnginePaging;
import dev.faultline.iommu.iommufd.ErrnoException;
import dev.faultline.iommu.iommufd.GuestFormat;
import dev.faultline.iommu.iommufd.HardwareInfo;
import dev.faultline.iommu.iommufd.NestedDomain;
import dev.faultline.iommu.iommufd.UserData;
import dev.faultline.iommu.iommufd.Viommu;
import dev.faultline.iommu.iommufd.VirtualIommu;
import dev.faultline.iommu.table.SmmuFaults;
import dev.faultline.iommu.table.Translation;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import java.util.BitSet;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Arm's SMMUv3: nesting parents are second stages with granules of 4 KiB, a guest's page table is its stream table entry, and what
 * that leads to, context descriptors and first stages, lies in the guest's memory. A device's requester id is its StreamID, a PASID a
 * SubstreamID, a device that stalls one that the SMMU stalls.
 *
 * <p>Threads: any. Lifetime: its driver's. Source: SMMUv3 architecture; {@code drivers/iommu/arm/arm-smmu-v3}, Linux 7.2.
 */
public final class Smmuv3 implements Architecture {
    /** The data of a nested page table: the first two double words of a guest's stream table entry, {@code IOMMU_HWPT_DATA_ARM_SMMUV3}. */
    public static final int STREAM_ENTRY = 2;

    /** The type of a guest's IOMMU, of its events and of its invalidations: {@code IOMMU_VIOMMU_TYPE_ARM_SMMUV3} and others. */
    public static final int TYPE = 1;

    /** How guests' IOMMUs are spoken to: with the structures of Linux. */
    public static final GuestFormat GUESTS = new StreamGuests();

    private static final int MOST_VMID = (1 << 16) - 1;
    private static final Trace NOBODY = new Trace() {};

    private final EngineDriver driver;
    private final Trace trace;
    private final Map<Integer, StreamParent> parents = new ConcurrentHashMap<>();

    /** Under its lock. */
    private final BitSet vmids = new BitSet();

    /**
     * For a driver's devices.
     *
     * @param driver whose
     * @param trace is shown commands and events
     */
    public Smmuv3(EngineDriver driver, Trace trace) {
        this.driver = driver;
        this.trace = trace;
    }

    /**
     * Makes an SMMUv3 without devices.
     *
     * @param config how
     * @return its driver
     */
    public static EngineDriver open(IommuConfig config) {
        return open(config, NOBODY);
    }

    /**
     * Makes an SMMUv3 without devices.
     *
     * @param config how
     * @param trace is shown commands and events
     * @return its driver
     */
    public static EngineDriver open(IommuConfig config, Trace trace) {
        return EngineDriver.open(config, driver -> new Smmuv3(driver, trace));
    }

    @Override
    public HardwareInfo hardwareInfo(int type) throws ErrnoException {
        if (type != HardwareInfo.DEFAULT && type != Registers.INFO_TYPE) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "in_data_type", "0 or 2");
        }
        return Registers.info(driver.iommu().config().pageRequestEntries());
    }

    // ---- page tables ----

    @Override
    public EnginePaging paging(int flags, @Nullable FaultQueue faults) throws ErrnoException {
        boolean tracksDirty = (flags & DriverDevice.DIRTY_TRACKING) != 0;
        if (flags == DriverDevice.NEST_PARENT) {
            return parent();
        }
        if ((flags & ~(DriverDevice.DIRTY_TRACKING | DriverDevice.PASID)) != 0) {
            throw new ErrnoException(
                    Errno.EOPNOTSUPP, "flags", "NEST_PARENT, or FAULT_ID_VALID, DIRTY_TRACKING, PASID");
        }
        return new EnginePaging(driver, TableFormat.ARM_4K_STAGE_1, faults, tracksDirty);
    }

    private StreamParent parent() throws ErrnoException {
        int vmid;
        synchronized (vmids) {
            vmid = vmids.nextClearBit(1);
            if (vmid > MOST_VMID) {
                throw new ErrnoException(Errno.ENOSPC, "flags", "no more than " + MOST_VMID + " nesting parents");
            }
            vmids.set(vmid);
        }
        boolean made = false;
        try {
            StreamParent parent = new StreamParent(this, driver, vmid);
            parents.put(vmid, parent);
            made = true;
            return parent;
        } finally {
            if (!made) {
                free(vmid);
            }
        }
    }

    void closed(StreamParent parent) {
        parents.remove(parent.vmid());
        free(parent.vmid());
    }

    private void free(int vmid) {
        synchronized (vmids) {
            vmids.clear(vmid);
        }
    }

    @Override
    public NestedDomain nested(EnginePaging parent, int flags, UserData data, @Nullable FaultQueue faults)
            throws ErrnoException {
        throw new ErrnoException(Errno.EOPNOTSUPP, "pt_id", "a vIOMMU");
    }

    @Override
    public GuestFormat guests() {
        return GUESTS;
    }

    /** There is no data of this type; what a program gives is not looked at, as in the kernel. */
    @Override
    public VirtualIommu viommu(Viommu viommu, EnginePaging parent, @Nullable UserData data) throws ErrnoException {
        if (!(parent instanceof StreamParent stream)) {
            throw new ErrnoException(Errno.EINVAL, "hwpt_id", "a nesting parent");
        }
        return new GuestSmmu(this, viommu, stream);
    }

    // ---- attachments ----

    /** A device that translates by a guest's tables has to be known to the guest. One that cannot fault may have a fault queue. */
    @Override
    public void admit(EngineDevice device, Domain to, int pasid) throws ErrnoException {
        if (to instanceof StreamDomain stream) {
            OptionalLong known = stream.guest().virtualId(device);
            if (known.isEmpty() && stream.entry().config() == StreamEntry.Config.TRANSLATE) {
                throw new ErrnoException(Errno.ENOENT, "pt_id", "a page table whose vIOMMU knows the device");
            }
            stream.willAttach(device, known);
        }
    }

    /** A stream table entry is put in place: nothing is known of its contexts. */
    @Override
    public void attached(EngineDevice device, Domain to, int pasid) {
        if (to instanceof StreamDomain stream) {
            driver.iommu().invalidations().renew(stream.table());
        }
    }

    // ---- events ----

    /** No record is made of what stalled, or what its context wants none of; nor of a device's that has ATS, which tells it otherwise. */
    @Override
    public void failed(EngineDevice device, PageTable in, FailedAccess access) {
        StreamDomain stream = driver.find(in) instanceof StreamDomain nested ? nested : null;
        boolean asks = device.device().config().faults() == FaultModel.PAGE_REQUEST;
        int number = SmmuFaults.event(access.fault());
        if (number == 0
                || Translation.isUnrecorded(access.fault())
                || (asks && (stream == null || stream.entry().hasAts()))) {
            return;
        }
        EventRecord record = EventRecord.of(number, device.device().requester(), access);
        trace.event(record.first(), record.second(), record.third(), record.fourth());
        Long virtualId = stream == null ? null : stream.virtualId(device);
        if (stream != null && virtualId != null && record.isForGuests()) {
            stream.guest().report(record, virtualId);
        }
    }

    // ---- commands ----

    /** Does a command of the host's. What it names and nobody has is nothing to do. */
    void execute(Command command) throws ErrnoException {
        if (!command.isLegal()) {
            throw new ErrnoException(Errno.EIO, "cmd", "what an SMMU with granules of 4 KiB takes");
        }
        trace.command(command.first(), command.second());
        try {
            switch (command.op()) {
                case Command.CFGI_CD, Command.CFGI_CD_ALL, Command.ATC_INV -> executeForStream(command);
                default -> executeForVm(command);
            }
        } catch (QuiescenceTimeout e) {
            throw new ErrnoException(Errno.EIO, "hwpt_id", "a vIOMMU whose devices are stepped");
        }
    }

    private void executeForVm(Command command) {
        StreamParent parent = parents.get(command.vmid());
        if (parent == null) {
            return;
        }
        Invalidations forget = driver.iommu().invalidations();
        for (StreamDomain domain : parent.nested()) {
            switch (command.op()) {
                case Command.TLBI_NH_ASID -> forget.asid(domain.table(), command.asid());
                // By address also what is global, which any ASID may have brought in.
                case Command.TLBI_NH_VA, Command.TLBI_NH_VAA ->
                    forget.pages(domain.table(), command.address(), bytes(command.address(), command.pages()));
                default -> forget.table(domain.table());
            }
        }
    }

    private void executeForStream(Command command) {
        EngineDevice device = driver.find(command.stream());
        if (device == null) {
            return;
        }
        Invalidations forget = driver.iommu().invalidations();
        for (Domain domain : device.attached()) {
            if (domain instanceof StreamDomain stream) {
                switch (command.op()) {
                    case Command.CFGI_CD -> forget.context(stream.table(), command.substream());
                    case Command.CFGI_CD_ALL -> forget.contexts(stream.table());
                    default -> atcInvalidate(forget, stream.table(), command);
                }
            }
        }
    }

    private static void atcInvalidate(Invalidations forget, PageTable table, Command command) {
        int pasid = command.hasSubstream() && !command.isGlobal() ? command.substream() : FaultProducer.NO_PASID;
        if (command.atsSize() == Command.EVERYTHING) {
            if (pasid == FaultProducer.NO_PASID) {
                forget.table(table);
            } else {
                forget.pasid(table, pasid);
            }
            return;
        }
        long pages = 1L << command.atsSize();
        long address = command.address() & -(pages << 12);
        long bytes = bytes(address, pages);
        if (pasid == FaultProducer.NO_PASID) {
            forget.range(table, address, bytes);
        } else {
            forget.range(table, pasid, address, bytes);
        }
    }

    /** So many pages, or those to the end of all addresses. */
    private static long bytes(long address, long pages) {
        long most = -address >>> 12;
        long allowed = most == 0 ? Long.MAX_VALUE >>> 12 : Math.min(most, Long.MAX_VALUE >>> 12);
        return Math.min(pages, allowed) << 12;
    }
}
