package dev.faultline.iommu.iommufd.mock;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.iommufd.Driver;
import dev.faultline.iommu.iommufd.ErrnoException;
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

    private final MockDriver driver;
    private final PageTable table;

    /** Its own lock. */
    private final int[] iotlb = new int[ENTRIES];

    private MockNested(MockDriver driver, PageTable table, int entry) {
        this.driver = driver;
        this.table = table;
        Arrays.fill(iotlb, entry);
    }

    static MockNested of(MockDriver driver, UserData data, @Nullable FaultQueue faults) throws ErrnoException {
        if (data.type() != DATA_TYPE) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "data_type", "0xdead");
        }
        int entry = read(data).getInt(0);
        return new MockNested(driver, driver.iommu().tableElsewhere(PageTable.Kind.NESTED, faults), entry);
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

    /** Invalidates an entry of its IOTLB. */
    void invalidate(int entry) {
        synchronized (iotlb) {
            iotlb[entry] = 0;
        }
    }

    int entries() {
        return ENTRIES;
    }

    @Override
    public void close() {
        table.close();
    }
}
