package dev.faultline.iommu.iommufd.mock;

import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.iommufd.DirtyTracking;
import dev.faultline.iommu.iommufd.Driver;
import dev.faultline.iommu.iommufd.PagingDomain;
import org.jspecify.annotations.Nullable;

/** A page table of the mock: what devices are attached to, and the table that shows an address space. */
final class MockPaging implements PagingDomain {
    static final int DEFAULT = 0;
    static final int HUGE = 1;

    private final MockDriver driver;
    private final PageTable table;
    private final MockTable areas;
    private final boolean tracksDirty;

    MockPaging(MockDriver driver, PageTable table, boolean huge, boolean tracksDirty) {
        this.driver = driver;
        this.table = table;
        this.areas = new MockTable(huge);
        this.tracksDirty = tracksDirty;
    }

    @Override
    public Driver driver() {
        return driver;
    }

    @Override
    public PageTable table() {
        return table;
    }

    @Override
    public MockTable areas() {
        return areas;
    }

    @Override
    public @Nullable DirtyTracking dirty() {
        return tracksDirty ? areas : null;
    }

    @Override
    public void close() {
        table.close();
    }
}
