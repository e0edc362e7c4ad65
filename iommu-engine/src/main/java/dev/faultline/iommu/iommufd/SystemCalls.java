package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.HeldPages;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.UserMemory;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.WeakHashMap;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * One emulated process: its memory, its descriptors, and the system calls of Linux on {@code /dev/iommu} and the descriptors that
 * come of it.
 *
 * <p>Threads: any. Ownership: who opens it closes it, which is the process going away; the memory and the driver stay the caller's.
 * Progress: no call waits, but {@link #poll}, and those that wait a bounded time for a device to be stepped. Units: bytes,
 * milliseconds; addresses are those of {@link UserMemory}. Errors: 0 or more is success, a negative number the negative {@link
 * Errno}; nothing is thrown for what a program can do wrong. Source: {@code include/uapi/linux/iommufd.h}, {@code
 * drivers/iommu/iommufd} and {@code fs/read_write.c}, Linux 7.2 on x86-64.
 */
public final class SystemCalls implements AutoCloseable {
    /** The device's name. */
    public static final String DEVICE = "/dev/iommu";

    private static final int SEEK_MAX = 4;

    private static final int F_DUPFD = 0;
    private static final int F_GETFD = 1;
    private static final int F_SETFD = 2;
    private static final int F_GETFL = 3;
    private static final int F_SETFL = 4;
    private static final int F_DUPFD_CLOEXEC = 1030;

    private static final int FIONCLEX = 0x5450;
    private static final int FIOCLEX = 0x5451;
    private static final int FIONBIO = 0x5421;
    private static final int O_NONBLOCK = 04000;
    private static final int O_LARGEFILE = 0100000;
    private static final int O_CLOEXEC = 02000000;

    private final UserMemory memory;
    private final Driver driver;
    private final Commands commands;
    private final HeldPages held = new HeldPages();

    /** Its contexts that may still be open: those told of a revoked buffer. */
    private final Set<Context> contexts = Collections.synchronizedSet(Collections.newSetFromMap(new WeakHashMap<>()));

    private final Allocations allocations = new Allocations();
    private final Descriptors descriptors = new Descriptors(allocations);

    private final Mappings mappings;

    private SystemCalls(UserMemory memory, Driver driver) {
        this.memory = memory;
        this.mappings = new Mappings(memory);
        this.driver = driver;
        this.commands = new Commands(driver.testCommand()
                .map(test -> List.of(new Command("IOMMU_TEST_CMD", 0x3ba0, 68, 72, test::run)))
                .orElse(List.of()));
    }

    /**
     * Begins a process without descriptors.
     *
     * @param memory what its pointers point into; anything else is a bad address
     * @param driver what is behind {@code /dev/iommu}
     * @return the process
     */
    public static SystemCalls open(UserMemory memory, Driver driver) {
        return new SystemCalls(memory, driver);
    }

    /**
     * Its memory.
     *
     * @return as it was given
     */
    public UserMemory memory() {
        return memory;
    }

    /** The file a descriptor refers to, held. */
    private OpenFile held(int fd) throws ErrnoException {
        OpenFile file = descriptors.hold(fd);
        if (file == null) {
            throw new ErrnoException(Errno.EBADF);
        }
        return file;
    }

    /** What a descriptor of {@code /dev/iommu} refers to. */
    Context context(int fd) throws ErrnoException {
        OpenFile file = held(fd);
        try {
            return file.context();
        } finally {
            file.letGo();
        }
    }

    /** Binds a device to what a descriptor of {@code /dev/iommu} refers to, which stays open meanwhile. */
    DeviceObject bind(int fd, DriverDevice device) throws ErrnoException {
        OpenFile file = held(fd);
        try {
            return file.context().bind(device, true);
        } finally {
            file.letGo();
        }
    }

    Descriptors descriptors() {
        return descriptors;
    }

    /**
     * What of its memory is held for devices.
     *
     * @return all of it
     */
    public HeldPages held() {
        return held;
    }

    /**
     * Makes a device's memory that can be mapped, the kernel's dma-buf.
     *
     * @param bytes how much
     * @param closesOnExec whether its descriptor does not outlive the program
     * @return its descriptor
     * @throws ErrnoException EMFILE, ENOMEM
     */
    public int deviceMemory(long bytes, boolean closesOnExec) throws ErrnoException {
        DmaBuffer buffer = new DmaBuffer(bytes);
        return descriptors.open(0, closesOnExec, fd -> buffer);
    }

    /**
     * Takes a device's memory from all that have mapped it.
     *
     * @param fd its descriptor
     * @param now whether it can not be mapped again either
     * @throws ErrnoException EBADF, or EINVAL if it is something else
     */
    public void revoke(int fd, boolean now) throws ErrnoException {
        OpenFile file = descriptors.hold(fd);
        if (file == null) {
            boolean standard = fd >= 0 && fd < Descriptors.FIRST;
            throw new ErrnoException(standard ? Errno.EINVAL : Errno.EBADF, "dmabuf_fd", "one of a device's memory");
        }
        try {
            if (!(file instanceof DmaBuffer buffer)) {
                throw new ErrnoException(Errno.EINVAL, "dmabuf_fd", "one of a device's memory");
            }
            buffer.revoke(now);
            for (Context context : contexts.toArray(Context[]::new)) {
                context.objects().all(Ioas.class).forEach(ioas -> ioas.areas().hideRevoked());
            }
        } finally {
            file.letGo();
        }
    }

    /** What is asked before anything is taken: for tests. */
    Allocations allocations() {
        return allocations;
    }

    // ---- descriptors ----

    /**
     * {@code open(2)}.
     *
     * @param path {@value #DEVICE}
     * @param flags an access mode, and others
     * @return the descriptor; {@code -ENOENT} for another path, {@code -EMFILE}
     */
    public int open(String path, int flags) {
        if (!path.equals(DEVICE)) {
            return -Errno.ENOENT;
        }
        try {
            allocations.take("a context");
            return descriptors.open(0, (flags & O_CLOEXEC) != 0, fd -> {
                int kept = (flags & ~O_CLOEXEC) | O_LARGEFILE;
                Context context = new Context(this, driver, commands, kept);
                contexts.add(context);
                return context.file();
            });
        } catch (ErrnoException e) {
            return -e.errno();
        }
    }

    /**
     * {@code close(2)}.
     *
     * @param fd a descriptor
     * @return 0, or {@code -EBADF}
     */
    public int close(int fd) {
        OpenFile file = descriptors.remove(fd);
        if (file == null) {
            return -Errno.EBADF;
        }
        file.letGo();
        return 0;
    }

    /**
     * {@code dup(2)}.
     *
     * @param fd a descriptor
     * @return another for the same; {@code -EBADF}, {@code -EMFILE}
     */
    public int dup(int fd) {
        return fcntl(fd, F_DUPFD, 0);
    }

    /**
     * {@code fcntl(2)}: F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL.
     *
     * @param fd a descriptor
     * @param command one of these
     * @param argument of the command
     * @return its result; {@code -EBADF}, {@code -EMFILE}, {@code -EINVAL}
     */
    public int fcntl(int fd, int command, long argument) {
        OpenFile file = descriptors.hold(fd);
        if (file == null) {
            return -Errno.EBADF;
        }
        try {
            return switch (command) {
                case F_DUPFD -> duplicate(file, argument, false);
                case F_DUPFD_CLOEXEC -> duplicate(file, argument, true);
                case F_GETFD -> descriptors.closesOnExec(fd) ? 1 : 0;
                case F_SETFD -> {
                    descriptors.closesOnExec(fd, (argument & 1) != 0);
                    yield 0;
                }
                case F_GETFL -> file.flags();
                case F_SETFL -> {
                    file.setFlags((int) argument);
                    yield 0;
                }
                default -> -Errno.EINVAL;
            };
        } finally {
            file.letGo();
        }
    }

    private int duplicate(OpenFile file, long least, boolean closesOnExec) {
        if (least < 0 || least >= descriptors.limit()) {
            return -Errno.EINVAL;
        }
        try {
            return descriptors.open((int) least, closesOnExec, fd -> file.heldAgain());
        } catch (ErrnoException e) {
            return -e.errno();
        }
    }

    /**
     * Sets the limit of descriptor numbers, as {@code RLIMIT_NOFILE} does. Those that are open stay so.
     *
     * @param limit no new descriptor is this number or above: 0 to 1048576
     */
    public void limitDescriptors(int limit) {
        if (limit < 0 || limit > Descriptors.MOST) {
            throw new IllegalArgumentException("limit=" + limit + ": allowed 0 to " + Descriptors.MOST);
        }
        descriptors.limit(limit);
    }

    // ---- commands ----

    /**
     * {@code ioctl(2)}.
     *
     * @param fd a descriptor
     * @param request the command
     * @param argument where its structure is
     * @return 0 or more, or a refusal of the command; {@code -EBADF}, {@code -ENOTTY}
     */
    public int ioctl(int fd, int request, long argument) {
        return ioctl(fd, request, argument, refusal -> {});
    }

    /** {@link #ioctl(int, int, long)} that tells why a command was refused. */
    int ioctl(int fd, int request, long argument, Consumer<ErrnoException> refused) {
        OpenFile file = descriptors.hold(fd);
        if (file == null) {
            return -Errno.EBADF;
        }
        try {
            return switch (request) {
                case FIOCLEX, FIONCLEX -> {
                    descriptors.closesOnExec(fd, request == FIOCLEX);
                    yield 0;
                }
                case FIONBIO -> {
                    boolean on = Call.copyIn(memory, argument, Integer.BYTES).getInt(0) != 0;
                    file.setFlags(on ? file.flags() | O_NONBLOCK : file.flags() & ~O_NONBLOCK);
                    yield 0;
                }
                default -> file.ioctl(request, argument);
            };
        } catch (ErrnoException e) {
            refused.accept(e);
            return -e.errno();
        } finally {
            file.letGo();
        }
    }

    // ---- reading and writing ----

    /**
     * {@code read(2)}.
     *
     * @param fd a descriptor
     * @param buffer where the bytes go
     * @param count how many at most
     * @return bytes read; {@code -EBADF}, {@code -EFAULT}, or what the descriptor says
     */
    public long read(int fd, long buffer, long count) {
        OpenFile file = descriptors.hold(fd);
        if (file == null) {
            return -Errno.EBADF;
        }
        try {
            return Transfer.move(memory, file, false, buffer, count);
        } finally {
            file.letGo();
        }
    }

    /**
     * {@code write(2)}.
     *
     * @param fd a descriptor
     * @param buffer where the bytes are
     * @param count how many
     * @return bytes written; {@code -EBADF}, {@code -EFAULT}, or what the descriptor says
     */
    public long write(int fd, long buffer, long count) {
        OpenFile file = descriptors.hold(fd);
        if (file == null) {
            return -Errno.EBADF;
        }
        try {
            return Transfer.move(memory, file, true, buffer, count);
        } finally {
            file.letGo();
        }
    }

    /**
     * {@code pread(2)}.
     *
     * @param fd a descriptor
     * @param buffer where the bytes go
     * @param count how many at most
     * @param offset where to begin
     * @return {@code -ESPIPE} on descriptors without positions; {@code -EBADF}, {@code -EINVAL} if the offset is negative
     */
    public long pread(int fd, long buffer, long count, long offset) {
        return positioned(fd, offset, file -> Transfer.move(memory, file, false, buffer, count));
    }

    /**
     * {@code pwrite(2)}.
     *
     * @param fd a descriptor
     * @param buffer where the bytes are
     * @param count how many
     * @param offset where to begin
     * @return as {@link #pread}
     */
    public long pwrite(int fd, long buffer, long count, long offset) {
        return positioned(fd, offset, file -> Transfer.move(memory, file, true, buffer, count));
    }

    /** Something on a file. */
    @FunctionalInterface
    private interface OnFile {
        long run(OpenFile file);
    }

    private long positioned(int fd, long offset, OnFile call) {
        if (offset < 0) {
            return -Errno.EINVAL;
        }
        OpenFile file = descriptors.hold(fd);
        if (file == null) {
            return -Errno.EBADF;
        }
        try {
            return file.hasPositions() ? call.run(file) : -Errno.ESPIPE;
        } finally {
            file.letGo();
        }
    }

    /**
     * {@code readv(2)}: each segment is a read of its own, up to the first that comes back short.
     *
     * @param fd a descriptor
     * @param vector where the segments are, 16 bytes each: address and length
     * @param segments how many
     * @return bytes read by all; the first one's refusal
     */
    public long readv(int fd, long vector, int segments) {
        return vectored(fd, false, vector, segments);
    }

    /**
     * {@code writev(2)}: each segment is a write of its own, up to the first that comes back short.
     *
     * @param fd a descriptor
     * @param vector where the segments are, 16 bytes each: address and length
     * @param segments how many
     * @return bytes written by all; the first one's refusal
     */
    public long writev(int fd, long vector, int segments) {
        return vectored(fd, true, vector, segments);
    }

    /**
     * {@code preadv(2)}.
     *
     * @param fd a descriptor
     * @param vector where the segments are
     * @param segments how many
     * @param offset where to begin
     * @return as {@link #pread}
     */
    public long preadv(int fd, long vector, int segments, long offset) {
        return positioned(fd, offset, file -> Transfer.vectored(memory, file, false, vector, segments));
    }

    /**
     * {@code pwritev(2)}.
     *
     * @param fd a descriptor
     * @param vector where the segments are
     * @param segments how many
     * @param offset where to begin
     * @return as {@link #pwrite}
     */
    public long pwritev(int fd, long vector, int segments, long offset) {
        return positioned(fd, offset, file -> Transfer.vectored(memory, file, true, vector, segments));
    }

    private long vectored(int fd, boolean write, long vector, int segments) {
        OpenFile file = descriptors.hold(fd);
        if (file == null) {
            return -Errno.EBADF;
        }
        try {
            return Transfer.vectored(memory, file, write, vector, segments);
        } finally {
            file.letGo();
        }
    }

    /**
     * {@code memfd_create(2)}: memory with a descriptor, empty until {@link #ftruncate} says how long it is.
     *
     * @param flags MFD_CLOEXEC (1)
     * @return the descriptor; {@code -EINVAL}, {@code -EMFILE}
     */
    public int memfdCreate(int flags) {
        if ((flags & ~1) != 0) {
            return -Errno.EINVAL;
        }
        try {
            return descriptors.open(0, flags != 0, fd -> new MemoryFile());
        } catch (ErrnoException e) {
            return -e.errno();
        }
    }

    /**
     * {@code lseek(2)}.
     *
     * @param fd a descriptor
     * @param offset not looked at
     * @param whence not looked at
     * @return {@code -ESPIPE}: no descriptor here has a position to be moved; {@code -EBADF}
     */
    public long lseek(int fd, long offset, int whence) {
        if (!isOpen(fd)) {
            return -Errno.EBADF;
        }
        return whence < 0 || whence > SEEK_MAX ? -Errno.EINVAL : -Errno.ESPIPE;
    }

    /**
     * {@code fsync(2)}.
     *
     * @param fd a descriptor
     * @return {@code -EINVAL}: there is nothing to write to; {@code -EBADF}
     */
    public int fsync(int fd) {
        return isOpen(fd) ? -Errno.EINVAL : -Errno.EBADF;
    }

    /**
     * {@code ftruncate(2)}.
     *
     * @param fd a descriptor
     * @param length 0 or more
     * @return 0; {@code -EINVAL} for a descriptor that has no length; {@code -EFBIG}, {@code -ENOMEM}, {@code -EBADF}
     */
    public int ftruncate(int fd, long length) {
        if (length < 0) {
            return -Errno.EINVAL;
        }
        OpenFile file = descriptors.hold(fd);
        if (file == null) {
            return -Errno.EBADF;
        }
        try {
            if (!(file instanceof MemoryFile memoryFile)) {
                return -Errno.EINVAL;
            }
            memoryFile.truncate(length);
            return 0;
        } catch (ErrnoException e) {
            return -e.errno();
        } finally {
            file.letGo();
        }
    }

    private boolean isOpen(int fd) {
        OpenFile file = descriptors.hold(fd);
        if (file == null) {
            return false;
        }
        file.letGo();
        return true;
    }

    /**
     * {@code poll(2)} of one descriptor.
     *
     * @param fd a descriptor; a negative one is left out
     * @param events what to wait for
     * @param timeoutMs milliseconds at most: 0 only looks, a negative number waits without limit
     * @return which events there are, 0 if none came in time; POLLNVAL (32) if the descriptor is not open; {@code -EINTR} if the
     *     thread is interrupted, which it then still is
     */
    public int poll(int fd, int events, int timeoutMs) {
        if (fd < 0) {
            return 0;
        }
        OpenFile file = descriptors.hold(fd);
        if (file == null) {
            return OpenFile.POLLNVAL;
        }
        try {
            return file.poll(events, timeoutMs < 0 ? -1 : TimeUnit.MILLISECONDS.toNanos(timeoutMs));
        } finally {
            file.letGo();
        }
    }

    // ---- rings ----

    /**
     * Reads a fault queue through its ring instead of its descriptor: reads are posted ahead, answers and {@linkplain RingCommands
     * commands} go back. Read, write and poll on the descriptor say {@code -EBADFD} from then on.
     *
     * @param fd the descriptor of a fault queue that nobody has read, written or polled, or made a page table with
     * @return the consumer; closing it answers nobody
     * @throws ErrnoException EBUSY if the queue is used already, ENOTTY for another descriptor, EBADF
     */
    public FaultConsumer ring(int fd) throws ErrnoException {
        OpenFile file = held(fd);
        try {
            return file.ring();
        } finally {
            file.letGo();
        }
    }

    /**
     * Has the events of a vEVENTQ go to a ring instead of its descriptor, each to a read that was posted ahead.
     *
     * @param fd the descriptor of a vEVENTQ
     * @param ring where they go, beside faults or by themselves; its largest group has 4 requests or more
     * @param unread events that may be on the ring and not answered; further ones wait in the vEVENTQ, up to its depth
     * @return what to close to read by descriptor again; until then that says {@code -EBADFD}
     * @throws ErrnoException EBUSY if they go to a ring already, ENOTTY for another descriptor, EBADF
     * @throws IllegalArgumentException if the ring's groups are too small, or {@code unread} is no allocation of it
     * @throws IllegalStateException if the ring is closed, or has as many producers as it was configured for
     */
    public EventRing events(int fd, FaultQueue ring, int unread) throws ErrnoException {
        OpenFile file = held(fd);
        try {
            return file.events(ring, unread);
        } finally {
            file.letGo();
        }
    }

    // ---- mappings ----

    /**
     * {@code mmap(2)}: puts memory that a driver has announced into the process's, at an address of its own choice.
     *
     * @param fd a descriptor of {@code /dev/iommu}
     * @param offset as announced
     * @param length as announced
     * @param protection PROT_READ (1), PROT_WRITE (2)
     * @param flags MAP_SHARED (1)
     * @return the address; {@code -EBADF}, {@code -EINVAL}, {@code -EACCES}, {@code -EPERM}, {@code -ENXIO} where nothing is announced
     *     of that length, {@code -ENODEV} for other descriptors, {@code -ENOMEM} if there are too many mappings or no addresses
     */
    public long mmap(int fd, long offset, long length, int protection, int flags) {
        return mappings.map(descriptors, fd, offset, length, protection, flags);
    }

    /**
     * {@code munmap(2)} of a whole mapping.
     *
     * @param address as {@link #mmap} gave it
     * @param length as it was given
     * @return 0, also where nothing is mapped; {@code -EINVAL} for a part of a mapping, which the kernel would do
     */
    public int munmap(long address, long length) {
        return mappings.unmap(address, length);
    }

    /** The process goes away: its mappings and its descriptors, lowest first. */
    @Override
    public void close() {
        mappings.unmapAll();
        descriptors.removeAll().forEach(OpenFile::letGo);
    }
}
