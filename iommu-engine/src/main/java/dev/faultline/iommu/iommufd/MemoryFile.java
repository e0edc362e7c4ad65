package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Backing;
import dev.faultline.iommu.HeldPages;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Memory with a descriptor: the kernel's memfd. It grows by whole chunks, so pages that are in use stay where they are.
 *
 * <p>Threads: any; its length and chunks are under its lock. The memory goes when neither the descriptor nor a mapping has it.
 */
final class MemoryFile extends OpenFile {
    private static final long PAGE = 4096;

    /** No more memory than this in one file. */
    static final long MOST_BYTES = 1L << 30;

    // Under the lock.
    private final TreeMap<Long, MemorySegment> chunks = new TreeMap<>();
    private long length;

    MemoryFile() {
        super(O_RDWR);
    }

    /** Sets the length: what is added is zero, what is cut off is gone. */
    synchronized void truncate(long to) throws ErrnoException {
        if (to < 0) {
            throw new ErrnoException(Errno.EINVAL, "length", "0 or more");
        }
        if (to > MOST_BYTES) {
            throw new ErrnoException(Errno.EFBIG, "length", "0 to " + MOST_BYTES);
        }
        long end = chunks.isEmpty()
                ? 0
                : chunks.lastKey() + chunks.lastEntry().getValue().byteSize();
        long needed = (to + PAGE - 1) & -PAGE;
        if (needed > end) {
            chunks.put(end, allocate(needed - end));
        } else {
            long at = to;
            while (at < length) {
                Map.Entry<Long, MemorySegment> chunk = chunks.floorEntry(at);
                long from = at - chunk.getKey();
                chunk.getValue().asSlice(from).fill((byte) 0);
                at = chunk.getKey() + chunk.getValue().byteSize();
            }
        }
        length = to;
    }

    /** Zeros, which go when nobody has them any more. */
    static MemorySegment allocate(long bytes) throws ErrnoException {
        try {
            return Arena.ofAuto().allocate(bytes, PAGE);
        } catch (OutOfMemoryError e) {
            throw new ErrnoException(Errno.ENOMEM);
        }
    }

    synchronized long length() {
        return length;
    }

    /** The memory at an offset, to the end of its chunk; null beyond the last whole page. */
    synchronized @Nullable MemorySegment at(long offset) {
        long whole = length & -PAGE;
        if (Long.compareUnsigned(offset, whole) >= 0) {
            return null;
        }
        Map.Entry<Long, MemorySegment> chunk = chunks.floorEntry(offset);
        MemorySegment from = chunk.getValue().asSlice(offset - chunk.getKey());
        return from.byteSize() > whole - offset ? from.asSlice(0, whole - offset) : from;
    }

    /** What a part of it is to devices. */
    Backing backing(HeldPages held, long start, long bytes, boolean writable) {
        return new FileBacking(this, held, start, bytes, writable);
    }

    /** What a part of a file is to devices. */
    static final class FileBacking extends PartOfFile {
        private final MemoryFile file;

        FileBacking(MemoryFile file, HeldPages held, long start, long bytes, boolean writable) {
            super(start, bytes, writable, held);
            this.file = file;
        }

        @Override
        protected @Nullable MemorySegment piece(long offset) {
            return file.at(origin() + offset);
        }
    }

    @Override
    Mapping map(long offset, long bytes, int protection, int flags) throws ErrnoException {
        MemorySegment from = at(offset);
        if (from == null || from.byteSize() < bytes) {
            throw new ErrnoException(Errno.ENOMEM, "length", "what was made by one change of the length");
        }
        return new Mapping(from.asSlice(0, bytes), () -> {});
    }

    @Override
    boolean readable() {
        return true;
    }

    @Override
    boolean writable() {
        return true;
    }

    @Override
    int poll(int events, long limitNs) {
        return events & (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
    }

    @Override
    void released() {}
}
