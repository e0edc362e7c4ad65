package dev.faultline.ring.internal;

import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * The writing end of a ring.
 *
 * <p>Threads: one at a time; a change of thread needs a happens-before edge. Ownership: the memory is the caller's. Progress:
 * wait-free. What the other end writes ({@code head}) is read once into a local and checked: a value out of range is taken as
 * no news, so a peer that scribbles can stop this end, never lead it outside the ring.
 */
public final class EntryWriter {
    private final MemorySegment memory;
    private final long tailOffset;
    private final long headOffset;
    private final long entries;
    private final int capacity;
    private final int mask;
    private long tail;
    private long published;
    private long headSeen;

    /**
     * An end of an empty ring.
     *
     * @param memory where the ring is
     * @param base its first byte, see {@link RingLayout}
     * @param capacity entries, a power of two
     */
    public EntryWriter(MemorySegment memory, long base, int capacity) {
        this.memory = memory;
        this.tailOffset = base + RingLayout.TAIL_OFFSET;
        this.headOffset = base + RingLayout.HEAD_OFFSET;
        this.entries = base + RingLayout.ENTRIES_OFFSET;
        this.capacity = capacity;
        this.mask = capacity - 1;
    }

    /**
     * Takes the next entry for writing. What it holds from its last use is scrap: write every field.
     *
     * @return where the entry is, in bytes from the start of the memory, or -1 if the ring is full
     */
    public long claim() {
        long t = tail;
        if (t - headSeen >= capacity && !hasRoom(t)) {
            return -1;
        }
        tail = t + 1;
        return entries + (t & mask) * RingLayout.ENTRY_BYTES;
    }

    private boolean hasRoom(long t) {
        // Acquire: the other end's reads of the entry are over before its head passes it, so this end may overwrite it.
        long head = SharedWords.getLongAcquire(memory, headOffset);
        if (head < headSeen || head > published) {
            return false;
        }
        headSeen = head;
        return t - head < capacity;
    }

    /** How many entries are claimed and not published. */
    public int staged() {
        return (int) (tail - published);
    }

    /** How many entries the other end has given back, as far as this end has looked; never more than were published. */
    public long headSeen() {
        return headSeen;
    }

    /** Whether the next {@link #claim} finds room; looks at the other end's word when none is known of. */
    public boolean canClaim() {
        return tail - headSeen < capacity || hasRoom(tail);
    }

    /** Looks how far the other end is. */
    public void refresh() {
        hasRoom(tail);
    }

    /** The position the next claim takes: entries claimed since the ring was made. */
    public long position() {
        return tail;
    }

    /**
     * Lets the other end see every entry claimed.
     *
     * @return whether there was any
     */
    public boolean publish() {
        long t = tail;
        if (t == published) {
            return false;
        }
        // Release: the entries' bytes are seen by whoever sees this tail.
        SharedWords.setLongRelease(memory, tailOffset, t);
        published = t;
        return true;
    }
}
