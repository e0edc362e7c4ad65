package dev.faultline.examples.replay;

import dev.faultline.ring.Waiting;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
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
    /** Once in so many looks, or naps, the stepping thread sees whether there is anything to wait for. */
    private static final int LOOKS_AT_GROUPS = 64;

    private final Waiting waiting;

    /** Groups that may be handled; written by the stepping thread, and by who opens it. */
    private final AtomicLong permitted = new AtomicLong();
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
        permitted.set(Long.MAX_VALUE);
        LockSupport.unpark(handlerAsleep);
        LockSupport.unpark(stepperAsleep);
    }

    /**
     * Stepping thread: lets so many groups through and waits until they have been handled.
     *
     * @param answered whether no group is open: one whose deadline passed before it was delivered is never handled
     */
    void let(int groups, BooleanSupplier answered) {
        long before = permitted.get();
        // More may have been handled than permitted, where this gave up waiting for one that came after all.
        long until = Math.max(before, handled) + groups;
        if (until < 0 || !permitted.compareAndSet(before, until)) {
            return;
        }
        LockSupport.unpark(handlerAsleep);
        for (int looks = 0; handled < until && permitted.get() == until; looks++) {
            if (mayPark(looks)) {
                stepperAsleep = Thread.currentThread();
                // The flag is volatile, and so is what it announces: one of the two threads sees the other's.
                if (handled < until && permitted.get() == until) {
                    LockSupport.parkNanos(this, NAP_NS);
                }
                stepperAsleep = null;
            }
            if (looks > LOOKS_BEFORE_PARK && looks % LOOKS_AT_GROUPS == 0 && answered.getAsBoolean()) {
                // Unless it was opened meanwhile.
                boolean _ = permitted.compareAndSet(until, handled);
                return;
            }
        }
    }

    /** Handler: waits until it may go through. */
    void enter() {
        for (int looks = 0; handled >= permitted.get(); looks++) {
            if (mayPark(looks)) {
                handlerAsleep = Thread.currentThread();
                if (handled >= permitted.get()) {
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
