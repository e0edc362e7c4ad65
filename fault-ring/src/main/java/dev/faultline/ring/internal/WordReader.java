package dev.faultline.ring.internal;

import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * The reading end of a ring of 8-byte words, see {@link Stamps}.
 *
 * <p>Threads: one at a time; a change of thread needs a happens-before edge. Ownership: the memory is the caller's. Progress:
 * wait-free. Each word is read once, into a local.
 */
public abstract class WordReader extends PaddedBefore {
    private final MemorySegment memory;
    private final long base;
    private final int capacity;
    private final MemorySegment takenMemory;
    private final long takenOffset;
    private int index;
    private long lap = Stamps.FIRST_LAP;
    private long takenInFormerLaps;
    private long released;

    private WordReader(MemorySegment memory, long base, int capacity, MemorySegment takenMemory, long takenOffset) {
        this.memory = memory;
        this.base = base;
        this.capacity = Stamps.checkCapacity(capacity, 2, Stamps.WORD_BYTES, base, memory.byteSize());
        this.takenMemory = takenMemory;
        this.takenOffset = takenOffset;
    }

    /**
     * The reading end of a ring of which nothing was read.
     *
     * @param memory where the ring is
     * @param base its first byte
     * @param capacity words, 2 or more
     * @param takenMemory where this end says how many words it has taken
     * @param takenOffset the byte at which it does
     * @return the end
     * @throws IllegalArgumentException if the ring does not lie inside the memory
     */
    public static WordReader of(
            MemorySegment memory, long base, int capacity, MemorySegment takenMemory, long takenOffset) {
        return new Alone(memory, base, capacity, takenMemory, takenOffset);
    }

    /**
     * Looks for the next word.
     *
     * @return its lower 48 bits, or 0 if there is none
     */
    public long next() {
        // Acquire: what was written before the word is seen.
        long low = SharedWords.getLongAcquire(memory, base + (long) index * Stamps.WORD_BYTES) ^ lap;
        return low >>> Stamps.LAP_SHIFT == 0 ? low : 0;
    }

    /** Goes past the next word. */
    public void advance() {
        if (++index == capacity) {
            index = 0;
            takenInFormerLaps += capacity;
            lap = Stamps.nextLap(lap);
        }
    }

    /** Gives the room of every word passed back to the other end. */
    public void release() {
        long t = takenInFormerLaps + index;
        if (t != released) {
            // Release: this end's reads of the words are done before the other end sees that it may overwrite them.
            SharedWords.setLongRelease(takenMemory, takenOffset, t);
            released = t;
        }
    }

    /** Keeps the fields above off the lines of what comes after them. */
    @SuppressWarnings("unused")
    private static final class Alone extends WordReader {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(MemorySegment memory, long base, int capacity, MemorySegment takenMemory, long takenOffset) {
            super(memory, base, capacity, takenMemory, takenOffset);
        }
    }
}
