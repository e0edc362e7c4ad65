package dev.faultline.ring;

/**
 * The reads posted on a lane and not completed yet, oldest first: runs of reads with the same user data.
 *
 * <p>Threads: the one inside the lane.
 */
final class PostedReads {
    private final int most;
    private final int mask;
    private final long[] userData;
    private final int[] count;
    private int head;
    private int tail;
    private int total;

    /**
     * No reads.
     *
     * @param most reads at once; each run has one at least, so there are never more runs than that
     */
    PostedReads(int most) {
        this.most = most;
        int runs = Integer.highestOneBit(most) << 1;
        this.mask = runs - 1;
        this.userData = new long[runs];
        this.count = new int[runs];
    }

    int total() {
        return total;
    }

    /** Adds reads; false if there would be too many, which the consumer's side excludes. */
    boolean add(long newUserData, int reads) {
        if (reads < 1 || reads > most - total) {
            return false;
        }
        int newest = tail - 1 & mask;
        if (total > 0 && userData[newest] == newUserData) {
            count[newest] += reads;
        } else {
            int run = tail++ & mask;
            userData[run] = newUserData;
            count[run] = reads;
        }
        total += reads;
        return true;
    }

    /** Takes the oldest read; there has to be one. */
    long take() {
        int run = head & mask;
        if (--count[run] == 0) {
            head++;
        }
        total--;
        return userData[run];
    }

    /** The user data of the oldest run; there has to be one. */
    long oldestUserData() {
        return userData[head & mask];
    }

    /** Takes the oldest run; there has to be one. */
    int takeRun() {
        int reads = count[head++ & mask];
        total -= reads;
        return reads;
    }

    /** Takes back all reads, or those with some user data; says how many. */
    int cancel(boolean all, long ofUserData) {
        int end = tail;
        int kept = head;
        int taken = 0;
        for (int i = head; i != end; i++) {
            int from = i & mask;
            if (all || userData[from] == ofUserData) {
                taken += count[from];
            } else {
                int to = kept++ & mask;
                userData[to] = userData[from];
                count[to] = count[from];
            }
        }
        tail = kept;
        total -= taken;
        return taken;
    }
}
