package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.AreaResult;
import dev.faultline.iommu.Backing;
import dev.faultline.iommu.HeldPages;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** Part of a file, mapped for devices. A file that has no memory of its own can be mapped, but not held. */
class PartOfFile extends Backing {
    PartOfFile(long start, long bytes, boolean writable, HeldPages held) {
        super(start, bytes, writable, held);
    }

    @Override
    public boolean isFile() {
        return true;
    }

    @Override
    protected AreaResult missing() {
        return AreaResult.REFUSED;
    }

    @Override
    protected @Nullable MemorySegment piece(long offset) {
        return null;
    }

    /** As a device: by what is at the offset now. */
    @Override
    protected boolean transfer(long offset, MemorySegment data, boolean write) {
        long done = 0;
        while (done < data.byteSize()) {
            MemorySegment there = piece(offset + done);
            if (there == null) {
                return false;
            }
            long n = Math.min(there.byteSize(), data.byteSize() - done);
            if (write) {
                MemorySegment.copy(data, done, there, 0, n);
            } else {
                MemorySegment.copy(there, 0, data, done, n);
            }
            done += n;
        }
        return true;
    }
}
