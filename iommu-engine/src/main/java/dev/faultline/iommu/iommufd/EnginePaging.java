package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.Area;
import dev.faultline.iommu.AreaTable;
import dev.faultline.iommu.DirtyMarks;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.TableFormat;
import dev.faultline.ring.FaultQueue;
import org.jspecify.annotations.Nullable;

/**
 * A page table of the engine's that shows what a program maps.
 *
 * <p>Its entries keep marks of what was written to, always; they are told while they are tracked. Threads: any.
 */
public class EnginePaging implements PagingDomain {
    private final EngineDriver driver;
    private final PageTable table;
    private final boolean tracksDirty;
    private final Marks marks = new Marks();

    /** A stale value is as if the change came later. */
    private volatile boolean tracking;

    /**
     * Shows nothing yet.
     *
     * @param driver whose devices it is for
     * @param format of the page table
     * @param faults where faults of its devices go, or null
     * @param tracksDirty whether it can be asked what was written to
     */
    public EnginePaging(EngineDriver driver, TableFormat format, @Nullable FaultQueue faults, boolean tracksDirty) {
        this.driver = driver;
        this.table = driver.iommu().pageTable(format, faults);
        this.tracksDirty = tracksDirty;
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
    public final @Nullable DirtyTracking dirty() {
        return tracksDirty ? marks : null;
    }

    @Override
    public void close() {
        driver.close(table);
    }

    /** The marks of this, told while they are tracked. */
    private final class Marks implements DirtyTracking {
        @Override
        public void track(boolean on) {
            tracking = on;
        }

        @Override
        public Reading read(boolean clear) {
            DirtyMarks.Reading reading = table.dirty().read(clear);
            boolean tells = tracking;
            return new Reading() {
                @Override
                public void read(Area area, long first, long last, Sink sink) {
                    reading.read(first, last, tells ? sink::dirty : (_, _) -> {});
                }

                @Override
                public void end() {
                    reading.end();
                }
            };
        }
    }
}
