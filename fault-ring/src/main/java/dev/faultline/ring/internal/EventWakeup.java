package dev.faultline.ring.internal;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A {@link Wakeup} whose sleeper waits for an eventfd: alone, or wherever else descriptors are waited for. The protocol is the
 * same; to unpark is to write, and what is written before the sleep ends it.
 *
 * <p>Threads: as {@link Wakeup}; {@link #clear} by the sleeper's, {@link #close} by any. A waker takes a lock, but only if there
 * is somebody to wake. Ownership: whoever opens closes; a sleeper that is in there then is woken, and the descriptor goes when
 * it is out. Units: nanoseconds, of which a sleep takes whole milliseconds.
 */
public final class EventWakeup extends Wakeup implements AutoCloseable {
    private static final int BYTES = 8;
    private static final int ONE = 0;
    private static final int TAKEN = BYTES;

    private final int fd;
    private final LinuxCalls sleepersCalls = LinuxCalls.open();

    /** Guards what follows, and keeps everybody off a descriptor that is closed. */
    private final ReentrantLock using = new ReentrantLock();

    private final LinuxCalls calls;
    private final Region memory = Region.allocate(2 * BYTES);
    private boolean parked;
    private boolean closed;

    private EventWakeup(LinuxCalls calls, int fd) {
        this.calls = calls;
        this.fd = fd;
        SharedWords.putLong(memory.segment(), ONE, 1);
    }

    /**
     * Opens an eventfd.
     *
     * @return the wake-up, with nobody asleep
     * @throws UnsupportedOperationException if this machine lacks the calls, see {@link LinuxCalls#missing}
     * @throws IllegalStateException if the kernel refuses, with the errno's name
     */
    public static EventWakeup open() {
        LinuxCalls calls = LinuxCalls.open();
        int fd = calls.eventfd(0, true);
        if (fd < 0) {
            calls.close();
            throw new IllegalStateException("eventfd: " + Errno.name(-fd));
        }
        return new EventWakeup(calls, fd);
    }

    /**
     * What the sleeper waits for: can be read once it has been woken, until {@link #clear}.
     *
     * @return the descriptor, which nobody else reads, writes or closes
     * @throws IllegalStateException if it is closed
     */
    public int descriptor() {
        using.lock();
        try {
            if (closed) {
                throw new IllegalStateException("the eventfd is closed: allowed while its queue is open");
            }
            return fd;
        } finally {
            using.unlock();
        }
    }

    /** The sleeper is awake, by this or by something else: takes the announcement back, and the wake-up if there was one. */
    public void clear() {
        cancel();
        using.lock();
        try {
            take();
        } finally {
            using.unlock();
        }
    }

    private void take() {
        if (!closed) {
            // Refused where nothing was written.
            long _ = calls.read(fd, memory.segment().asSlice(TAKEN), BYTES);
        }
    }

    @Override
    protected void park(long limitNs) {
        using.lock();
        try {
            if (closed) {
                return;
            }
            parked = true;
        } finally {
            using.unlock();
        }
        int found = sleepersCalls.poll(fd, LinuxCalls.POLLIN, milliseconds(limitNs));
        using.lock();
        try {
            parked = false;
            if (found > 0) {
                take();
            }
            if (closed) {
                free();
            }
        } finally {
            using.unlock();
        }
    }

    @Override
    protected void wake() {
        using.lock();
        try {
            write();
        } finally {
            using.unlock();
        }
    }

    private void write() {
        if (!closed) {
            long _ = calls.write(fd, memory.segment(), BYTES);
        }
    }

    /** Closes the descriptor. Calling it again does nothing. */
    @Override
    public void close() {
        using.lock();
        try {
            if (!closed) {
                write();
                closed = true;
                if (!parked) {
                    free();
                }
            }
        } finally {
            using.unlock();
        }
    }

    private void free() {
        int _ = calls.close(fd);
        memory.close();
        calls.close();
        sleepersCalls.close();
    }

    /**
     * The time limit of a system call.
     *
     * @param limitNs nanoseconds, 1 or more
     * @return milliseconds, not fewer
     */
    public static int milliseconds(long limitNs) {
        return (int) Math.min((limitNs - 1) / 1_000_000 + 1, Integer.MAX_VALUE);
    }
}
