package dev.faultline.bench.contender;

/**
 * The requester's table of round trips under way: matches each answer to the request it belongs to.
 *
 * <p>Threads: the requester's only. Every contender that carries requests pays for the same table.
 *
 * <p>Tags are slots of the table, reused first-in first-out.
 */
public abstract sealed class Outstanding extends Apart {

    private static final long FREE = 0;

    /** Entries left unused at both ends of an array: 128 bytes or more. */
    private static final int SLACK = 32;

    private final long[] addresses;
    private final int[] freeTags;
    private final int mask;
    private int opened;
    private int closed;

    private Outstanding(int window) {
        if (window <= 0 || Integer.bitCount(window) != 1) {
            throw new IllegalArgumentException("window=" + window + " is not a power of two");
        }
        addresses = new long[window + 2 * SLACK];
        freeTags = new int[window + 2 * SLACK];
        mask = window - 1;
        for (int tag = 0; tag < window; tag++) {
            freeTags[SLACK + tag] = tag;
        }
    }

    /**
     * An empty table.
     *
     * @param window the most round trips under way at once, a power of two
     * @return the table
     */
    public static Outstanding of(int window) {
        return new Alone(window);
    }

    /**
     * Whether one more may be opened.
     *
     * @return true while fewer than the window are under way
     */
    public boolean hasRoom() {
        return opened - closed <= mask;
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

        Alone(int window) {
            super(window);
        }
    }
}
