package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.AreaTable;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.TableFormat;
import dev.faultline.ring.FaultQueue;
import org.jspecify.annotations.Nullable;

/**
 * A page table of the engine's that shows what a program maps.
 *
 * <p>Threads: any.
 */
public class EnginePaging implements PagingDomain {
    private final EngineDriver driver;
    private final PageTable table;

    /**
     * Shows nothing yet.
     *
     * @param driver whose devices it is for
     * @param format of the page table
     * @param faults where faults of its devices go, or null
     */
    public EnginePaging(EngineDriver driver, TableFormat format, @Nullable FaultQueue faults) {
        this.driver = driver;
        this.table = driver.iommu().pageTable(format, faults);
    }

    @Override
    public final EngineDriver driver() {
        return driver;
    }

    @Override
    public final PageTable table() {
        return table;
    }

    @Override
    public final AreaTable areas() {
        return table.areas();
    }

    @Override
    public void close() {
        driver.close(table);
    }
}
