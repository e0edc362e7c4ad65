package dev.faultline.ring;

import java.util.concurrent.atomic.AtomicLongArray;

/**
 * The cookies a {@link DescriptorConsumer} has read and not seen answered: a hash table with linear probing.
 *
 * <p>Threads: the consumer's, its owner; {@link #claim} and {@link #outstanding} are for any. An entry stays where it is
 * until the table grows. Then each of its words is exchanged for {@link #MOVED} and goes into a larger array, which is shown
 * last: a claim meets either the entry, or {@code MOVED}, and then looks again. A claim and the owner's own answer decide by
 * compare-and-set which of them is the one.
 *
 * <pre>{@code
 *  63            40 39    32 31                0
 *  +---------------+--------+------------------+
 *  | message       | state  | cookie           |
 *  +---------------+--------+------------------+
 * }</pre>
 *
 * <p>Progress: wait-free for the owner, allocating only when it grows. The words are set with release and read with acquire:
 * see {@link DescriptorCounts}, which brackets the changes.
 */
final class OpenGroups {
    /** Read, and not handed over. */
    static final int HELD = 1;
    /** Handed over. */
    static final int GIVEN = 2;
    /** Answered by another thread; the answer is on its way to the owner. */
    static final int CLAIMED = 3;
    /** Answered; the answer has not been written. */
    static final int STAGED = 4;

    private static final int STATE_SHIFT = 32;
    private static final int STATE_MASK = 0xff;
    private static final int MESSAGE_SHIFT = 40;
    private static final int MESSAGE_MASK = 0xff_ffff;
    private static final long EMPTY = 0;
    private static final long REMOVED = 5L << STATE_SHIFT;
    private static final long MOVED = 6L << STATE_SHIFT;
    private static final int LEAST = 64;

    /** Replaced by the owner only; its volatile store shows a larger array once it is filled. */
    private volatile AtomicLongArray words;

    // The owner's own, by slot.
    private long[] userData;
    private boolean[] reposted;
    private int[] seen;

    private int mask;
    private int live;
    /** Slots that are not empty. */
    private int used;

    OpenGroups() {
        words = new AtomicLongArray(LEAST);
        userData = new long[LEAST];
        reposted = new boolean[LEAST];
        seen = new int[LEAST];
        mask = LEAST - 1;
    }

    private static int hash(int cookie) {
        int h = cookie * 0x9E37_79B9;
        return h ^ h >>> 15;
    }

    private static long word(int message, int state, int cookie) {
        return (long) message << MESSAGE_SHIFT | (long) state << STATE_SHIFT | (cookie & 0xffff_ffffL);
    }

    private static int stateOf(long word) {
        return (int) (word >>> STATE_SHIFT) & STATE_MASK;
    }

    private static boolean isLive(long word) {
        int state = stateOf(word);
        return state >= HELD && state <= STAGED;
    }

    // ---- the owner's ----

    /** Where a cookie is, or -1. */
    int find(int cookie) {
        AtomicLongArray all = words;
        for (int i = hash(cookie) & mask; ; i = i + 1 & mask) {
            long word = all.getPlain(i);
            if (word == EMPTY) {
                return -1;
            }
            if ((int) word == cookie && isLive(word)) {
                return i;
            }
        }
    }

    /** Whether that many more can be added before the table has to grow. */
    boolean hasRoom(int more) {
        return used + more <= (mask + 1) / 2;
    }

    /** Grows, or sheds what was removed, so that as many more can be added. */
    void makeRoom(int more) {
        int size = mask + 1;
        while (live + more > size / 4) {
            size *= 2;
        }
        AtomicLongArray old = words;
        AtomicLongArray fresh = new AtomicLongArray(size);
        long[] freshUserData = new long[size];
        boolean[] freshReposted = new boolean[size];
        int freshMask = size - 1;
        for (int from = 0; from < old.length(); from++) {
            long word = old.getAndSet(from, MOVED);
            if (isLive(word)) {
                int to = hash((int) word) & freshMask;
                while (fresh.getPlain(to) != EMPTY) {
                    to = to + 1 & freshMask;
                }
                fresh.setPlain(to, word);
                freshUserData[to] = userData[from];
                freshReposted[to] = reposted[from];
            }
        }
        userData = freshUserData;
        reposted = freshReposted;
        seen = new int[size];
        mask = freshMask;
        used = live;
        words = fresh;
    }

    /** Adds a group that is held; its cookie must not be there, and there must be room. */
    int add(int cookie, int message) {
        AtomicLongArray all = words;
        int i = hash(cookie) & mask;
        while (isLive(all.getPlain(i))) {
            i = i + 1 & mask;
        }
        if (all.getPlain(i) == EMPTY) {
            used++;
        }
        live++;
        reset(i, cookie, message);
        return i;
    }

    /** Makes an entry that of a new group with the same cookie. */
    void reset(int slot, int cookie, int message) {
        reposted[slot] = false;
        words.setRelease(slot, word(message & MESSAGE_MASK, HELD, cookie));
    }

    void remove(int slot) {
        AtomicLongArray all = words;
        live--;
        if (all.getPlain(slot + 1 & mask) != EMPTY) {
            all.setRelease(slot, REMOVED);
            return;
        }
        // Nothing that is looked for lies behind a run's last slot, so the run may end earlier.
        for (int i = slot; ; ) {
            all.setRelease(i, EMPTY);
            used--;
            i = i - 1 & mask;
            if (all.getPlain(i) != REMOVED) {
                return;
            }
        }
    }

    void give(int slot, long newUserData) {
        userData[slot] = newUserData;
        words.setRelease(slot, inState(words.getPlain(slot), GIVEN));
    }

    int state(int slot) {
        return stateOf(words.getAcquire(slot));
    }

    int cookie(int slot) {
        return (int) words.getPlain(slot);
    }

    /** Whether it was read with that message, and not handed over. */
    boolean isHeld(int slot, int message) {
        long word = words.getPlain(slot);
        return stateOf(word) == HELD && messageOf(word) == (message & MESSAGE_MASK);
    }

    long userData(int slot) {
        return userData[slot];
    }

    /** Whether the group's read may be posted again: once for each group. */
    boolean takeRead(int slot) {
        boolean first = !reposted[slot];
        reposted[slot] = true;
        return first;
    }

    /** Whether this is the second time that a message has a cookie. */
    boolean isRepeated(int slot, int message) {
        boolean repeated = seen[slot] == message;
        seen[slot] = message;
        return repeated;
    }

    /** Marks a given group as answered; false if another thread was first, or it is not given. */
    boolean stage(int slot) {
        long word = words.getAcquire(slot);
        return stateOf(word) == GIVEN && words.compareAndSet(slot, word, inState(word, STAGED));
    }

    /** Marks a claimed group as answered; false if its cookie names another group by now. */
    boolean stageClaim(int slot, int message) {
        long word = words.getPlain(slot);
        if (stateOf(word) != CLAIMED || messageOf(word) != message) {
            return false;
        }
        words.setRelease(slot, inState(word, STAGED));
        return true;
    }

    /** Forgets all. */
    void clear() {
        AtomicLongArray all = words;
        for (int i = 0; i <= mask; i++) {
            all.setRelease(i, EMPTY);
        }
        live = 0;
        used = 0;
    }

    private static long inState(long word, int state) {
        return (word & ~((long) STATE_MASK << STATE_SHIFT)) | (long) state << STATE_SHIFT;
    }

    // ---- any thread's ----

    /** Claims a given group for an answer by the calling thread; says the claimed entry, or 0. */
    long claim(int cookie) {
        for (; ; ) {
            AtomicLongArray all = words;
            int last = all.length() - 1;
            long word = EMPTY;
            int i = hash(cookie) & last;
            // A bound, for an owner that refills what this thread reads.
            for (int looks = 0; looks <= last; looks++, i = i + 1 & last) {
                word = all.getAcquire(i);
                if (word == EMPTY || word == MOVED || ((int) word == cookie && isLive(word))) {
                    break;
                }
            }
            if (word == MOVED) {
                Thread.onSpinWait();
                continue;
            }
            if ((int) word != cookie || stateOf(word) != GIVEN) {
                return 0;
            }
            long claimed = inState(word, CLAIMED);
            if (all.compareAndSet(i, word, claimed)) {
                return claimed;
            }
        }
    }

    static int messageOf(long word) {
        return (int) (word >>> MESSAGE_SHIFT);
    }

    /** How many there are, counted. */
    long outstanding() {
        AtomicLongArray all = words;
        long n = 0;
        for (int i = 0; i < all.length(); i++) {
            if (isLive(all.getAcquire(i))) {
                n++;
            }
        }
        return n;
    }
}
