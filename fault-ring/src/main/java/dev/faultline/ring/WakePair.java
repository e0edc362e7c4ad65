package dev.faultline.ring;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Wakes a thread that sleeps in {@code poll(2)}: a socket pair that the sleeper watches and a waker writes to.
 *
 * <p>The protocol is that of {@link dev.faultline.ring.internal.Wakeup}: the sleeper announces, looks again and sleeps; a waker
 * publishes its news and signals. Both have a full fence between their store and their load, so that one of them sees the
 * other. An announcement is answered by one message at most, so the socket never fills.
 *
 * <p>Threads: {@link #announce}, {@link #awake} and {@link #close} by the sleeper's; {@link #signal} by any, which takes a lock
 * only if there is somebody to wake.
 */
final class WakePair implements AutoCloseable {
    private static final int BYTES = 8;

    private final LinuxCalls calls;
    private final Region memory;
    private final int watched;
    private final int written;

    /** Orders wakers, which share the calls, and keeps them off descriptors that are closed. */
    private final ReentrantLock waking = new ReentrantLock();

    private boolean closed;
    private volatile boolean asleep;

    private WakePair(LinuxCalls calls, int[] fds) {
        this.calls = calls;
        this.watched = fds[0];
        this.written = fds[1];
        this.memory = Region.allocate(BYTES);
    }

    static WakePair open() {
        LinuxCalls calls = LinuxCalls.open();
        int[] fds = new int[2];
        int error = calls.socketpair(LinuxCalls.SOCK_SEQPACKET, fds);
        if (error < 0) {
            calls.close();
            throw new IllegalStateException("socketpair: " + Errno.name(-error));
        }
        return new WakePair(calls, fds);
    }

    /** What the sleeper watches. */
    int descriptor() {
        return watched;
    }

    void announce() {
        asleep = true;
        SharedWords.fullFence();
    }

    /**
     * The sleeper is awake, or has not slept.
     *
     * @param rung whether the descriptor can be read
     */
    void awake(boolean rung) {
        asleep = false;
        if (rung) {
            waking.lock();
            try {
                long _ = calls.read(watched, memory.segment(), BYTES);
            } finally {
                waking.unlock();
            }
        }
    }

    void signal() {
        SharedWords.fullFence();
        if (asleep) {
            waking.lock();
            try {
                if (asleep && !closed) {
                    asleep = false;
                    long _ = calls.write(written, memory.segment(), BYTES);
                }
            } finally {
                waking.unlock();
            }
        }
    }

    @Override
    public void close() {
        waking.lock();
        try {
            if (!closed) {
                closed = true;
                int _ = calls.close(watched);
                int _ = calls.close(written);
                memory.close();
                calls.close();
            }
        } finally {
            waking.unlock();
        }
    }
}
