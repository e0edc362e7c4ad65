package dev.faultline.ring.internal;

import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * The writing end of a ring of 8-byte words, see {@link Stamps}.
 *
 * <p>Threads: one at a time; a change of thread needs a happens-before edge. Ownership: the memory is the caller's. Progress:
 * wait-free. What the other end writes ({@code taken}) is read once into a local and checked: a value out of range is no news.
 */
public abstract class WordWriter extends PaddedBefore {
    private final MemorySegment memory;
    private final long base;
    private final int capacity;
    private final MemorySegment takenMemory;
    private final long takenOffset;
    private int index;
    private long lap = Stamps.FIRST_LAP;
    private long writtenInFormerLaps;
    private long takenSeen;

    /** The index up to which words are published: what is staged begins there. */
    private int published;

    /** The word that publishes the batch, while there is one. */
    private long heldWord;

    private WordWriter(MemorySegment memory, long base, int capacity, MemorySegment takenMemory, long takenOffset) {
        this.memory = memory;
        this.base = base;
        this.capacity = Stamps.checkCapacity(capacity, 2, Stamps.WORD_BYTES, base, memory.byteSize());
        this.takenMemory = takenMemory;
        this.takenOffset = takenOffset;
    }

    /**
     * The writing end of a ring that holds zeros.
     *
     * @param memory where the ring is
     * @param base its first byte
     * @param capacity words, 2 or more
     * @param takenMemory where the other end says how many words it has taken
     * @param takenOffset the byte at which it does
     * @return the end
     * @throws IllegalArgumentException if the ring does not lie inside the memory
     */
    public static WordWriter of(
            MemorySegment memory, long base, int capacity, MemorySegment takenMemory, long takenOffset) {
        return new Alone(memory, base, capacity, takenMemory, takenOffset);
    }

    /**
     * Whether words can be staged; looks at the other end's word when no room is known of. One word of the ring stays free, so
     * that a ring full of staged words is not taken for one with none.
     *
     * @param words how many
     * @return true if there is room for them
     */
    public boolean hasRoom(int words) {
        return written() - takenSeen < capacity - words || hasNewRoom(words);
    }

    private boolean hasNewRoom(int words) {
        // Acquire: the other end's reads of the words are over before its count passes them, so they may be
        // overwritten.
        long taken = SharedWords.getLongAcquire(takenMemory, takenOffset);
        if (taken < takenSeen || taken > written()) {
            return false;
        }
        takenSeen = taken;
        return written() - taken < capacity - words;
    }

    private long written() {
        return writtenInFormerLaps + index;
    }

    /**
     * Stages a word; {@link #hasRoom} has said that there is room.
     *
     * @param low 48 bits, not 0
     */
    public void stage(long low) {
        long word = lap | low;
        if (index == published) {
            heldWord = word;
        } else {
            // Release, as it is read by itself once the first of the batch has been seen.
            SharedWords.setLongRelease(memory, offset(index), word);
        }
        if (++index == capacity) {
            index = 0;
            writtenInFormerLaps += capacity;
            lap = Stamps.nextLap(lap);
        }
    }

    /** How many words are staged and not published. */
    public int staged() {
        int staged = index - published;
        return staged < 0 ? staged + capacity : staged;
    }

    private long offset(int place) {
        return base + (long) place * Stamps.WORD_BYTES;
    }

    /** Lets the other end see every word staged. */
    public void publish() {
        if (index != published) {
            // Release: what was written before, here and elsewhere, is seen by whoever sees this word.
            SharedWords.setLongRelease(memory, offset(published), heldWord);
            published = index;
        }
    }

    /** Keeps the fields above off the lines of what comes after them. */
    @SuppressWarnings("unused")
    private static final class Alone extends WordWriter {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(MemorySegment memory, long base, int capacity, MemorySegment takenMemory, long takenOffset) {
            super(memory, base, capacity, takenMemory, takenOffset);
        }
    }
}
