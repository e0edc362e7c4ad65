package dev.faultline.iommu;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** Memory whose owner can take parts of it away. */
final class TestBacking extends Backing {
    private final long start;
    private final MemorySegment memory;

    /** What lies at these offsets is not there. */
    long missingFrom = Long.MAX_VALUE;

    TestBacking(long start, int bytes, boolean writable) {
        super(start, bytes, writable, null);
        this.start = start;
        this.memory = MemorySegment.ofArray(new byte[(int) bytes()]);
    }

    long start() {
        return start;
    }

    /** How many reasons there are to hold some of it. */
    int reasons() {
        return held();
    }

    @Override
    protected @Nullable MemorySegment piece(long offset) {
        return offset < missingFrom ? memory.asSlice(offset, Math.min(bytes(), missingFrom) - offset) : null;
    }

    @Override
    protected boolean transfer(long offset, MemorySegment data, boolean write) {
        MemorySegment there = memory.asSlice(offset, data.byteSize());
        if (write) {
            there.copyFrom(data);
        } else {
            data.copyFrom(there);
        }
        return true;
    }
}
