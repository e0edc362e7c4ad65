package dev.faultline.iommu;

import java.util.List;
import java.util.concurrent.ConcurrentSkipListMap;

/** A table that only lists what it shows, and may be made to fail. */
final class ListTable implements AreaTable {
    private final ConcurrentSkipListMap<Long, Area> shown = new ConcurrentSkipListMap<>(Long::compareUnsigned);
    private final long smallest;

    long firstAddress;
    long lastAddress = -1;

    /** So many areas are shown, and no more. */
    volatile int room = Integer.MAX_VALUE;

    ListTable(long smallest) {
        this.smallest = smallest;
    }

    List<Area> shown() {
        return List.copyOf(shown.values());
    }

    @Override
    public long pageSizes() {
        return smallest | Areas.PAGE_BYTES;
    }

    @Override
    public long firstAddress() {
        return firstAddress;
    }

    @Override
    public long lastAddress() {
        return lastAddress;
    }

    @Override
    public AreaResult show(Area area) {
        if (shown.size() >= room) {
            return AreaResult.NO_MEMORY;
        }
        if (shown.putIfAbsent(area.first(), area) != null) {
            throw new AssertionError(area + " is shown twice");
        }
        return AreaResult.DONE;
    }

    @Override
    public void hide(Area area) {
        var _ = shown.remove(area.first(), area);
    }
}
