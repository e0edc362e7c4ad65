package dev.faultline.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.FunctionDescriptor;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/**
 * {@code epoll(7)}: one wait for many descriptors.
 *
 * <p>Threads, ownership and errors: as {@link LinuxCalls}. Progress: {@link #await} may wait as long as it is told to. Nothing is
 * allocated in a call. Source: the manual pages of section 2; {@code include/uapi/linux/eventpoll.h}.
 */
public final class EpollCalls extends CallState {
    /** {@code EPOLLIN}: there is something to read. */
    public static final int IN = 0x001;

    /** {@code EPOLLOUT}: a write would be taken. */
    public static final int OUT = 0x004;

    /** {@code EPOLLHUP}: the other end is gone; told whether asked for or not. */
    public static final int HUP = 0x010;

    /** {@code EPOLLET}: tell of a change once, and not as long as it holds. */
    public static final int EDGE = 1 << 31;

    /** How many descriptors one {@link #await} tells of. */
    public static final int MOST_EVENTS = 64;

    static final int EPOLL_CLOEXEC = 0x80000;
    static final int ADD = 1;
    static final int DELETE = 2;
    static final int MODIFY = 3;

    private int seen;

    private EpollCalls() {
        super(MOST_EVENTS * Abi.EPOLL_EVENT_BYTES);
    }

    /**
     * Opens an instance for the calling thread, or for a thread it will be handed to.
     *
     * @return the instance
     * @throws UnsupportedOperationException if this machine lacks the calls; the message is that of {@link #missing}
     */
    public static EpollCalls open() {
        require(missing());
        return new EpollCalls();
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
     * {@code epoll_create1(2)}: a set of descriptors, empty, closed on exec.
     *
     * @return its descriptor, which is the caller's to close, or a negative errno
     */
    public int create() {
        int refused = Refusal.errno("epoll_create1");
        if (refused != 0) {
            return -refused;
        }
        try {
            return result((int) Functions.CREATE.invokeExact(errno, EPOLL_CLOEXEC));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code epoll_ctl(2)}: takes a descriptor into the set.
     *
     * @param epoll the set
     * @param fd the descriptor
     * @param events {@link #IN} and so on
     * @param data what {@link #data} gives with its events
     * @return 0 or a negative errno
     */
    public int add(int epoll, int fd, int events, long data) {
        return control(epoll, ADD, fd, events, data);
    }

    /**
     * {@code epoll_ctl(2)}: changes what is asked of a descriptor in the set.
     *
     * @param epoll the set
     * @param fd the descriptor
     * @param events {@link #IN} and so on
     * @param data what {@link #data} gives with its events
     * @return 0 or a negative errno
     */
    public int modify(int epoll, int fd, int events, long data) {
        return control(epoll, MODIFY, fd, events, data);
    }

    /**
     * {@code epoll_ctl(2)}: takes a descriptor out of the set.
     *
     * @param epoll the set
     * @param fd the descriptor
     * @return 0 or a negative errno
     */
    public int delete(int epoll, int fd) {
        return control(epoll, DELETE, fd, 0, 0);
    }

    private int control(int epoll, int operation, int fd, int events, long data) {
        seen = 0;
        SharedWords.putInt(scratch, 0, events);
        scratch.set(JAVA_LONG_UNALIGNED, Abi.EPOLL_EVENT_DATA_OFFSET, data);
        try {
            return result((int) Functions.CONTROL.invokeExact(errno, epoll, operation, fd, scratch));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code epoll_wait(2)}: waits for events.
     *
     * @param epoll the set
     * @param timeoutMs milliseconds; 0 does not wait, a negative number waits without limit
     * @return how many descriptors have events, up to {@link #MOST_EVENTS}, or a negative errno
     */
    public int await(int epoll, int timeoutMs) {
        seen = 0;
        try {
            int n = result((int) Functions.WAIT.invokeExact(errno, epoll, scratch, MOST_EVENTS, timeoutMs));
            seen = Math.max(n, 0);
            return n;
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * The events of one descriptor that the last {@link #await} told of.
     *
     * @param i which, from 0
     * @return {@link #IN} and so on
     * @throws IndexOutOfBoundsException if it told of fewer
     */
    public int events(int i) {
        return SharedWords.getInt(scratch, place(i));
    }

    /**
     * What was given with a descriptor that the last {@link #await} told of.
     *
     * @param i which, from 0
     * @return the data of {@link #add} or {@link #modify}
     * @throws IndexOutOfBoundsException if it told of fewer
     */
    public long data(int i) {
        return scratch.get(JAVA_LONG_UNALIGNED, place(i) + Abi.EPOLL_EVENT_DATA_OFFSET);
    }

    private long place(int i) {
        if (i < 0 || i >= seen) {
            throw new IndexOutOfBoundsException("i=" + i + ": allowed 0 to " + (seen - 1));
        }
        return (long) i * Abi.EPOLL_EVENT_BYTES;
    }

    /** Looked at once: whether {@link Functions}, which is not touched here, can be loaded. */
    private static final class Availability {
        static final Optional<String> MISSING = CLibrary.missing("epoll_create1", "epoll_ctl", "epoll_wait");
    }

    private static final class Functions {
        static final MethodHandle CREATE =
                CLibrary.bind("epoll_create1", CLibrary.FIXED, FunctionDescriptor.of(JAVA_INT, JAVA_INT));
        static final MethodHandle CONTROL = CLibrary.bind(
                "epoll_ctl", CLibrary.FIXED, FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, ADDRESS));
        static final MethodHandle WAIT = CLibrary.bind(
                "epoll_wait", CLibrary.FIXED, FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT));

        private Functions() {}
    }
}
