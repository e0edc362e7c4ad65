package dev.faultline.iommu.iommufd.mock;

import dev.faultline.iommu.Area;
import dev.faultline.iommu.AreaResult;
import dev.faultline.iommu.AreaTable;
import dev.faultline.iommu.Areas;
import dev.faultline.iommu.iommufd.DirtyTracking;
import java.util.NavigableSet;
import java.util.TreeSet;

/**
 * The mock's page table: a view on the areas of its address space, with pages of 2 KiB and an aperture of its own, and marks of what
 * was written to.
 *
 * <p>Threads: any; the marks are under its lock. A mark is kept for each 2 KiB; it stands for the page that covers it, which is 4 KiB
 * where addresses and memory allow that.
 */
final class MockTable implements AreaTable, DirtyTracking {
    static final int PAGE_BYTES = 2048;
    private static final long HUGE_PAGE_BYTES = 512L * PAGE_BYTES;
    private static final long APERTURE_FIRST = 1L << 24;
    private static final long APERTURE_LAST = (1L << 31) - 1;

    private final boolean huge;

    // Under the lock.
    private final NavigableSet<Long> written = new TreeSet<>(Long::compareUnsigned);
    private boolean tracking;

    /** Of large pages only, or of small ones. */
    MockTable(boolean huge) {
        this.huge = huge;
    }

    /** Its smallest page. */
    int smallestPage() {
        return huge ? Areas.PAGE_BYTES : PAGE_BYTES;
    }

    @Override
    public long pageSizes() {
        return huge ? HUGE_PAGE_BYTES | Areas.PAGE_BYTES : -PAGE_BYTES & (1L << 52) - 1;
    }

    @Override
    public long firstAddress() {
        return huge ? 0 : APERTURE_FIRST;
    }

    @Override
    public long lastAddress() {
        return huge ? (1L << 38) - 1 : APERTURE_LAST;
    }

    @Override
    public AreaResult show(Area area) {
        return AreaResult.DONE;
    }

    @Override
    public synchronized void hide(Area area) {
        written.subSet(area.first(), true, area.last(), true).clear();
    }

    @Override
    public synchronized void track(boolean on) {
        tracking = on;
    }

    synchronized boolean isTracking() {
        return tracking;
    }

    /** Marks the page at an address, of an area that is shown. */
    synchronized void write(long address) {
        written.add(address & -PAGE_BYTES);
    }

    @Override
    public Reading read(boolean clear) {
        return (area, first, last, sink) -> read(area, first, last, clear, sink);
    }

    private synchronized void read(Area area, long first, long last, boolean clear, Sink sink) {
        long at = pageStart(area, first);
        while (true) {
            Long mark = written.ceiling(at);
            if (mark == null || Long.compareUnsigned(mark, last) > 0) {
                return;
            }
            long start = pageStart(area, mark);
            long end = start + pageBytes(area, mark) - 1;
            if (Long.compareUnsigned(start, first) >= 0) {
                // Of a page of two entries the kernel's format tells the first alone, whichever was written to.
                sink.dirty(start, PAGE_BYTES);
            }
            if (clear) {
                written.subSet(start, true, end, true).clear();
            }
            if (Long.compareUnsigned(end, last) >= 0) {
                return;
            }
            at = end + 1;
        }
    }

    private static long pageStart(Area area, long address) {
        return address & -pageBytes(area, address);
    }

    private static long pageBytes(Area area, long address) {
        long page = address & -Areas.PAGE_BYTES;
        boolean whole = Long.compareUnsigned(page, area.first()) >= 0
                && Long.compareUnsigned(page + Areas.PAGE_BYTES - 1, area.last()) <= 0;
        boolean together = ((area.offsetOf(address) ^ address) & (Areas.PAGE_BYTES - 1)) == 0;
        return whole && together ? Areas.PAGE_BYTES : PAGE_BYTES;
    }
}
