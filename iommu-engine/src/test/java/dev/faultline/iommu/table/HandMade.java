package dev.faultline.iommu.table;

import static org.junit.jupiter.api.Assertions.assertTrue;

/** Tables written entry by entry, in memory of their own: what no mapper would make. */
final class HandMade implements AutoCloseable {
    private static final int ROOT_FRAMES = 16;

    final PageFormat format;
    final TestMemory memory;
    final Walker walker;
    final long root;
    private long next;

    HandMade(PageFormat format) {
        this(format, new TestMemory(1024), 0);
    }

    /** @param root where the root goes, with the frames after it for tables */
    HandMade(PageFormat format, TestMemory memory, long root) {
        this.format = format;
        this.memory = memory;
        this.root = root;
        this.next = root + ROOT_FRAMES * TestMemory.FRAME;
        this.walker = new Walker(format, memory.physical, root);
    }

    /** Writes the entry of a level, making tables above it. */
    void put(long address, int level, long entry) {
        memory.physical.exchange(slot(address, level), entry);
    }

    long get(long address, int level) {
        return memory.physical.entry(slot(address, level));
    }

    /** Where the entry of a level lies. */
    long slot(long address, int target) {
        long table = root;
        for (int level = format.topLevel; level > target; level--) {
            long slot = format.slot(table, address, level);
            long entry = memory.physical.entry(slot);
            if (entry == 0) {
                memory.physical.zero(next);
                entry = format.table(next);
                assertTrue(memory.physical.replace(slot, 0, entry));
                next += TestMemory.FRAME;
            }
            table = format.tableAddress(entry);
        }
        return format.slot(table, address, target);
    }

    long walk(long address, int needed) {
        return walker.walk(address, needed);
    }

    int vtd(long address, int needed) {
        return VtdFaults.code(walk(address, needed), format.topLevel, format.topLevel);
    }

    int smmu(long address, int needed) {
        return SmmuFaults.event(walk(address, needed));
    }

    @Override
    public void close() {
        memory.close();
    }
}
