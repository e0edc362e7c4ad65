package dev.faultline.iommu.table;

import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.locks.LockSupport;

/**
 * Who stands in a table to change it, and when all who stood there have left: a table taken out is used for something else only
 * then. Walks for devices are not counted here; their threads are waited for by whoever invalidates.
 *
 * <p>Threads: any. Progress: {@link #enter} and {@link #leave} wait-free; {@link #awaitEarlier} waits for visits, which are
 * short, and is not called from inside one.
 *
 * <p>Counts for two phases, each in stripes so that mappers seldom share a line. A visitor counts itself into the phase it reads.
 * One who waits turns the phase and waits for the old one's count to become 0, twice: a visitor may read the phase, and count
 * itself only after the turn and the look. If so it began to read tables after that look, and sees what was taken out. The
 * second turn waits for those who did the same with the other phase, at an earlier turn. Counting is a full fence, so no read of
 * a table moves before it.
 */
final class Visits {
    private static final int STRIPES = 8;
    private static final int PHASES = 2;
    /** Longs from one count to the next, and before the first: no two share a line. */
    private static final int APART = 16;

    private static final int SPINS = 200;
    private static final int YIELDS = 1000;
    private static final long NAP_NS = 50_000;

    private final AtomicLongArray counts = new AtomicLongArray((STRIPES * PHASES + 2) * APART);
    private volatile int phase;

    /** Begins a visit. */
    int enter() {
        int stripe = (int) Thread.currentThread().threadId() & (STRIPES - 1);
        int at = at(stripe, phase & 1);
        counts.getAndIncrement(at);
        return at;
    }

    /** Ends it. */
    void leave(int entered) {
        counts.getAndDecrement(entered);
    }

    /** Waits until every visit that began before is over. */
    synchronized void awaitEarlier() {
        for (int turn = 0; turn < PHASES; turn++) {
            int old = phase & 1;
            phase = phase + 1;
            for (int stripe = 0; stripe < STRIPES; stripe++) {
                for (int i = 0; counts.get(at(stripe, old)) != 0; i++) {
                    pause(i);
                }
            }
        }
    }

    @SuppressWarnings("ThreadPriorityCheck") // only a hint: progress is made by whoever is waited for
    static void pause(int turn) {
        if (turn < SPINS) {
            Thread.onSpinWait();
        } else if (turn < YIELDS) {
            Thread.yield();
        } else {
            LockSupport.parkNanos(NAP_NS);
        }
    }

    private static int at(int stripe, int which) {
        return (stripe * PHASES + which + 1) * APART;
    }
}
