package dev.faultline.iommu.iommufd.vtd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.FaultModel;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.TableFormat;
import dev.faultline.iommu.iommufd.Architecture;
import dev.faultline.iommu.iommufd.Domain;
import dev.faultline.iommu.iommufd.DriverDevice;
import dev.faultline.iommu.iommufd.EngineDevice;
import dev.faultline.iommu.iommufd.EngineDriver;
import dev.faultline.iommu.iommufd.EnginePaging;
import dev.faultline.iommu.iommufd.ErrnoException;
import dev.faultline.iommu.iommufd.GuestEvents;
import dev.faultline.iommu.iommufd.GuestFormat;
import dev.faultline.iommu.iommufd.HardwareInfo;
import dev.faultline.iommu.iommufd.NestedDomain;
import dev.faultline.iommu.iommufd.UserData;
import dev.faultline.iommu.iommufd.Viommu;
import dev.faultline.iommu.iommufd.VirtualIommu;
import dev.faultline.ring.FaultQueue;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * VT-d: paging tables are second stages with four levels, nested ones first stages as x86-64 has them. Linux knows no IOMMU of guests for
 * it, so theirs has a type of this engine's own, {@link EngineDriver#VIOMMU_TYPE}.
 *
 * <p>Threads: any. Lifetime: its driver's.
 */
public final class Vtd implements Architecture {
    /** How guests' IOMMUs are spoken to, see {@code docs/iommufd.md}. */
    public static final GuestFormat GUESTS = new Guests();

    private static final int PAGING_FLAGS = DriverDevice.NEST_PARENT | DriverDevice.DIRTY_TRACKING | DriverDevice.PASID;

    /** What is told of the hardware: bits of a guest's addresses, and of physical ones. */
    private static final HardwareInfo INFO = new HardwareInfo(
            EngineDriver.VIOMMU_TYPE, (byte) 48, (byte) 0, (byte) 52, (byte) 0, (byte) 0, (byte) 0, (byte) 0, (byte) 0);

    private final EngineDriver driver;

    /**
     * For a driver's devices.
     *
     * @param driver whose
     */
    public Vtd(EngineDriver driver) {
        this.driver = driver;
        driver.iommu().pageRequests().vtdRights(true);
    }

    @Override
    public HardwareInfo hardwareInfo(int type) throws ErrnoException {
        if (type != HardwareInfo.DEFAULT && type != EngineDriver.VIOMMU_TYPE) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "in_data_type", "0 or 0x464c");
        }
        return INFO;
    }

    @Override
    public EnginePaging paging(int flags, @Nullable FaultQueue faults) throws ErrnoException {
        if ((flags & ~PAGING_FLAGS) != 0) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "flags", "NEST_PARENT, DIRTY_TRACKING, FAULT_ID_VALID, PASID");
        }
        return new EnginePaging(
                driver, TableFormat.VTD_SECOND_4_LEVEL, faults, (flags & DriverDevice.DIRTY_TRACKING) != 0);
    }

    @Override
    public NestedDomain nested(EnginePaging parent, int flags, UserData data, @Nullable FaultQueue faults)
            throws ErrnoException {
        requireNestedFlags(flags);
        return new VtdNested(driver, parent, null, data, faults);
    }

    static void requireNestedFlags(int flags) throws ErrnoException {
        if ((flags & ~DriverDevice.PASID) != 0) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "flags", "FAULT_ID_VALID, PASID");
        }
    }

    @Override
    public GuestFormat guests() {
        return GUESTS;
    }

    @Override
    public VirtualIommu viommu(Viommu viommu, EnginePaging parent, @Nullable UserData data) throws ErrnoException {
        if (data != null) {
            throw new ErrnoException(Errno.EINVAL, "data_len", "0");
        }
        return new VtdGuest(driver, viommu, parent);
    }

    @Override
    public void admit(EngineDevice device, Domain to, int pasid) throws ErrnoException {
        if (to instanceof VtdNested nested) {
            nested.requireAttachable();
            VtdGuest guest = nested.viommu();
            if (guest != null && guest.virtualId(device).isEmpty()) {
                throw new ErrnoException(Errno.ENOENT, "pt_id", "a page table whose vIOMMU knows the device");
            }
        }
        if (to.table().queue() != null && device.device().config().faults() == FaultModel.TERMINATE) {
            throw new ErrnoException(
                    Errno.ENODEV, "pt_id", "a page table without fault queue, for the device asks for no pages");
        }
    }

    /** An event for the guest that has the device. */
    @Override
    public void failed(EngineDevice device, PageTable in, FailedAccess access) {
        VtdGuest guest = driver.find(in) instanceof VtdNested nested ? nested.viommu() : null;
        if (guest != null) {
            OptionalLong virtualId = guest.virtualId(device);
            if (virtualId.isPresent()) {
                guest.report(virtualId.getAsLong(), access);
            }
        }
    }

    private static final class Guests implements GuestFormat {
        @Override
        public int type() {
            return EngineDriver.VIOMMU_TYPE;
        }

        @Override
        public int invalidationType() {
            return EngineDriver.VIOMMU_TYPE;
        }

        @Override
        public int invalidationBytes() {
            return VtdGuest.ENTRY_BYTES;
        }

        @Override
        public int eventBytes() {
            return VtdGuest.EVENT_BYTES;
        }

        @Override
        public byte[] forget(long virtualId, long address, long pages) {
            return entry(0, virtualId, address, pages);
        }

        @Override
        public byte[] forgetAll(long virtualId) {
            return entry(VtdGuest.ALL, virtualId, 0, 0);
        }

        private static byte[] entry(int flags, long virtualId, long address, long pages) {
            byte[] entry = new byte[VtdGuest.ENTRY_BYTES];
            var _ = ByteBuffer.wrap(entry)
                    .order(ByteOrder.nativeOrder())
                    .putInt(0, flags)
                    .putLong(8, virtualId)
                    .putLong(16, address)
                    .putLong(24, pages);
            return entry;
        }

        @Override
        public GuestEvents.Event event(int sequence, ByteBuffer data) {
            return new GuestEvents.Event(
                    sequence, data.getLong(8), data.getInt(4), data.getLong(16), AccessResult.values()[data.getInt(0)]);
        }
    }
}
