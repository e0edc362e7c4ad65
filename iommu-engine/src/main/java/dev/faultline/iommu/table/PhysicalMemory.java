package dev.faultline.iommu.table;

import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * Physical memory as tables and devices see it: words and bytes at physical addresses.
 *
 * <p>Threads: any. Ownership: the memory is its maker's, and outlives this. Units: bytes; physical addresses.
 */
public final class PhysicalMemory {
    private final MemorySegment memory;
    private final long bytes;

    public PhysicalMemory(MemorySegment memory) {
        this.memory = memory;
        this.bytes = memory.byteSize();
    }

    /** Whether a word, or a frame, can be read at a multiple of its size. */
    public boolean contains(long address) {
        return address >= 0 && address < bytes;
    }

    /** A word of a table. Who sees an entry sees what it points at. */
    long entry(long address) {
        return SharedWords.getLongAcquire(memory, address);
    }

    boolean replace(long address, long expected, long value) {
        return SharedWords.compareAndSetLong(memory, address, expected, value);
    }

    long exchange(long address, long value) {
        return SharedWords.getAndSetLong(memory, address, value);
    }

    /** Makes a frame all zeroes. */
    public void zero(long frame) {
        memory.asSlice(frame, 1 << Translation.PAGE_SHIFT).fill((byte) 0);
    }
}
