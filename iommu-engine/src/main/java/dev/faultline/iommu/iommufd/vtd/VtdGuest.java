package dev.faultline.iommu.iommufd.vtd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.iommufd.Architecture;
import dev.faultline.iommu.iommufd.Domain;
import dev.faultline.iommu.iommufd.EngineDevice;
import dev.faultline.iommu.iommufd.EngineDriver;
import dev.faultline.iommu.iommufd.EnginePaging;
import dev.faultline.iommu.iommufd.ErrnoException;
import dev.faultline.iommu.iommufd.InvalidationEntries;
import dev.faultline.iommu.iommufd.NestedDomain;
import dev.faultline.iommu.iommufd.UserData;
import dev.faultline.iommu.iommufd.Viommu;
import dev.faultline.iommu.iommufd.VirtualIommu;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * The engine's IOMMU as a guest has it. It names devices by virtual ids: invalidations are checked, so that a guest reaches no device
 * but its own, and become those of the physical device; accesses that fail become events.
 *
 * <p>Threads: any.
 *
 * <p>An invalidation has 32 bytes: flags (1: only leaf entries, 2: of one PASID, 4: everything), the PASID, the virtual id in 8 bytes, the
 * address in 8 and the pages in 8. An event has 32 bytes: why, as the number of an {@link AccessResult}; the PASID, or -1; the virtual
 * id in 8 bytes; the address in 8; what the access wanted; and 4 of zeros.
 */
final class VtdGuest implements VirtualIommu {
    static final int ENTRY_BYTES = 32;
    static final int EVENT_BYTES = 32;

    private static final int LEAF = 1;
    private static final int PASID_VALID = 1 << 1;
    static final int ALL = 1 << 2;

    private static final int MOST_PASID = (1 << 20) - 1;
    private static final long PAGE = 4096;

    private final EngineDriver driver;
    private final Viommu viommu;
    private final EnginePaging parent;

    VtdGuest(EngineDriver driver, Viommu viommu, EnginePaging parent) {
        this.driver = driver;
        this.viommu = viommu;
        this.parent = parent;
    }

    OptionalLong virtualId(EngineDevice device) {
        return viommu.virtualId(device);
    }

    @Override
    public NestedDomain nested(int flags, UserData data, @Nullable FaultQueue faults) throws ErrnoException {
        Vtd.requireNestedFlags(flags);
        return new VtdNested(driver, parent, this, data, faults);
    }

    @Override
    public void invalidate(InvalidationEntries entries) throws ErrnoException {
        entries.require(EngineDriver.VIOMMU_TYPE);
        for (int i = 0; i < entries.count(); i++) {
            ByteBuffer entry = entries.read(i, ENTRY_BYTES, ENTRY_BYTES);
            invalidate(entry.getInt(0), entry.getInt(4), entry.getLong(8), entry.getLong(16), entry.getLong(24));
            entries.oneDone();
        }
    }

    private void invalidate(int flags, int pasid, long virtualId, long address, long pages) throws ErrnoException {
        if ((flags & ~(LEAF | PASID_VALID | ALL)) != 0) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "flags", "bits of 0x7");
        }
        if ((flags & PASID_VALID) == 0 ? pasid != 0 : pasid < 0 || pasid > MOST_PASID) {
            throw new ErrnoException(Errno.EINVAL, "pasid", "0 to 0xfffff, and 0 without PASID_VALID");
        }
        if ((flags & ALL) != 0 ? address != 0 || pages != 0 : address % PAGE != 0 || pages == 0) {
            throw new ErrnoException(
                    Errno.EINVAL, "addr", "a multiple of 4096 and 1 page or more; 0 and 0 for everything");
        }
        if (!(viommu.find(virtualId) instanceof EngineDevice device)) {
            throw new ErrnoException(Errno.EIO, "virt_id", "the virtual id of a device of this vIOMMU");
        }
        long wanted = (flags & ALL) != 0 ? -1 : pages;
        for (Domain each : device.attached()) {
            if (each instanceof VtdNested nested && nested.viommu() == this) {
                VtdNested.forget(driver, nested.table(), (flags & PASID_VALID) != 0 ? pasid : -1, address, wanted);
            }
        }
    }

    /** An access of the guest's device failed. */
    void report(long virtualId, Architecture.FailedAccess access) {
        byte[] event = new byte[EVENT_BYTES];
        var _ = ByteBuffer.wrap(event)
                .order(ByteOrder.nativeOrder())
                .putInt(0, access.why().ordinal())
                .putInt(4, access.pasid() == FaultProducer.NO_PASID ? -1 : access.pasid())
                .putLong(8, virtualId)
                .putLong(16, access.address())
                .putInt(24, access.wanted());
        try {
            viommu.report(EngineDriver.VIOMMU_TYPE, event);
        } catch (ErrnoException e) {
            // Nobody asked for such events, or it counts as lost.
        }
    }

    @Override
    public void close() {}
}
