package dev.faultline.examples.replay;

import dev.faultline.ring.Waiting;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Lets a handler through only while the devices rest, so that what it evicts depends on the trace and the seed and on
 * nothing else: accessed bits do not change under its eyes.
 *
 * <p>Threads: two, one on each side. Progress: both sides wait for each other; {@link #open} frees both for good. Nothing
 * is allocated.
 */
final class Turnstile {
    private static final int LOOKS_BEFORE_YIELD = 2_000;
    private static final int LOOKS_BEFORE_PARK = 5_000;
    private static final long NAP_NS = 1_000_000;

    private final Waiting waiting;

    /** Groups that may be handled; written by the stepping thread alone. */
    private volatile long permitted;
    /** Groups handled; written by the handler's thread alone. */
    private volatile long handled;

    private long done;

    private volatile @Nullable Thread handlerAsleep;
    private volatile @Nullable Thread stepperAsleep;

    Turnstile(Waiting waiting) {
        this.waiting = waiting;
    }

    /** Nobody is held back, from now on. */
    void open() {
        permitted = Long.MAX_VALUE;
        LockSupport.unpark(handlerAsleep);
        LockSupport.unpark(stepperAsleep);
    }

    /** Stepping thread: lets so many groups through and waits until they have been handled. */
    void let(int groups) {
        long until = permitted + groups;
        if (until < 0) {
            return;
        }
        permitted = until;
        LockSupport.unpark(handlerAsleep);
        for (int looks = 0; handled < until && permitted == until; looks++) {
            if (mayPark(looks)) {
                stepperAsleep = Thread.currentThread();
                // The flag is volatile, and so is what it announces: one of the two threads sees the other's.
                if (handled < until && permitted == until) {
                    LockSupport.parkNanos(this, NAP_NS);
                }
                stepperAsleep = null;
            }
        }
    }

    /** Handler: waits until it may go through. */
    void enter() {
        for (int looks = 0; handled >= permitted; looks++) {
            if (mayPark(looks)) {
                handlerAsleep = Thread.currentThread();
                if (handled >= permitted) {
                    LockSupport.parkNanos(this, NAP_NS);
                }
                handlerAsleep = null;
            }
        }
    }

    /** Handler: is through. */
    void leave() {
        done++;
        handled = done;
        LockSupport.unpark(stepperAsleep);
    }

    private boolean mayPark(int looks) {
        if (waiting == Waiting.YIELD || looks > LOOKS_BEFORE_YIELD) {
            Pause.letOthersRun();
        } else {
            Thread.onSpinWait();
        }
        return waiting.sleeps() && looks > LOOKS_BEFORE_PARK;
    }
}
