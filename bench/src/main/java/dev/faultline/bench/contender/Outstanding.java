package dev.faultline.bench.contender;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.PaddedBefore;

/**
 * The requester's table of round trips under way: matches each answer to the request it belongs to.
 *
 * <p>Threads: the requester's only. Every contender that carries requests pays for the same table.
 *
 * <p>Tags are slots of the table, reused first-in first-out.
 */
public abstract sealed class Outstanding extends PaddedBefore {

    private static final long FREE = 0;
    private static final int MOST = 1 << 24;

    /** Entries left unused at both ends of an array: 128 bytes or more. */
    private static final int SLACK = 32;

    private final long[] addresses;
    private final int[] freeTags;
    private final int most;
    private final int mask;
    private int opened;
    private int closed;

    private Outstanding(int most) {
        if (most < 1 || most > MOST) {
            throw new IllegalArgumentException("most=" + most + ": allowed 1 to " + MOST);
        }
        this.most = most;
        int slots = CacheLine.ceilingPowerOfTwo(most);
        addresses = new long[slots + 2 * SLACK];
        freeTags = new int[slots + 2 * SLACK];
        mask = slots - 1;
        for (int tag = 0; tag < slots; tag++) {
            freeTags[SLACK + tag] = tag;
        }
    }

    /**
     * An empty table.
     *
     * @param most the most round trips under way at once, 1 to 2^24
     * @return the table
     */
    public static Outstanding of(int most) {
        return new Alone(most);
    }

    /**
     * Whether one more may be opened.
     *
     * @return true while fewer than the most are under way
     */
    public boolean hasRoom() {
        return opened - closed < most;
    }

    /**
     * How many are under way.
     *
     * @return opened and not yet answered
     */
    public int underWay() {
        return opened - closed;
    }

    /**
     * How many were opened, modulo 2^32.
     *
     * @return a count whose differences are meaningful
     */
    public int openedSoFar() {
        return opened;
    }

    /**
     * How many were answered, modulo 2^32.
     *
     * @return a count whose differences are meaningful
     */
    public int answeredSoFar() {
        return closed;
    }

    /**
     * Opens a round trip; {@link #hasRoom} must hold.
     *
     * @param address the page asked for, never 0
     * @return the tag its answer must carry
     */
    public int open(long address) {
        int tag = freeTags[SLACK + (opened & mask)];
        addresses[SLACK + tag] = address;
        opened++;
        return tag;
    }

    /**
     * Closes a round trip.
     *
     * @param tag the tag the answer carried
     * @param isSuccess what the answer said
     * @throws IllegalStateException if nothing is under way with that tag, or the answer was no success: the carrier is broken
     */
    public void answered(long tag, boolean isSuccess) {
        int slot = (int) tag;
        if (slot < 0 || slot > mask || addresses[SLACK + slot] == FREE || !isSuccess) {
            throw refused(tag, isSuccess);
        }
        addresses[SLACK + slot] = FREE;
        freeTags[SLACK + (closed & mask)] = slot;
        closed++;
    }

    private static IllegalStateException refused(long tag, boolean isSuccess) {
        return new IllegalStateException("unexpected answer tag=" + tag + " success=" + isSuccess);
    }

    @SuppressWarnings("unused") // they are there to take room
    private static final class Alone extends Outstanding {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(int most) {
            super(most);
        }
    }
}
