package dev.faultline.ring.internal;

import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * The reading end of a ring of 64-byte entries, see {@link Stamps}.
 *
 * <p>Threads: one at a time; a change of thread needs a happens-before edge. Ownership: the memory is the caller's; an entry may
 * be read until the other end is told, by whatever lets it write, that it may be written again. Progress: wait-free.
 */
public abstract class EntryReader extends PaddedBefore {
    private final MemorySegment memory;
    private final long base;
    private final int capacity;
    private int index;
    private long lap = Stamps.FIRST_LAP;

    private EntryReader(MemorySegment memory, long base, int capacity) {
        this.memory = memory;
        this.base = base;
        this.capacity = Stamps.checkCapacity(capacity, 2, Stamps.ENTRY_BYTES, base, memory.byteSize());
    }

    /**
     * The reading end of a ring of which nothing was read.
     *
     * @param memory where the ring is
     * @param base its first byte
     * @param capacity entries, 2 or more
     * @return the end
     * @throws IllegalArgumentException if the ring does not lie inside the memory
     */
    public static EntryReader of(MemorySegment memory, long base, int capacity) {
        return new Alone(memory, base, capacity);
    }

    /**
     * Looks for the next entry.
     *
     * @return the user's bits of its stamp, or 0 if there is no entry
     */
    public long next() {
        // Acquire: the rest of the entry is seen.
        long low = SharedWords.getLongAcquire(memory, entry()) ^ lap;
        return low >>> Stamps.LAP_SHIFT == 0 ? low : 0;
    }

    /** Where the next entry is, in bytes from the start of the memory; there to be read once {@link #next} has found it. */
    public long entry() {
        return base + (long) index * Stamps.ENTRY_BYTES;
    }

    /** The index of the next entry in the ring, 0 to capacity - 1. */
    public int index() {
        return index;
    }

    /** Goes past the next entry. */
    public void advance() {
        if (++index == capacity) {
            index = 0;
            lap = Stamps.nextLap(lap);
        }
    }

    /** Keeps the fields above off the lines of what comes after them. */
    @SuppressWarnings("unused")
    private static final class Alone extends EntryReader {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(MemorySegment memory, long base, int capacity) {
            super(memory, base, capacity);
        }
    }
}
