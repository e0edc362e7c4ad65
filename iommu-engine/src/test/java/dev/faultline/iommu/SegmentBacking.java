package dev.faultline.iommu;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** A segment as a program's memory, from address 0 on. */
final class SegmentBacking extends Backing {
    private final MemorySegment memory;

    SegmentBacking(MemorySegment memory) {
        super(0, memory.byteSize(), true, null);
        this.memory = memory;
    }

    @Override
    protected @Nullable MemorySegment piece(long offset) {
        return memory.asSlice(offset);
    }

    @Override
    protected boolean transfer(long offset, MemorySegment data, boolean write) {
        throw new AssertionError("not used");
    }
}
