package dev.faultline.ring.internal;

import dev.faultline.ffm.SharedWords;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * The sleep protocol: one thread sleeps, others wake it, and no wake-up falls between its last look and its sleep.
 *
 * <pre>{@code
 *  sleeper                               waker
 *  announce(): asleep = true, full fence publish what it has to say
 *  look again; if there is something:    signal(): full fence
 *      cancel()                              if asleep: asleep = false, unpark
 *  else sleep()
 * }</pre>
 *
 * <p>Each fence stops the store before it from being overtaken by the load after it. Without the sleeper's, its second look
 * could be made before {@code asleep} is seen, without the waker's, {@code asleep} could be read before the news is seen; in
 * both cases the sleeper misses the news and the waker misses the sleeper.
 *
 * <p>Threads: {@link #announce}, {@link #cancel}, {@link #sleep} and {@link #takeRing} by one thread at a time; {@link
 * #signal} and {@link #ring} by any. Progress: wait-free but for {@link #sleep}. The two words: {@code asleep} is written by
 * both sides, a stale true costs an unpark too many, a stale false is what the fences exclude; {@code rung} is set by {@link
 * #ring} and cleared by the sleeper.
 */
public final class Wakeup {
    private volatile boolean asleep;
    private volatile boolean rung;
    private volatile @Nullable Thread sleeper;

    /** A wake-up with nobody asleep. */
    public Wakeup() {}

    /** Says that the calling thread is going to sleep. It has to look again after this, then {@link #sleep} or {@link #cancel}. */
    public void announce() {
        sleeper = Thread.currentThread();
        asleep = true;
        SharedWords.fullFence();
    }

    /** Takes the announcement back. */
    public void cancel() {
        asleep = false;
    }

    /**
     * Sleeps until signalled, or interrupted, or the time is over. May also return for no reason.
     *
     * @param limitNs nanoseconds at most
     */
    public void sleep(long limitNs) {
        if (asleep && !rung) {
            LockSupport.parkNanos(this, limitNs);
        }
        asleep = false;
    }

    /** Wakes the sleeper, if there is one, after the caller has published what the sleeper looks for. */
    public void signal() {
        SharedWords.fullFence();
        if (asleep) {
            wake();
        }
    }

    /** Wakes the sleeper, or makes its next wait end at once. */
    public void ring() {
        rung = true;
        SharedWords.fullFence();
        if (asleep) {
            wake();
        }
    }

    /**
     * Whether somebody rang since the last call.
     *
     * @return true once for any number of rings
     */
    public boolean takeRing() {
        if (rung) {
            rung = false;
            return true;
        }
        return false;
    }

    private void wake() {
        asleep = false;
        LockSupport.unpark(sleeper);
    }
}
