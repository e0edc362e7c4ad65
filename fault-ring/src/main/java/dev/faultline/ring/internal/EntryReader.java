package dev.faultline.ring.internal;

import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * The reading end of a ring.
 *
 * <p>Threads: one at a time; a change of thread needs a happens-before edge. Ownership: the memory is the caller's; an entry
 * may be read from {@link #next} until {@link #release}. Progress: wait-free. What the other end writes ({@code tail}) is read
 * once into a local and checked: a value out of range is taken as no news.
 */
public final class EntryReader {
    private final MemorySegment memory;
    private final long tailOffset;
    private final long headOffset;
    private final long entries;
    private final int capacity;
    private final int mask;
    private long head;
    private long released;
    private long tailSeen;

    /**
     * An end of an empty ring.
     *
     * @param memory where the ring is
     * @param base its first byte, see {@link RingLayout}
     * @param capacity entries, a power of two
     */
    public EntryReader(MemorySegment memory, long base, int capacity) {
        this.memory = memory;
        this.tailOffset = base + RingLayout.TAIL_OFFSET;
        this.headOffset = base + RingLayout.HEAD_OFFSET;
        this.entries = base + RingLayout.ENTRIES_OFFSET;
        this.capacity = capacity;
        this.mask = capacity - 1;
    }

    /**
     * The next entry, which stays the next until {@link #advance}.
     *
     * @return where it is, in bytes from the start of the memory, or -1 if there is none
     */
    public long next() {
        long h = head;
        if (h == tailSeen && !hasNews(h)) {
            return -1;
        }
        return entries + (h & mask) * RingLayout.ENTRY_BYTES;
    }

    private boolean hasNews(long h) {
        // Acquire: the bytes of the entries below this tail are seen.
        long tail = SharedWords.getLongAcquire(memory, tailOffset);
        if (tail <= h || tail - released > capacity) {
            return false;
        }
        tailSeen = tail;
        return true;
    }

    /** Whether there is an entry now; looks at the other end's word when none is known of. */
    public boolean isReady() {
        return head != tailSeen || hasNews(head);
    }

    /** The index of the next entry in the ring, 0 to capacity - 1. */
    public int index() {
        return (int) head & mask;
    }

    /** Goes past the next entry, which stays readable until {@link #release}. */
    public void advance() {
        head++;
    }

    /** Gives every entry passed back to the other end. */
    public void release() {
        long h = head;
        if (h != released) {
            // Release: this end's reads of the entries are done before the other end sees that it may overwrite them.
            SharedWords.setLongRelease(memory, headOffset, h);
            released = h;
        }
    }
}
