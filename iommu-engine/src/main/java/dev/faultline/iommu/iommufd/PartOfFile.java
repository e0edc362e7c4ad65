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
}
