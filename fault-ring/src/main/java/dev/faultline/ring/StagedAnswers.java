package dev.faultline.ring;

import dev.faultline.ffm.PageResponseLayout;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * The answers a {@link DescriptorConsumer} has been given and has not written, oldest first.
 *
 * <p>Threads: the consumer's. Progress: wait-free; allocates only when there are more than ever before.
 */
final class StagedAnswers {
    /** The cookie of an answer that was taken back. */
    static final int VOID = 0;

    /** Code over cookie: a ring whose size is a power of two. */
    private long[] answers;

    private boolean voids;
    private int head;
    private int count;

    /**
     * No answers.
     *
     * @param room a power of two
     */
    StagedAnswers(int room) {
        answers = new long[room];
    }

    static long answer(int cookie, int code) {
        return (long) code << 32 | (cookie & 0xffff_ffffL);
    }

    int count() {
        return count;
    }

    boolean isEmpty() {
        return count == 0;
    }

    private int place(int i) {
        return head + i & answers.length - 1;
    }

    void add(long answer) {
        if (count == answers.length) {
            long[] larger = new long[2 * count];
            for (int i = 0; i < count; i++) {
                larger[i] = answers[place(i)];
            }
            answers = larger;
            head = 0;
        }
        answers[place(count++)] = answer;
    }

    int cookie(int i) {
        return (int) answers[place(i)];
    }

    /**
     * Takes an answer back, because its cookie names another group by now.
     *
     * @param stay how many of the oldest are being written, and keep their places: there it is {@link #VOID}
     */
    void remove(int cookie, int stay) {
        int kept = 0;
        for (int i = 0; i < count; i++) {
            long answer = answers[place(i)];
            if ((int) answer != cookie) {
                answers[place(kept++)] = answer;
            } else if (i < stay) {
                answers[place(kept++)] = VOID;
                voids = true;
            }
        }
        count = kept;
    }

    /** None is being written any more: what was taken back meanwhile goes. */
    void dropVoid() {
        if (voids) {
            voids = false;
            remove(VOID, 0);
        }
    }

    /** Copies the oldest, as they are written. */
    void copyTo(MemorySegment to, int n) {
        for (int i = 0; i < n; i++) {
            SharedWords.putLong(to, (long) i * PageResponseLayout.SIZE, answers[place(i)]);
        }
    }

    /** Forgets the oldest. */
    void drop(int n) {
        head = place(n);
        count -= n;
    }

    void clear() {
        count = 0;
    }
}
