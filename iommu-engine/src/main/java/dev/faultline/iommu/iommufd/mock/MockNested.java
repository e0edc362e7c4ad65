package dev.faultline.iommu.iommufd.mock;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.iommufd.Driver;
import dev.faultline.iommu.iommufd.DriverDevice;
import dev.faultline.iommu.iommufd.ErrnoException;
import dev.faultline.iommu.iommufd.InvalidationEntries;
import dev.faultline.iommu.iommufd.NestedDomain;
import dev.faultline.iommu.iommufd.UserData;
import dev.faultline.ring.FaultQueue;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** A guest's page table of the mock: four entries of an IOTLB. */
final class MockNested implements NestedDomain {
    /** {@code IOMMU_HWPT_DATA_SELFTEST}. */
    static final int DATA_TYPE = 0xdead;

    private static final int DATA_LEAST = 4;
    private static final int DATA_FULL = 8;
    private static final int ENTRIES = 4;

    private static final int ENTRY_TYPE = 0xdeadbeef;
    private static final int ENTRY_BYTES = 8;
    private static final int ENTRY_ALL = 1;

    private final MockDriver driver;
    private final PageTable table;
    private final @Nullable MockViommu viommu;

    /** Its own lock. */
    private final int[] iotlb = new int[ENTRIES];

    private MockNested(MockDriver driver, PageTable table, @Nullable MockViommu viommu, int entry) {
        this.driver = driver;
        this.table = table;
        this.viommu = viommu;
        Arrays.fill(iotlb, entry);
    }

    static MockNested of(
            MockDriver driver, @Nullable MockViommu viommu, int flags, UserData data, @Nullable FaultQueue faults)
            throws ErrnoException {
        if ((flags & ~DriverDevice.PASID) != 0) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "flags", "FAULT_ID_VALID, PASID");
        }
        if (data.type() != DATA_TYPE) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "data_type", "0xdead");
        }
        int entry = read(data).getInt(0);
        return new MockNested(driver, driver.iommu().tableElsewhere(PageTable.Kind.NESTED, faults), viommu, entry);
    }

    /** {@code iommu_hwpt_selftest}: an IOTLB entry and the kind of a page table. */
    static ByteBuffer read(UserData data) throws ErrnoException {
        return data.read(DATA_TYPE, DATA_LEAST, DATA_FULL);
    }

    @Override
    public Driver driver() {
        return driver;
    }

    @Override
    public PageTable table() {
        return table;
    }

    /** An entry of its IOTLB, 0 to 3; 0 once it is invalidated. */
    int iotlb(int entry) {
        synchronized (iotlb) {
            return iotlb[entry];
        }
    }

    /** Through which guest's IOMMU it is nested. */
    @Nullable
    MockViommu viommu() {
        return viommu;
    }

    int entries() {
        return ENTRIES;
    }

    @Override
    public void invalidate(InvalidationEntries entries) throws ErrnoException {
        entries.require(ENTRY_TYPE);
        for (int i = 0; i < entries.count(); i++) {
            ByteBuffer given = entries.read(i, ENTRY_BYTES, ENTRY_BYTES);
            int flags = given.getInt(0);
            int entry = given.getInt(Integer.BYTES);
            if ((flags & ~ENTRY_ALL) != 0) {
                throw new ErrnoException(Errno.EOPNOTSUPP, "flags", "bits of 0x1");
            }
            if (Integer.compareUnsigned(entry, ENTRIES) >= 0) {
                throw new ErrnoException(Errno.EINVAL, "iotlb_id", "0 to " + (ENTRIES - 1));
            }
            synchronized (iotlb) {
                boolean all = (flags & ENTRY_ALL) != 0;
                Arrays.fill(iotlb, all ? 0 : entry, all ? ENTRIES : entry + 1, 0);
            }
            entries.oneDone();
        }
    }

    @Override
    public void close() {
        table.close();
    }
}
