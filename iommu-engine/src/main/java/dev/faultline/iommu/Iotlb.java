package dev.faultline.iommu;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * The translations that all devices share: bounded, set-associative, off-heap, keyed by address space and page.
 *
 * <p>Threads: any. Progress: wait-free but for {@link #purge}, which is lock-free. An entry is two words:
 *
 * <pre>
 *  0                    8                   16
 *  +--------------------+--------------------+     value: a translation, 0 when the entry is empty;
 *  | key ^ mix(value)   | value [| PENDING]  |     PENDING while its filler has not yet made sure of it
 *  +--------------------+--------------------+
 * </pre>
 *
 * <p><b>Torn entries.</b> Both words are written by any thread, without a lock. A reader takes the entry only if the words
 * fit each other and its key, so a mixture of two fills is a miss (mixing spreads the value over the word; two values that
 * differ do not cancel against two keys).
 *
 * <p><b>Fill against invalidation.</b> A filler has walked; by the time it inserts, the page may have been unmapped and its
 * entry purged. Both sides do a store, a full fence and a load:
 *
 * <pre>
 *  filler                                       invalidator
 *  read sequence                                change the page-table entry
 *  walk                                         advance sequence
 *  store check word, value | PENDING            full fence
 *  full fence                                   load entries, empty those of the page, PENDING or not
 *  load sequence: moved, then empty the entry
 *                 same, then PENDING to final by compare-and-set
 * </pre>
 *
 * <p>Without the fences each store could be overtaken by the load after it, and both could miss the other. With them, either
 * the filler sees the sequence move, or the invalidator sees the entry; an entry found PENDING is emptied, which makes the
 * filler's compare-and-set fail. If the filler read the sequence after it advanced, its walk saw the changed table.
 *
 * <p>PENDING keeps an entry invisible until its filler has looked. If it were visible at once, a third thread could take it
 * after that thread had already promised, by its published epoch, to use nothing older than the invalidation.
 *
 * <p>A compare-and-set cannot meet an equal value of another fill: the frame in it is not handed out again before every
 * stepping thread, the filler among them, has passed a quiescent point ({@link Stations}).
 */
final class Iotlb {
    private static final int WAYS = 4;
    private static final int ENTRY_SHIFT = 4;
    private static final long PENDING = 1 << 6;
    private static final int SET_SHIFT = 6;

    /** Advanced by every invalidation before it purges; read by every filler twice. */
    private static final long SEQUENCE_OFFSET = 0;

    private static final long ENTRIES_OFFSET = CacheLine.BYTES;

    private final MemorySegment words;
    private final int setMask;

    Iotlb(MemorySegment words, int entries) {
        this.words = words;
        this.setMask = entries / WAYS - 1;
    }

    static long wordsBytes(int entries) {
        return ENTRIES_OFFSET + CacheLine.alignUp((long) entries << ENTRY_SHIFT);
    }

    /** Looks a key up: a translation, or 0. */
    long lookup(long key) {
        long at = set(key);
        for (int way = 0; way < WAYS; way++, at += 1 << ENTRY_SHIFT) {
            // The check word first. A filler empties the value before it writes the check word; so whoever sees the new
            // check word cannot see the old value, and what it sees instead is validated or still PENDING.
            long check = SharedWords.getLongAcquire(words, at);
            long value = SharedWords.getLongAcquire(words, at + Long.BYTES);
            if (value != 0 && (value & PENDING) == 0 && (check ^ TlbKey.mix(value)) == key) {
                return value;
            }
        }
        return 0;
    }

    /** What a filler reads before it walks, and gives to {@link #insert}. */
    long sequence() {
        return SharedWords.getLongAcquire(words, SEQUENCE_OFFSET);
    }

    /** Keeps a translation, unless an invalidation began after {@code sequence} was read. */
    boolean insert(long key, long value, long sequence) {
        long at = victim(key);
        SharedWords.setLongOpaque(words, at + Long.BYTES, 0);
        SharedWords.setLongRelease(words, at, key ^ TlbKey.mix(value));
        SharedWords.setLongRelease(words, at + Long.BYTES, value | PENDING);
        SharedWords.fullFence();
        boolean same = SharedWords.getLongAcquire(words, SEQUENCE_OFFSET) == sequence;
        return SharedWords.compareAndSetLong(words, at + Long.BYTES, value | PENDING, same ? value : 0) && same;
    }

    /** Empties the entries of a key, after its page-table entry was changed. */
    void purge(long key) {
        SharedWords.getAndAddLong(words, SEQUENCE_OFFSET, 1);
        SharedWords.fullFence();
        long at = set(key);
        for (int way = 0; way < WAYS; way++, at += 1 << ENTRY_SHIFT) {
            empty(at, key, -1L);
        }
    }

    /** Empties the entries of a whole address space. */
    void purgeSpace(int space) {
        SharedWords.getAndAddLong(words, SEQUENCE_OFFSET, 1);
        SharedWords.fullFence();
        long key = TlbKey.ofSpace(space, 0);
        long end = ENTRIES_OFFSET + ((setMask + 1L) << SET_SHIFT);
        for (long at = ENTRIES_OFFSET; at < end; at += 1 << ENTRY_SHIFT) {
            empty(at, key, ~TlbKey.PAGE_NUMBER_MASK);
        }
    }

    private void empty(long at, long key, long keyBits) {
        while (true) {
            long check = SharedWords.getLongAcquire(words, at);
            long value = SharedWords.getLongAcquire(words, at + Long.BYTES);
            if (value == 0
                    || ((check ^ TlbKey.mix(value & ~PENDING)) & keyBits) != key
                    || SharedWords.compareAndSetLong(words, at + Long.BYTES, value, 0)) {
                return;
            }
        }
    }

    /** The entry to overwrite: the key's own, an empty one, or one chosen by the key's other bits. */
    private long victim(long key) {
        long start = set(key);
        long empty = -1;
        long at = start;
        for (int way = 0; way < WAYS; way++, at += 1 << ENTRY_SHIFT) {
            long value = SharedWords.getLongOpaque(words, at + Long.BYTES);
            if (value == 0) {
                empty = at;
            } else if ((SharedWords.getLongOpaque(words, at) ^ TlbKey.mix(value & ~PENDING)) == key) {
                return at;
            }
        }
        return empty >= 0 ? empty : start + ((TlbKey.mix(key) & (WAYS - 1)) << ENTRY_SHIFT);
    }

    private long set(long key) {
        return ENTRIES_OFFSET + ((long) (TlbKey.hash(key) & setMask) << SET_SHIFT);
    }
}
