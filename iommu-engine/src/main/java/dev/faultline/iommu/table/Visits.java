package dev.faultline.iommu.table;

import dev.faultline.ffm.SharedWords;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.locks.LockSupport;

/**
 * Who stands in a table to change it, and when all who stood there have left: a table taken out is used for something else only
 * then. Walks for devices are not counted here; their threads are waited for by whoever invalidates.
 *
 * <p>Threads: any. Progress: {@link #enter} is lock-free as long as fewer threads than slots are inside, of which there are several for
 * each processor; {@link #leave} is wait-free; {@link #awaitEarlier} waits for visits, which are short, and is not called from inside one.
 *
 * <p>A visitor has a slot to itself, the same one each time if nobody else took it, so that threads seldom share a line. Its word is odd
 * while somebody is inside, and grows with each visit:
 *
 * <pre>
 *  visitor                                   who waits
 *  even to odd, by compare-and-set           take the table out of the one above
 *  read tables, change items                 full fence
 *  odd to even, release                      load each word: odd, then wait until it is another
 * </pre>
 *
 * <p>The compare-and-set is a full fence: no read of a table moves before it. So either the visit is seen here, or it began to read
 * after the table was taken out. The release keeps the visitor's stores to items before the word that says it has left.
 */
final class Visits {
    private static final int LEAST_SLOTS = 8;
    private static final int MOST_SLOTS = 128;
    private static final int SLOTS_PER_PROCESSOR = 4;
    /** Longs from one slot to the next, and before the first: no two share a line. */
    private static final int APART = 16;
    /** Of a slot: pages that its visitors have mapped, and count here. Written by who is inside, read by anybody. */
    private static final int MAPPED = 1;

    private static final int SPINS = 200;
    private static final int YIELDS = 1000;
    private static final long NAP_NS = 50_000;

    private final int slots;
    private final AtomicLongArray words;

    /** Nobody may enter any more. Written once; read by a visitor after it has taken a slot, so that who shuts sees it or is seen. */
    private volatile boolean shut;

    Visits() {
        int wanted = SLOTS_PER_PROCESSOR * Runtime.getRuntime().availableProcessors();
        slots = Integer.highestOneBit(Math.clamp(wanted, LEAST_SLOTS, MOST_SLOTS));
        words = new AtomicLongArray((slots + 2) * APART);
    }

    /** Begins a visit. Also after {@link #shut}: see {@link #isShut}. */
    int enter() {
        int first = (int) Thread.currentThread().threadId();
        for (int turn = 0; ; turn++) {
            int at = at(first + turn & slots - 1);
            long now = words.getOpaque(at);
            if ((now & 1) == 0 && words.compareAndSet(at, now, now + 1)) {
                return at;
            }
            if (turn >= slots) {
                pause(turn - slots);
            }
        }
    }

    /** Ends it. */
    void leave(int entered) {
        words.setRelease(entered, words.getPlain(entered) + 1);
    }

    /** From inside: one page more is mapped. */
    void countMapped(int entered) {
        words.setOpaque(entered + MAPPED, words.getPlain(entered + MAPPED) + 1);
    }

    /** How many pages were counted; exact while nobody counts. */
    long mapped() {
        long sum = 0;
        for (int slot = 0; slot < slots; slot++) {
            sum += words.getOpaque(at(slot) + MAPPED);
        }
        return sum;
    }

    /** Waits until every visit that began before is over. */
    void awaitEarlier() {
        SharedWords.fullFence();
        for (int slot = 0; slot < slots; slot++) {
            long seen = words.getAcquire(at(slot));
            for (int i = 0; (seen & 1) != 0 && words.getAcquire(at(slot)) == seen; i++) {
                pause(i);
            }
        }
    }

    /** Who enters from now on sees that it may change nothing; waits until everybody else has left. */
    void shut() {
        shut = true;
        awaitEarlier();
    }

    /** From inside: whether nothing may be changed any more. */
    boolean isShut() {
        return shut;
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

    private static int at(int slot) {
        return (slot + 1) * APART;
    }
}
