package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.Backing;
import dev.faultline.iommu.HeldPages;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * A program's own memory, mapped for devices. What lies there is looked up when it is first held, not before.
 *
 * <p>Threads: any.
 */
final class UserBacking extends Backing {
    private final UserMemory memory;

    UserBacking(UserMemory memory, HeldPages held, long address, long bytes, boolean writable) {
        super(address, bytes, writable, held);
        this.memory = memory;
    }

    @Override
    protected @Nullable MemorySegment piece(long offset) {
        return memory.piece(origin() + offset, writable());
    }

    @Override
    protected boolean transfer(long offset, MemorySegment data, boolean write) {
        long address = origin() + offset;
        long bytes = data.byteSize();
        if (UserMemory.isOutside(address, bytes)) {
            return false;
        }
        return (write ? memory.copyOut(data, address) : memory.copyIn(address, data)) == bytes;
    }
}
