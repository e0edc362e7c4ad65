package dev.faultline.ring;

import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Where two actors meet: one opens what they meet over, both set off together, the last one ends it. Queues are opened here and not
 * where jcstress makes its states, for it makes states by the thousand, and some that nobody ever runs.
 */
final class Meeting<T> {
    private static final long LONGEST_WAIT_NS = 20_000_000_000L;
    private static final int LOOKS_PER_CLOCK = 1_000;
    private static final int MOST_HEAD_START = 60;

    private volatile @Nullable T opened;
    private volatile boolean met;
    private final AtomicInteger over = new AtomicInteger();

    /** Opens, and waits for the other actor. */
    T open(Supplier<T> opener) {
        T mine = opener.get();
        opened = mine;
        long start = System.nanoTime();
        for (int looks = 0; !met; looks++) {
            pause(looks, start);
        }
        headStart(MOST_HEAD_START);
        return mine;
    }

    /** Waits until the other actor has opened. */
    T join() {
        T theirs;
        long start = System.nanoTime();
        for (int looks = 0; (theirs = opened) == null; looks++) {
            pause(looks, start);
        }
        met = true;
        headStart(MOST_HEAD_START);
        return theirs;
    }

    private static void pause(int looks, long start) {
        if (looks % LOOKS_PER_CLOCK < LOOKS_PER_CLOCK - 1) {
            Thread.onSpinWait();
            return;
        }
        if (System.nanoTime() - start > LONGEST_WAIT_NS) {
            throw new IllegalStateException("the other actor does not come");
        }
        Thread.yield();
    }

    /** Shifts the two against each other, so that every step of one meets every step of the other. */
    static void headStart(int mostSpins) {
        for (int i = ThreadLocalRandom.current().nextInt(mostSpins); i > 0; i--) {
            Thread.onSpinWait();
        }
    }

    /** Whether the calling actor is the last to be done, and sees all that was done. */
    boolean isLast() {
        return over.incrementAndGet() == 2;
    }
}
