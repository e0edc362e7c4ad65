package dev.faultline.ring.internal;

import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * The writing end of a ring of 64-byte entries, see {@link Stamps}.
 *
 * <p>Threads: one at a time; a change of thread needs a happens-before edge. Ownership: the memory is the caller's, who also sees
 * to it that the reading end is never lapped. Progress: wait-free, and nothing the other end writes is read.
 */
public abstract class EntryWriter extends PaddedBefore {
    private final MemorySegment memory;
    private final long base;
    private final int capacity;
    private int index;
    private long lap = Stamps.FIRST_LAP;

    /** The index up to which entries are published: what is staged begins there. */
    private int published;

    /** The stamp that publishes the batch, while there is one. */
    private long heldStamp;

    private EntryWriter(MemorySegment memory, long base, int capacity) {
        this.memory = memory;
        this.base = base;
        this.capacity = Stamps.checkCapacity(capacity, 2, Stamps.ENTRY_BYTES, base, memory.byteSize());
    }

    /**
     * The writing end of a ring that holds zeros.
     *
     * @param memory where the ring is
     * @param base its first byte
     * @param capacity entries, 2 or more
     * @return the end
     * @throws IllegalArgumentException if the ring does not lie inside the memory
     */
    public static EntryWriter of(MemorySegment memory, long base, int capacity) {
        return new Alone(memory, base, capacity);
    }

    /**
     * The next entry to write. What it holds from its last use is scrap.
     *
     * @return where it is, in bytes from the start of the memory; its first 8 bytes are the stamp's
     */
    public long next() {
        return base + (long) index * Stamps.ENTRY_BYTES;
    }

    /** The index of the next entry in the ring, 0 to capacity - 1. */
    public int index() {
        return index;
    }

    /**
     * Stages the next entry, whose bytes but for the stamp are written. Fewer are staged at once than the ring
     * holds.
     *
     * @param low the user's bits of the stamp, not 0
     */
    public void stage(long low) {
        long entry = next();
        long stamp = lap | low;
        if (index == published) {
            heldStamp = stamp;
        } else {
            // Release, as it is read by itself once the first of the batch has been seen.
            SharedWords.setLongRelease(memory, entry, stamp);
        }
        if (++index == capacity) {
            index = 0;
            lap = Stamps.nextLap(lap);
        }
    }

    /** How many entries are staged and not published. */
    public int staged() {
        int staged = index - published;
        return staged < 0 ? staged + capacity : staged;
    }

    /**
     * Lets the other end see every entry staged.
     *
     * @return whether there was any
     */
    public boolean publish() {
        if (index == published) {
            return false;
        }
        // Release: all of the batch is seen by whoever sees this stamp.
        SharedWords.setLongRelease(memory, base + (long) published * Stamps.ENTRY_BYTES, heldStamp);
        published = index;
        return true;
    }

    /** Keeps the fields above off the lines of what comes after them. */
    @SuppressWarnings("unused")
    private static final class Alone extends EntryWriter {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(MemorySegment memory, long base, int capacity) {
            super(memory, base, capacity);
        }
    }
}
