package dev.faultline.iommu.iommufd.smmuv3;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.StreamEntry;
import dev.faultline.iommu.iommufd.EngineDevice;
import dev.faultline.iommu.iommufd.EngineDriver;
import dev.faultline.iommu.iommufd.ErrnoException;
import dev.faultline.iommu.iommufd.NestedDomain;
import dev.faultline.iommu.iommufd.UserData;
import dev.faultline.ring.FaultQueue;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * What a guest's stream table entry says, over a second stage: for its device, and every PASID of it.
 *
 * <p>Threads: any. Source: {@code iommu_hwpt_arm_smmuv3} of {@code include/uapi/linux/iommufd.h}, and what its driver lets a guest say, Linux
 * 7.2.
 */
final class StreamDomain implements NestedDomain {
    private static final int DATA_BYTES = 16;

    private static final long VALID = 1;
    /** V, Config, S1Fmt, S1ContextPtr, S1CDMax. */
    private static final long FIRST_ALLOWED = 0x3f | 0x000f_ffff_ffff_ffc0L | 0xf800_0000_0000_0000L;
    /** S1DSS, S1CIR, S1COR, S1CSH, S1STALLD, EATS. */
    private static final long SECOND_ALLOWED = 0xff | 1 << 27 | 3 << 28;

    private static final int CONFIG_MASK = 7;
    private static final int ABORT = 0;
    private static final int BYPASS = 4;
    private static final int TRANSLATE = 5;
    private static final int ATS_SHIFT = 28;
    private static final int MOST_ATS = 1;

    private final StreamParent parent;
    private final GuestSmmu guest;
    private final StreamEntry entry;
    private final PageTable table;

    /** By which ids the guest knows its devices: of when they were attached. Read by devices' threads. */
    private final Map<EngineDevice, Long> virtualIds = new ConcurrentHashMap<>();

    StreamDomain(StreamParent parent, GuestSmmu guest, UserData data, @Nullable FaultQueue faults)
            throws ErrnoException {
        ByteBuffer given =
                data.read(Smmuv3.STREAM_ENTRY, DATA_BYTES, DATA_BYTES).order(ByteOrder.LITTLE_ENDIAN);
        this.parent = parent;
        this.guest = guest;
        this.entry = checked(given.getLong(0), given.getLong(8));
        this.table = parent.driver().iommu().stream(parent.table(), entry, faults);
        parent.nested().add(this);
        parent.driver().add(this);
    }

    /** What is not valid is as if it were zero; else there is nothing that a guest may not say. */
    private static StreamEntry checked(long first, long second) throws ErrnoException {
        if ((first & VALID) == 0) {
            return new StreamEntry(0, 0);
        }
        if ((first & ~FIRST_ALLOWED) != 0 || (second & ~SECOND_ALLOWED) != 0) {
            throw wrong("V, Config, S1Fmt, S1ContextPtr, S1CDMax, S1DSS, S1CIR, S1COR, S1CSH, S1STALLD, EATS");
        }
        int config = (int) (first >>> 1) & CONFIG_MASK;
        if (config != ABORT && config != BYPASS && config != TRANSLATE) {
            throw wrong("Config 0, 4 or 5");
        }
        if ((second >>> ATS_SHIFT & 3) > MOST_ATS) {
            throw wrong("EATS 0 or 1");
        }
        return new StreamEntry(first, second);
    }

    private static ErrnoException wrong(String allowed) {
        return new ErrnoException(Errno.EIO, "ste", allowed);
    }

    @Override
    public EngineDriver driver() {
        return parent.driver();
    }

    @Override
    public PageTable table() {
        return table;
    }

    GuestSmmu guest() {
        return guest;
    }

    /** Before a device is attached; empty if the guest does not know it, and gets no events of it. */
    void willAttach(EngineDevice device, OptionalLong virtualId) {
        if (virtualId.isPresent()) {
            virtualIds.put(device, virtualId.getAsLong());
        } else {
            virtualIds.remove(device);
        }
    }

    @Nullable
    Long virtualId(EngineDevice device) {
        return virtualIds.get(device);
    }

    StreamEntry entry() {
        return entry;
    }

    @Override
    public void close() {
        parent.nested().remove(this);
        driver().close(table);
    }
}
