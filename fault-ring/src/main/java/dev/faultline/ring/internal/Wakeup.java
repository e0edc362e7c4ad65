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
 * <p>Threads: {@link #announce}, {@link #cancel} and {@link #sleep} by one thread at a time; {@link #signal} by any. Progress:
 * wait-free but for {@link #sleep}. The one shared word, {@code asleep}, is written by both sides: a stale true costs an unpark
 * too many, a stale false is what the fences exclude. A subclass may sleep otherwise, see {@link EventWakeup}.
 */
public class Wakeup {
    private volatile boolean asleep;
    private volatile @Nullable Thread sleeper;

    /** A wake-up with nobody asleep. */
    public Wakeup() {}

    /** Says that the calling thread is going to sleep. It has to look again after this, then {@link #sleep} or {@link #cancel}. */
    public void announce() {
        sleeper = Thread.currentThread();
        asleep = true;
        SharedWords.fullFence();
    }

    /** Whether the sleeper has announced itself and nobody has woken it since; for those who watch. */
    public boolean isAsleep() {
        return asleep;
    }

    /** Takes the announcement back. */
    public void cancel() {
        asleep = false;
    }

    /**
     * Sleeps until signalled, or the time is over. May also return for no reason. An interrupt is kept for later: it neither
     * ends the sleep for good nor turns the next one into a spin.
     *
     * @param limitNs nanoseconds at most
     */
    public void sleep(long limitNs) {
        boolean interrupted = Thread.interrupted();
        if (asleep) {
            park(limitNs);
        }
        asleep = false;
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** Wakes the sleeper, if there is one, after the caller has published what the sleeper looks for. */
    public void signal() {
        SharedWords.fullFence();
        signalFenced();
    }

    /** {@link #signal}, where the caller itself has put a full fence between its news and this. */
    public void signalFenced() {
        if (asleep) {
            asleep = false;
            wake();
        }
    }

    /**
     * How the sleeper sleeps: a {@link #wake} before it or in it ends it.
     *
     * @param limitNs nanoseconds at most
     */
    protected void park(long limitNs) {
        LockSupport.parkNanos(this, limitNs);
    }

    /** Ends the sleep that was announced last. */
    protected void wake() {
        LockSupport.unpark(sleeper);
    }
}
