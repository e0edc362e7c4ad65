package dev.faultline.iommu.iommufd.mock;

import dev.faultline.iommu.Area;
import dev.faultline.iommu.AreaResult;
import dev.faultline.iommu.AreaTable;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.iommufd.Driver;
import dev.faultline.iommu.iommufd.PagingDomain;

/** A page table of the mock. */
final class MockPaging implements PagingDomain, AreaTable {
    static final int DEFAULT = 0;
    static final int HUGE = 1;

    private static final int LEAST_PAGE = 2048;
    private static final int HUGE_PAGE = 512 * LEAST_PAGE;
    private static final int SYSTEM_PAGE = 4096;
    private static final long APERTURE_FIRST = 1L << 24;
    private static final long APERTURE_LAST = (1L << 31) - 1;
    private static final int ADDRESS_BITS = 56;

    private final MockDriver driver;
    private final PageTable table;
    private final boolean huge;
    private final boolean tracksDirty;

    MockPaging(MockDriver driver, PageTable table, boolean huge, boolean tracksDirty) {
        this.driver = driver;
        this.table = table;
        this.huge = huge;
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
    public AreaTable areas() {
        return this;
    }

    @Override
    public boolean tracksDirty() {
        return tracksDirty;
    }

    @Override
    public void close() {
        table.close();
    }

    @Override
    public long pageSizes() {
        return huge ? HUGE_PAGE | SYSTEM_PAGE : -LEAST_PAGE;
    }

    @Override
    public long firstAddress() {
        return huge ? 0 : APERTURE_FIRST;
    }

    @Override
    public long lastAddress() {
        return huge ? (1L << ADDRESS_BITS) - 1 : APERTURE_LAST;
    }

    @Override
    public AreaResult show(Area area) {
        return AreaResult.DONE;
    }

    @Override
    public void hide(Area area) {}
}
