package dev.faultline.ring.internal;

import dev.faultline.ffm.CacheLine;

/**
 * Where the words of one ring are: two positions on cache lines of their own, then the entries.
 *
 * <pre>{@code
 *  0          128        256
 *  +----------+----------+---------+---------+-- ... --+
 *  | tail     | head     | entry 0 | entry 1 |         |   an entry is 64 bytes
 *  +----------+----------+---------+---------+-- ... --+
 * }</pre>
 *
 * <table>
 * <caption>The shared words</caption>
 * <tr><th>word</th><th>written by</th><th>read by</th><th>published by, pairs with</th><th>a stale value costs</th></tr>
 * <tr><td>tail</td><td>the writing end</td><td>the reading end</td><td>release in {@link EntryWriter#publish}, acquire in
 * {@link EntryReader#next}</td><td>an entry is seen later</td></tr>
 * <tr><td>head</td><td>the reading end</td><td>the writing end</td><td>release in {@link EntryReader#release}, acquire in
 * {@link EntryWriter#claim}</td><td>room is seen later</td></tr>
 * <tr><td>entry</td><td>the writing end, between claim and publish</td><td>the reading end, between next and
 * release</td><td>tail</td><td>not read before tail covers it</td></tr>
 * </table>
 *
 * <p>Positions count entries since the ring was made, in 64 bits, so they never wrap; {@code head <= tail <= head +
 * capacity} at any moment.
 */
public final class RingLayout {
    /** Size of an entry in bytes: one line. */
    public static final int ENTRY_BYTES = 64;

    /** {@code u64}: entries written. */
    public static final long TAIL_OFFSET = 0;

    /** {@code u64}: entries read and given back. */
    public static final long HEAD_OFFSET = CacheLine.BYTES;

    /** The first entry. */
    public static final long ENTRIES_OFFSET = 2L * CacheLine.BYTES;

    private RingLayout() {}

    /**
     * The size of a ring.
     *
     * @param capacity entries, a power of two
     * @return bytes, a multiple of {@link CacheLine#BYTES}
     * @throws IllegalArgumentException if {@code capacity} is no power of two
     */
    public static long bytes(int capacity) {
        if (!CacheLine.isPowerOfTwo(capacity)) {
            throw new IllegalArgumentException("capacity=" + capacity + ": allowed a power of two");
        }
        return CacheLine.alignUp(ENTRIES_OFFSET + (long) capacity * ENTRY_BYTES);
    }
}
