package dev.faultline.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.BitSet;
import java.util.Optional;

/**
 * The few Linux calls the project makes, each with its errno.
 *
 * <p>Threads: one at a time for each instance, because the C library's errno of a call is captured in the instance's own
 * memory. Ownership: whoever opens closes; descriptors are the caller's. Progress: {@code read}, {@code write} and {@code
 * poll} may wait, as the kernel lets them. Nothing is allocated in a call. Errors: every call returns its result, 0 or more,
 * or the negative errno (see {@link Errno}); none throws for what the kernel refuses. Source: the manual pages of section 2.
 */
public final class LinuxCalls extends CallState {
    /** {@code SOCK_STREAM}: bytes without bounds. */
    public static final int SOCK_STREAM = 1;

    /** {@code SOCK_SEQPACKET}: messages keep their bounds, and arrive in order. */
    public static final int SOCK_SEQPACKET = 5;

    /** {@code POLLIN}: there is something to read. */
    public static final int POLLIN = 0x001;

    /** {@code POLLOUT}: a write would be taken. */
    public static final int POLLOUT = 0x004;

    /** {@code POLLERR}: the descriptor is in error. */
    public static final int POLLERR = 0x008;

    /** {@code POLLHUP}: the other end is gone. */
    public static final int POLLHUP = 0x010;

    /** {@code POLLNVAL}: no such descriptor is open. */
    public static final int POLLNVAL = 0x020;

    /** {@code POLLRDNORM}: what {@link #POLLIN} says, in the words of System V. */
    public static final int POLLRDNORM = 0x040;

    /** {@code POLLRDHUP}: the other end will write no more. Told only where it is asked for. */
    public static final int POLLRDHUP = 0x2000;

    /** How many descriptors one {@link #poll(int[], int[], int[], int)} takes. */
    public static final int MOST_POLLED = 16;

    static final int AF_UNIX = 1;
    static final int SOL_SOCKET = 1;
    static final int SO_TYPE = 3;
    static final int POLLFD_BYTES = 8;
    static final int SOCK_CLOEXEC = 0x80000;
    static final int EFD_CLOEXEC = 0x80000;
    static final int EFD_NONBLOCK = 0x800;
    static final int F_SETFL = 4;
    static final int O_NONBLOCK = 0x800;
    private static final int CPU_SET_BYTES = 128;
    private static final int SCRATCH_BYTES = CPU_SET_BYTES;

    private LinuxCalls() {
        super(SCRATCH_BYTES);
    }

    /**
     * Opens an instance for the calling thread, or for a thread it will be handed to.
     *
     * @return the instance
     * @throws UnsupportedOperationException if this machine lacks the calls; the message is that of {@link #missing}
     */
    public static LinuxCalls open() {
        require(missing());
        return new LinuxCalls();
    }

    /**
     * Why the calls cannot be made here.
     *
     * @return the reason and its remedy, or empty if {@link #open} works
     */
    public static Optional<String> missing() {
        return Availability.MISSING;
    }

    /**
     * {@code read(2)}.
     *
     * @param fd a descriptor
     * @param buffer native memory of at least {@code bytes}
     * @param bytes how many at most
     * @return bytes read, or a negative errno
     * @throws IndexOutOfBoundsException if {@code buffer} is smaller than {@code bytes}
     */
    public long read(int fd, MemorySegment buffer, long bytes) {
        checkRoom(buffer, bytes);
        try {
            return result((long) Functions.READ.invokeExact(errno, fd, buffer, bytes));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code write(2)}.
     *
     * @param fd a descriptor
     * @param buffer native memory of at least {@code bytes}
     * @param bytes how many at most
     * @return bytes written, or a negative errno
     * @throws IndexOutOfBoundsException if {@code buffer} is smaller than {@code bytes}
     */
    public long write(int fd, MemorySegment buffer, long bytes) {
        checkRoom(buffer, bytes);
        try {
            return result((long) Functions.WRITE.invokeExact(errno, fd, buffer, bytes));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code poll(2)} on one descriptor.
     *
     * @param fd a descriptor
     * @param events what to wait for, {@link #POLLIN} and so on
     * @param timeoutMs milliseconds; 0 does not wait, a negative number waits without limit
     * @return the events that hold, 0 if the time ran out, or a negative errno
     */
    public int poll(int fd, int events, int timeoutMs) {
        // struct pollfd { int fd; short events; short revents; }
        SharedWords.putInt(scratch, 0, fd);
        SharedWords.putInt(scratch, 4, events & 0xffff);
        try {
            int n = (int) Functions.POLL.invokeExact(errno, scratch, 1L, timeoutMs);
            return n < 0 ? -lastErrno() : n == 0 ? 0 : SharedWords.getInt(scratch, 4) >>> 16;
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code poll(2)} on several descriptors.
     *
     * @param fds the descriptors; a negative one is passed over
     * @param events what to wait for on each, {@link #POLLIN} and so on
     * @param revents takes the events that hold on each; left as it is after an error
     * @param timeoutMs milliseconds; 0 does not wait, a negative number waits without limit
     * @return how many descriptors have events, 0 if the time ran out, or a negative errno
     * @throws IllegalArgumentException if there are more than {@link #MOST_POLLED}, or the arrays differ in length
     */
    public int poll(int[] fds, int[] events, int[] revents, int timeoutMs) {
        int count = fds.length;
        if (count > MOST_POLLED || events.length != count || revents.length != count) {
            throw new IllegalArgumentException("fds.length=" + count + ", events.length=" + events.length
                    + ", revents.length=" + revents.length + ": allowed the same three, up to " + MOST_POLLED);
        }
        for (int i = 0; i < count; i++) {
            SharedWords.putInt(scratch, (long) i * POLLFD_BYTES, fds[i]);
            SharedWords.putInt(scratch, (long) i * POLLFD_BYTES + 4, events[i] & 0xffff);
        }
        int n;
        try {
            n = (int) Functions.POLL.invokeExact(errno, scratch, (long) count, timeoutMs);
        } catch (Throwable t) {
            throw unexpected(t);
        }
        if (n < 0) {
            return -lastErrno();
        }
        for (int i = 0; i < count; i++) {
            revents[i] = SharedWords.getInt(scratch, (long) i * POLLFD_BYTES + 4) >>> 16;
        }
        return n;
    }

    /**
     * The type of a socket: {@code getsockopt(2)} for {@code SO_TYPE}.
     *
     * @param fd a descriptor
     * @return {@link #SOCK_STREAM}, {@link #SOCK_SEQPACKET} or another type, or a negative errno: {@link Errno#ENOTSOCK} for
     *     what is no socket
     */
    public int socketType(int fd) {
        SharedWords.putInt(scratch, 4, 4);
        try {
            int n = (int)
                    Functions.SOCKET_OPTION.invokeExact(errno, fd, SOL_SOCKET, SO_TYPE, scratch, scratch.asSlice(4));
            return n < 0 ? -lastErrno() : SharedWords.getInt(scratch, 0);
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code close(2)}. The descriptor is gone whatever the result.
     *
     * @param fd a descriptor
     * @return 0 or a negative errno
     */
    public int close(int fd) {
        try {
            return result((int) Functions.CLOSE.invokeExact(errno, fd));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code socketpair(2)}: two connected local sockets, closed on exec.
     *
     * @param type {@link #SOCK_SEQPACKET} or another socket type
     * @param fds takes the two descriptors, which are the caller's to close
     * @return 0 or a negative errno
     * @throws IllegalArgumentException if {@code fds} has not two places
     */
    public int socketpair(int type, int[] fds) {
        if (fds.length != 2) {
            throw new IllegalArgumentException("fds.length=" + fds.length + ": allowed 2");
        }
        try {
            int n = (int) Functions.SOCKETPAIR.invokeExact(errno, AF_UNIX, type | SOCK_CLOEXEC, 0, scratch);
            if (n < 0) {
                return -lastErrno();
            }
        } catch (Throwable t) {
            throw unexpected(t);
        }
        fds[0] = SharedWords.getInt(scratch, 0);
        fds[1] = SharedWords.getInt(scratch, 4);
        return 0;
    }

    /**
     * {@code eventfd(2)}: a counter that {@link #write} adds eight bytes to and {@link #read} takes eight bytes of, closed on
     * exec. It can be read while it is not 0; a read takes all of it.
     *
     * @param initial what it starts with, 0 or more
     * @param nonBlocking whether a read of 0 is {@link Errno#EAGAIN} and does not wait
     * @return the descriptor, which is the caller's to close, or a negative errno
     * @throws IllegalArgumentException if {@code initial} is negative
     */
    public int eventfd(int initial, boolean nonBlocking) {
        if (initial < 0) {
            throw new IllegalArgumentException("initial=" + initial + ": allowed 0 or more");
        }
        int refused = Refusal.errno("eventfd");
        if (refused != 0) {
            return -refused;
        }
        try {
            return result((int) Functions.EVENTFD.invokeExact(
                    errno, initial, nonBlocking ? EFD_CLOEXEC | EFD_NONBLOCK : EFD_CLOEXEC));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code fcntl(2)} for {@code F_SETFL}: whether calls on a descriptor wait.
     *
     * @param fd a descriptor
     * @param nonBlocking whether a call that would wait is {@link Errno#EAGAIN}; other flags of the file are cleared
     * @return 0 or a negative errno
     */
    public int setNonBlocking(int fd, boolean nonBlocking) {
        try {
            return result((int) Functions.FCNTL.invokeExact(errno, fd, F_SETFL, nonBlocking ? O_NONBLOCK : 0));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code ioctl(2)} with a structure.
     *
     * @param fd a descriptor
     * @param request what is asked, as the descriptor's driver numbers it
     * @param argument native memory with the structure, of the size the request says
     * @return what the driver returns, or a negative errno
     */
    public int ioctl(int fd, long request, MemorySegment argument) {
        try {
            return result((int) Functions.IOCTL.invokeExact(errno, fd, request, argument));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code sched_setaffinity(2)} for the calling thread: lets it run on one processor only.
     *
     * @param cpu processor number, 0 to 1023
     * @return 0 or a negative errno
     * @throws IllegalArgumentException if {@code cpu} is outside 0 to 1023
     */
    public int setAffinity(int cpu) {
        if (cpu < 0 || cpu >= CPU_SET_BYTES * 8) {
            throw new IllegalArgumentException("cpu=" + cpu + ": allowed 0 to " + (CPU_SET_BYTES * 8 - 1));
        }
        scratch.fill((byte) 0);
        long word = (cpu >>> 6) * 8L;
        SharedWords.putLong(scratch, word, 1L << (cpu & 63));
        try {
            return result((int) Functions.SET_AFFINITY.invokeExact(errno, 0, (long) CPU_SET_BYTES, scratch));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code sched_getaffinity(2)} for the calling thread: the processors it may run on.
     *
     * @return the processors' numbers in ascending order
     * @throws IllegalStateException if the kernel refuses, with the errno's name
     */
    public int[] affinity() {
        scratch.fill((byte) 0);
        int n;
        try {
            n = (int) Functions.GET_AFFINITY.invokeExact(errno, 0, (long) CPU_SET_BYTES, scratch);
        } catch (Throwable t) {
            throw unexpected(t);
        }
        if (n < 0) {
            throw new IllegalStateException("sched_getaffinity: " + Errno.name(lastErrno()));
        }
        BitSet cpus = BitSet.valueOf(scratch.toArray(JAVA_LONG));
        return cpus.stream().toArray();
    }

    /** Looked at once: whether {@link Functions}, which is not touched here, can be loaded. */
    private static final class Availability {
        static final Optional<String> MISSING = CLibrary.missing(
                "read",
                "write",
                "poll",
                "close",
                "socketpair",
                "getsockopt",
                "eventfd",
                "fcntl",
                "ioctl",
                "sched_setaffinity",
                "sched_getaffinity");
    }

    /** Bound on first use, so that a machine without them can still load the class and be told why. */
    private static final class Functions {
        static final MethodHandle READ = bind("read", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG));
        static final MethodHandle WRITE = bind("write", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG));
        static final MethodHandle POLL = bind("poll", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT));
        static final MethodHandle CLOSE = bind("close", FunctionDescriptor.of(JAVA_INT, JAVA_INT));
        static final MethodHandle SOCKETPAIR =
                bind("socketpair", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, ADDRESS));
        static final MethodHandle SOCKET_OPTION =
                bind("getsockopt", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, ADDRESS, ADDRESS));
        static final MethodHandle EVENTFD = bind("eventfd", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT));
        static final MethodHandle FCNTL =
                CLibrary.bind("fcntl", 2, FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT));
        static final MethodHandle IOCTL =
                CLibrary.bind("ioctl", 2, FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, ADDRESS));
        static final MethodHandle SET_AFFINITY =
                bind("sched_setaffinity", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, ADDRESS));
        static final MethodHandle GET_AFFINITY =
                bind("sched_getaffinity", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, ADDRESS));

        private static MethodHandle bind(String name, FunctionDescriptor type) {
            return CLibrary.bind(name, CLibrary.FIXED, type);
        }
    }
}
