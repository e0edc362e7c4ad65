package dev.faultline.iommu.table;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Region;
import java.util.BitSet;
import java.util.Objects;

/** Physical memory with an allocator that can be told to fail. Closing it asserts that every frame is back. */
final class TestMemory implements Allocator, AutoCloseable {
    static final long FRAME = 4096;

    final Region region;
    final PhysicalMemory physical;
    private final int total;
    private final BitSet taken = new BitSet();
    /** Allocations that still succeed. */
    private long left = Long.MAX_VALUE;

    TestMemory(int frames) {
        total = frames;
        region = Region.allocate(frames * FRAME);
        physical = new PhysicalMemory(region.segment());
    }

    /** An empty table here. */
    RadixTable table(PageFormat format) {
        return Objects.requireNonNull(RadixTable.make(format, physical, this));
    }

    @Override
    public synchronized long allocate() {
        int frame = taken.nextClearBit(0);
        if (frame >= total || left == 0) {
            return -1;
        }
        left--;
        taken.set(frame);
        return frame * FRAME;
    }

    @Override
    public synchronized void free(long address) {
        assertTrue(taken.get((int) (address / FRAME)), () -> "freed twice: 0x" + Long.toHexString(address));
        taken.clear((int) (address / FRAME));
    }

    synchronized void failAfter(long allocations) {
        left = allocations;
    }

    synchronized int freeCount() {
        return total - taken.cardinality();
    }

    @Override
    public void close() {
        assertEquals(total, freeCount(), "all frames are back");
        region.close();
    }
}
