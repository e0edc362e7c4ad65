package dev.faultline.iommu;

import dev.faultline.iommu.table.PhysicalMemory;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Physical memory of an {@link Iommu}, to be mapped for its devices. It stays where it is, held or not.
 *
 * <p>Threads: any.
 */
final class PhysicalBacking extends Backing {
    private final PhysicalMemory memory;

    PhysicalBacking(PhysicalMemory memory, long physical, long bytes, boolean writable) {
        super(physical, bytes, writable, null);
        this.memory = memory;
    }

    /** Whether an address of the memory means the same there. */
    boolean isOf(PhysicalMemory other) {
        return memory == other;
    }

    @Override
    protected @Nullable MemorySegment piece(long offset) {
        return memory.from(origin() + offset);
    }
}
