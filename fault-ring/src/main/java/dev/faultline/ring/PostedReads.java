package dev.faultline.ring;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.PaddedBefore;

/**
 * The reads posted on a lane and not completed yet, oldest first: runs of reads with the same user data.
 *
 * <p>Threads: the one inside the lane.
 */
abstract class PostedReads extends PaddedBefore {
    /** Elements before the first run and after the last that keep them off their neighbours' lines. */
    private static final int SLACK = CacheLine.BYTES / Integer.BYTES;

    private final int most;
    private final int mask;
    private final long[] userData;
    private final int[] count;
    private int head;
    private int tail;

    private PostedReads(int most) {
        this.most = most;
        int runs = Integer.highestOneBit(most) << 1;
        this.mask = runs - 1;
        this.userData = new long[runs + 2 * SLACK];
        this.count = new int[runs + 2 * SLACK];
    }

    /**
     * No reads.
     *
     * @param most reads at once; each run has one at least, so there are never more runs than that
     */
    static PostedReads none(int most) {
        return new Alone(most);
    }

    private int run(int position) {
        return SLACK + (position & mask);
    }

    boolean isEmpty() {
        return head == tail;
    }

    /** How many there are, counted run by run. */
    int total() {
        int total = 0;
        for (int i = head; i != tail; i++) {
            total += count[run(i)];
        }
        return total;
    }

    /** Adds reads; false if there would be more of them, or more runs, than the consumer's side can have posted. */
    boolean add(long newUserData, int reads) {
        int newest = run(tail - 1);
        boolean joins = head != tail && userData[newest] == newUserData;
        if (reads < 1 || reads > (joins ? most - count[newest] : most) || (!joins && tail - head > mask)) {
            return false;
        }
        if (joins) {
            count[newest] += reads;
        } else {
            int run = run(tail++);
            userData[run] = newUserData;
            count[run] = reads;
        }
        return true;
    }

    /** Takes the oldest read; there has to be one. */
    long take() {
        int run = run(head);
        if (--count[run] == 0) {
            head++;
        }
        return userData[run];
    }

    /** The user data of the oldest run; there has to be one. */
    long oldestUserData() {
        return userData[run(head)];
    }

    /** Takes the oldest run; there has to be one. */
    int takeRun() {
        return count[run(head++)];
    }

    /** Takes back all reads, or those with some user data; says how many. */
    int cancel(boolean all, long ofUserData) {
        int end = tail;
        int kept = head;
        int taken = 0;
        for (int i = head; i != end; i++) {
            int from = run(i);
            if (all || userData[from] == ofUserData) {
                taken += count[from];
            } else {
                int to = run(kept++);
                userData[to] = userData[from];
                count[to] = count[from];
            }
        }
        tail = kept;
        return taken;
    }

    /** Keeps the fields above off the lines of what comes after them. */
    @SuppressWarnings("unused")
    private static final class Alone extends PostedReads {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(int most) {
            super(most);
        }
    }
}
