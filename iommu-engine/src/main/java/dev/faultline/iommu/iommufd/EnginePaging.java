package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.AreaTable;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.TableFormat;
import dev.faultline.ring.FaultQueue;
import org.jspecify.annotations.Nullable;

/**
 * A second stage of VT-d that shows what a program maps.
 *
 * <p>Threads: any.
 */
final class EnginePaging implements PagingDomain {
    private final EngineDriver driver;
    private final PageTable table;

    EnginePaging(EngineDriver driver, @Nullable FaultQueue faults) {
        this.driver = driver;
        this.table = driver.iommu().pageTable(TableFormat.VTD_SECOND_4_LEVEL, faults);
    }

    @Override
    public EngineDriver driver() {
        return driver;
    }

    @Override
    public PageTable table() {
        return table;
    }

    @Override
    public AreaTable areas() {
        return table.areas();
    }

    @Override
    public void close() {
        driver.close(table);
    }
}
