package dev.faultline.ring.internal;

import dev.faultline.ffm.CacheLine;

/**
 * How the two ends of a ring tell each other what is new: by a stamp in the entry itself, so that a single entry costs one cache
 * line on its way, and a batch no more lines than it fills.
 *
 * <pre>{@code
 *  completion ring: entries of 64 bytes              submission ring: words of 8 bytes
 *  +--------------------+-----------------------+    +--------------------+
 *  | stamp: low 48, lap | 56 bytes              |    | low 48, lap        |
 *  +--------------------+-----------------------+    +--------------------+
 * }</pre>
 *
 * <p>The upper 16 bits of a stamp count the laps of the writing end, from 1; memory that was never written holds lap 0. An entry
 * is there when its stamp has the lap the reading end has come to. The lower 48 bits are the user's, and never 0.
 *
 * <p>A batch is published by its first stamp, which the writing end holds back until all others are in place. So the reading end
 * looks at one line only, which nobody writes to until there is something, and finds all of a batch at once.
 *
 * <table>
 * <caption>The shared words</caption>
 * <tr><th>word</th><th>written by</th><th>read by</th><th>published by, pairs with</th><th>a stale value costs</th></tr>
 * <tr><td>stamp, or word</td><td>the writing end</td><td>the reading end</td><td>release in {@link EntryWriter} and {@link
 * WordWriter}, acquire in {@link EntryReader#next} and {@link WordReader#next}</td><td>an entry is seen later</td></tr>
 * <tr><td>the rest of an entry</td><td>the writing end, before the stamp</td><td>the reading end, after the stamp</td><td>the
 * stamp</td><td>not read before the stamp says so</td></tr>
 * <tr><td>taken</td><td>the reading end of the submission ring</td><td>its writing end</td><td>release in {@link
 * WordReader#release}, acquire in {@link WordWriter#hasRoom}</td><td>room is seen later</td></tr>
 * </table>
 *
 * <p>The completion ring has no such word: a completion is written only for a read that was posted, or an operation that was
 * submitted, and who does either keeps an entry free for it.
 */
public final class Stamps {
    /** Size of an entry in bytes: one line. */
    public static final int ENTRY_BYTES = 64;

    /** Size of a word in bytes. */
    public static final int WORD_BYTES = 8;

    /** The bits of a stamp that are the user's. */
    public static final long LOW_MASK = (1L << 48) - 1;

    static final int LAP_SHIFT = 48;
    static final long FIRST_LAP = 1L << LAP_SHIFT;

    private Stamps() {}

    /** The lap after one, in place; 65,536 of them make a circle, of which two never meet in one ring. */
    static long nextLap(long lap) {
        return lap + FIRST_LAP;
    }

    static int checkCapacity(int capacity, int least, long bytesEach, long base, long memoryBytes) {
        if (capacity < least || base < 0 || base % CacheLine.BYTES != 0 || base + capacity * bytesEach > memoryBytes) {
            throw new IllegalArgumentException("capacity=" + capacity + ", base=" + base
                    + ": allowed " + least + " or more, and what lies, aligned to " + CacheLine.BYTES + ", inside "
                    + memoryBytes + " bytes");
        }
        return capacity;
    }
}
