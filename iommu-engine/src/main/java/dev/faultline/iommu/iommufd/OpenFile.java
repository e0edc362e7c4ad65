package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * What descriptors refer to: the kernel's {@code struct file}. Descriptors that were duplicated share one.
 *
 * <p>Threads: any. Lifetime: it counts its holders, which are descriptors, calls under way, and files that keep others open; the last
 * one to let go releases it. Subclasses say what a call does once the file layer has nothing against it.
 */
abstract class OpenFile {
    static final int POLLIN = 0x1;
    static final int POLLOUT = 0x4;
    static final int POLLNVAL = 0x20;
    static final int POLLRDNORM = 0x40;
    static final int POLLWRNORM = 0x100;

    static final int O_ACCMODE = 3;
    static final int O_RDONLY = 0;
    static final int O_WRONLY = 1;
    static final int O_RDWR = 2;

    /** Flags that F_SETFL can change: O_APPEND, O_NONBLOCK, O_DIRECT, O_NOATIME. */
    private static final int SETTABLE = 02000 | 04000 | 040000 | 01000000;

    /** Holders; 0 once released, and then for ever. */
    private final AtomicInteger holders = new AtomicInteger(1);

    private volatile int flags;

    OpenFile(int flags) {
        this.flags = flags;
    }

    /** One more holder; false if the file is released. */
    final boolean hold() {
        int now;
        do {
            now = holders.get();
            if (now == 0) {
                return false;
            }
        } while (!holders.compareAndSet(now, now + 1));
        return true;
    }

    /** One more holder, by one who holds it. */
    final OpenFile heldAgain() {
        if (!hold()) {
            throw new IllegalStateException("a file that is held was released");
        }
        return this;
    }

    final void letGo() {
        if (holders.decrementAndGet() == 0) {
            released();
        }
    }

    /** Nobody can use it any more. By the thread that let go last. */
    abstract void released();

    final int flags() {
        return flags;
    }

    final void setFlags(int wanted) {
        flags = (flags & ~SETTABLE) | (wanted & SETTABLE);
    }

    final boolean mayRead() {
        return (flags & O_ACCMODE) != O_WRONLY;
    }

    final boolean mayWrite() {
        return (flags & O_ACCMODE) != O_RDONLY;
    }

    /** Whether there is anything to read in principle; a write on a file where there is not says EINVAL likewise. */
    boolean readable() {
        return false;
    }

    boolean writable() {
        return false;
    }

    /** Reads; the address range is the user's and the count no larger than one call moves. */
    long read(UserMemory memory, long buffer, long count) {
        return -Errno.EINVAL;
    }

    /** Writes; the address range is the user's and the count no larger than one call moves. */
    long write(UserMemory memory, long buffer, long count) {
        return -Errno.EINVAL;
    }

    /** Whether it has positions, for pread and pwrite to begin at. */
    boolean hasPositions() {
        return false;
    }

    int ioctl(int request, long argument) throws ErrnoException {
        throw new ErrnoException(Errno.ENOTTY);
    }

    /**
     * Which of some events there are.
     *
     * @param limitNs how long to wait for one: 0 only looks, a negative number waits without limit
     */
    abstract int poll(int events, long limitNs);

    /** The ring behind it, if it is a fault queue's. */
    FaultConsumer ring() throws ErrnoException {
        throw new ErrnoException(Errno.ENOTTY);
    }

    /** Has events go to a ring, if it is a vEVENTQ's. */
    EventRing events(FaultQueue ring, int unread) throws ErrnoException {
        throw new ErrnoException(Errno.ENOTTY);
    }

    /** Whose file it is, if it is of {@code /dev/iommu} itself. */
    Context context() throws ErrnoException {
        throw new ErrnoException(Errno.EBADF);
    }

    /** Memory that a file gives to be mapped, and who is told when it no longer is. */
    record Mapping(MemorySegment memory, Runnable unmapped) {}

    /** The memory at an offset, to be mapped. */
    Mapping map(long offset, long length, int protection, int flags) throws ErrnoException {
        throw new ErrnoException(Errno.ENODEV);
    }
}
