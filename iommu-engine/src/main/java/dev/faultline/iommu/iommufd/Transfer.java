package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.ring.UserMemory;

/** What the kernel's file layer does of a read or a write before a file is asked. Source: {@code fs/read_write.c}. */
final class Transfer {
    /** The kernel moves no more in one call: {@code MAX_RW_COUNT}. */
    private static final long MOST_BYTES = 0x7fff_f000L;

    /** Segments of one vectored call: {@code UIO_MAXIOV}. */
    private static final int MOST_SEGMENTS = 1024;

    private static final int SEGMENT_BYTES = 16;

    private Transfer() {}

    /** Reads or writes bytes; the number moved, or the negative error number. */
    static long move(UserMemory memory, OpenFile file, boolean write, long buffer, long count) {
        int errno = refusal(file, write);
        if (errno != 0) {
            return -errno;
        }
        if (UserMemory.isOutside(buffer, count)) {
            return -Errno.EFAULT;
        }
        long bytes = Math.min(count, MOST_BYTES);
        return write ? file.write(memory, buffer, bytes) : file.read(memory, buffer, bytes);
    }

    private static int refusal(OpenFile file, boolean write) {
        if (!(write ? file.mayWrite() : file.mayRead())) {
            return Errno.EBADF;
        }
        return (write ? file.writable() : file.readable()) ? 0 : Errno.EINVAL;
    }

    /** Reads or writes segments, each by itself, up to the first that comes back short. */
    static long vectored(UserMemory memory, OpenFile file, boolean write, long vector, int segments) {
        if (segments < 0 || segments > MOST_SEGMENTS) {
            return -Errno.EINVAL;
        }
        long[] base = new long[segments];
        long[] length = new long[segments];
        long left = MOST_BYTES;
        try {
            var array = Call.copyIn(memory, vector, segments * SEGMENT_BYTES);
            for (int i = 0; i < segments; i++) {
                base[i] = array.getLong(i * SEGMENT_BYTES);
                length[i] = array.getLong(i * SEGMENT_BYTES + Long.BYTES);
                if (length[i] < 0) {
                    return -Errno.EINVAL;
                }
            }
            for (int i = 0; i < segments; i++) {
                if (UserMemory.isOutside(base[i], length[i])) {
                    return -Errno.EFAULT;
                }
                length[i] = Math.min(length[i], left);
                left -= length[i];
            }
        } catch (ErrnoException e) {
            return -e.errno();
        }
        int errno = refusal(file, write);
        if (errno != 0) {
            return -errno;
        }
        long done = 0;
        // An empty segment before others is a call of its own, and may be refused as one.
        for (int i = 0; left < MOST_BYTES && i < segments; i++) {
            long moved = write ? file.write(memory, base[i], length[i]) : file.read(memory, base[i], length[i]);
            if (moved < 0) {
                return done > 0 ? done : moved;
            }
            done += moved;
            left += moved;
            if (moved < length[i]) {
                break;
            }
        }
        return done;
    }
}
