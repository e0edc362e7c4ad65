package dev.faultline.examples.replay;

import java.util.Arrays;

/**
 * Which page gives up its frame: CLOCK. The hand goes round the resident pages; one that was used since the hand last
 * came by is passed over once, the first that was not is the victim, and the newcomer takes its place.
 *
 * <p>Threads: one. Memory: fixed by the number of frames; nothing allocates after construction. Keys are 0 or more.
 * With the same pages and the same accessed bits the choice is the same.
 */
final class ClockReplacement {
    /** No page may go: every one of them was refused in a whole round. */
    static final long NO_VICTIM = -1;

    private static final long FREE = -1;

    /** What CLOCK asks of the memory it serves. */
    interface Residents {
        /** Whether the page was used since this was last asked. */
        boolean usedSince(long key);

        /** Takes the page's frame away; false if it cannot go now. */
        boolean evict(long key);
    }

    private final long[] ring;
    private final PageIndex index;
    private int hand;

    ClockReplacement(int frames) {
        ring = new long[frames];
        Arrays.fill(ring, FREE);
        index = new PageIndex(frames);
    }

    int size() {
        return index.size();
    }

    boolean isFull() {
        return index.size() == ring.length;
    }

    boolean contains(long key) {
        return index.get(key) != PageIndex.NONE;
    }

    /** Adds a page that is not resident; there must be room. */
    void add(long key) {
        while (ring[hand] != FREE) {
            advance();
        }
        ring[hand] = key;
        index.add(key, hand);
        advance();
    }

    /**
     * Evicts one page; there must be one.
     *
     * @return its key, or {@link #NO_VICTIM}
     */
    long evictOne(Residents residents) {
        // One round may only clear the bits, the next finds a victim; where devices set them again meanwhile, the third
        // takes what
        // is in use too. What that refuses, nobody gives.
        for (int step = 0; step < 3 * ring.length + 1; step++, advance()) {
            long key = ring[hand];
            boolean spared = step <= 2 * ring.length && key != FREE && residents.usedSince(key);
            if (key != FREE && !spared && residents.evict(key)) {
                ring[hand] = FREE;
                int unused = index.remove(key);
                assert unused == hand : "key=" + key + " was indexed elsewhere";
                return key;
            }
        }
        return NO_VICTIM;
    }

    private void advance() {
        hand = hand + 1 == ring.length ? 0 : hand + 1;
    }
}
