package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.AddressSpace;
import dev.faultline.iommu.Area;
import dev.faultline.iommu.AreaResult;
import dev.faultline.iommu.AreaTable;
import dev.faultline.iommu.OutOfFrames;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.TableFormat;
import dev.faultline.ring.FaultQueue;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A second stage of VT-d that shows what a program maps.
 *
 * <p>Threads: any; an area is shown and hidden by one at a time.
 */
final class EnginePaging implements PagingDomain, AreaTable {
    private static final int INPUT_BITS = 48;
    private static final long PAGE_SIZES = 1L << 12 | 1L << 21 | 1L << 30;

    private final EngineDriver driver;
    private final AddressSpace space;

    /** The bases of what each area is made of; its own lock. */
    private final Map<Area, List<Long>> shown = new HashMap<>();

    EnginePaging(EngineDriver driver, @Nullable FaultQueue faults) {
        this.driver = driver;
        this.space = driver.iommu().addressSpace(TableFormat.VTD_SECOND_4_LEVEL, faults);
    }

    @Override
    public EngineDriver driver() {
        return driver;
    }

    @Override
    public PageTable table() {
        return space.table();
    }

    @Override
    public AreaTable areas() {
        return this;
    }

    @Override
    public long pageSizes() {
        return PAGE_SIZES;
    }

    @Override
    public long firstAddress() {
        return 0;
    }

    @Override
    public long lastAddress() {
        return (1L << INPUT_BITS) - 1;
    }

    @Override
    public AreaResult show(Area area) {
        List<Long> bases = new ArrayList<>();
        AreaResult result = AreaResult.UNREACHABLE;
        long done = 0;
        while (done < area.bytes()) {
            result = AreaResult.UNREACHABLE;
            MemorySegment held = area.backing().heldAt(area.offsetOf(area.first() + done));
            if (held == null) {
                break;
            }
            MemorySegment piece = held.asSlice(0, Math.min(held.byteSize(), area.bytes() - done));
            long base = driver.place(piece, area.first() + done);
            if (base < 0) {
                break;
            }
            bases.add(base);
            result = map(area.first() + done, base, piece.byteSize(), area.access());
            if (result != AreaResult.DONE) {
                break;
            }
            done += piece.byteSize();
        }
        if (result == AreaResult.DONE) {
            synchronized (shown) {
                shown.put(area, bases);
            }
        } else {
            takeOut(area.first(), done, bases);
        }
        return result;
    }

    private AreaResult map(long address, long base, long bytes, int access) {
        try {
            return space.map(address, base, bytes, access) ? AreaResult.DONE : AreaResult.TAKEN;
        } catch (OutOfFrames e) {
            return AreaResult.NO_MEMORY;
        }
    }

    @Override
    public void hide(Area area) {
        List<Long> bases;
        synchronized (shown) {
            bases = shown.remove(area);
        }
        if (bases != null) {
            takeOut(area.first(), area.bytes(), bases);
        }
    }

    private void takeOut(long first, long bytes, List<Long> bases) {
        if (bytes > 0) {
            boolean _ = space.unmap(first, bytes);
        }
        bases.forEach(driver::takeAway);
    }

    @Override
    public void close() {
        space.close();
    }
}
