package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Backing;
import dev.faultline.iommu.HeldPages;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * A device's memory with a descriptor: the kernel's dma-buf. Its owner can revoke it, and then nothing of what was mapped before is
 * shown any more.
 *
 * <p>Threads: any.
 */
final class DmaBuffer extends OpenFile {
    private final MemorySegment memory;

    private volatile boolean revoked;

    /** Of how many revocations it is that a mapping is from before. */
    private volatile int revocations;

    DmaBuffer(long bytes) throws ErrnoException {
        super(O_RDWR);
        memory = MemoryFile.allocate(bytes);
    }

    long length() {
        return memory.byteSize();
    }

    boolean isRevoked() {
        return revoked;
    }

    /** Takes what is mapped now from everybody, and says whether it can be mapped again. */
    synchronized void revoke(boolean now) {
        revoked = now;
        revocations++;
    }

    Backing backing(HeldPages held, long start, long bytes, boolean writable) {
        return new Part(this, held, start, bytes, writable);
    }

    private static final class Part extends Backing {
        private final DmaBuffer buffer;
        private final int revocations;

        Part(DmaBuffer buffer, HeldPages held, long start, long bytes, boolean writable) {
            super(start, bytes, writable, held);
            this.buffer = buffer;
            this.revocations = buffer.revocations;
        }

        @Override
        public boolean isReachable() {
            return false;
        }

        @Override
        public boolean isRevoked() {
            return buffer.revocations != revocations;
        }

        @Override
        protected @Nullable MemorySegment piece(long offset) {
            long at = origin() + offset;
            return at < buffer.memory.byteSize() ? buffer.memory.asSlice(at) : null;
        }

        @Override
        protected boolean transfer(long offset, MemorySegment data, boolean write) {
            throw new IllegalStateException("software can not reach it");
        }
    }

    @Override
    int poll(int events, long limitNs) {
        return events & (POLLIN | POLLOUT);
    }

    @Override
    Mapping map(long offset, long bytes, int protection, int flags) throws ErrnoException {
        throw new ErrnoException(Errno.EINVAL);
    }

    @Override
    void released() {}
}
