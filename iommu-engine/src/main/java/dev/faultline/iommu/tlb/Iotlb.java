package dev.faultline.iommu.tlb;

import dev.faultline.ffm.SharedWords;
import dev.faultline.iommu.table.Translation;
import java.util.concurrent.atomic.AtomicLongArray;

/**
 * The translations that all devices share: bounded, set-associative, of all page sizes, tagged by domain and PASID.
 *
 * <p>Threads: any. Progress: wait-free but for the invalidations, which are lock-free. A set is four entries side by side, an entry two words:
 *
 * <pre>
 *  0                       1                    2
 *  +-----------------------+--------------------+    value: a {@link Translation}, the upper bits of the tag in place of its size,
 *  | key ^ spread(value)   | value [| PENDING]  |    0 when the entry is empty;
 *  +-----------------------+--------------------+    PENDING while its filler has not yet made sure of it
 *
 *  key   63                          37 36                                        0
 *       +------------------------------+-------------------------------------------+
 *       | the lower bits of the tag    | page number, then a 1, then size zeroes   |
 *       +------------------------------+-------------------------------------------+
 * </pre>
 *
 * <p><b>Sizes.</b> The lowest bit that is set in a key's page field tells the size, so keys of all sizes are different words. One shared word has
 * a bit for each size that was ever filled in; a lookup probes those sizes only, 4 KiB first. Input addresses have 48 bits; who asks has made sure.
 *
 * <p><b>Torn entries.</b> Both words are written by any thread, without a lock. A reader takes the entry only if the words fit each other and its
 * key, so a mixture of two fills is a miss (an odd factor spreads the value over the word; two values that differ do not cancel against two keys).
 * An entry that is PENDING fits nobody, for the check word was made for the value without that bit.
 *
 * <p><b>Fill against invalidation.</b> A filler has walked; by the time it inserts, the page may have been unmapped and its entry invalidated.
 * Both sides do a store, a full fence and a load:
 *
 * <pre>
 *  filler                                       invalidator
 *  read sequence                                change the page-table entry
 *  walk                                         advance sequence
 *  store size bit, check word, value | PENDING  full fence
 *  full fence                                   load size bits and entries, empty those meant, PENDING or not
 *  load sequence: moved, then empty the entry
 *                 same, then PENDING to final by compare-and-set
 * </pre>
 *
 * <p>Without the fences each store could be overtaken by the load after it, and both could miss the other. With them, either the filler sees the
 * sequence move, or the invalidator sees the entry; an entry found PENDING is emptied, which makes the filler's compare-and-set fail. If the
 * filler read the sequence after it advanced, its walk saw the changed table.
 *
 * <p>PENDING keeps an entry invisible until its filler has looked. If it were visible at once, a third thread could take it after that thread had
 * already promised, by its published epoch, to use nothing older than the invalidation.
 *
 * <p>A compare-and-set cannot meet an equal value of another fill: the frame in it is not handed out again before every stepping thread, the
 * filler among them, has passed a quiescent point ({@link Stations}).
 *
 * <p><b>On the heap</b>, for an array's bounds are checked once for an access, a segment's bounds, liveness and alignment three times: a hit takes
 * 1.1 of the time it takes in C, and took 1.4.
 */
public final class Iotlb {
    /** An invalidation that means all PASIDs of its domain, and entries without. */
    public static final int ANY_PASID = -2;
    /** An invalidation that means every domain. */
    public static final int ANY_DOMAIN = 0;
    /** An invalidation's size that means all addresses. */
    public static final int EVERYTHING = AtsRange.EVERYTHING;

    private static final int WAYS = 4;
    private static final int ENTRY_WORDS = 2;
    private static final int SET_SHIFT = 3;
    private static final long PENDING = Long.lowestOneBit(Translation.FREE_MASK);
    private static final long SPREAD = 0x9e37_79b9_7f4a_7c15L;

    private static final int PAGE_SHIFT = Translation.PAGE_SHIFT;
    private static final int ADDRESS_BITS = 48;
    private static final int PAGE_FIELD_BITS = ADDRESS_BITS - PAGE_SHIFT + 1;
    /** Larger pages are kept as so large a part of them: all there is of 48 bits. */
    private static final int LARGEST_SIZE = PAGE_FIELD_BITS - 1;

    private static final long PAGE_FIELD_MASK = (1L << PAGE_FIELD_BITS) - 1;
    private static final int KEY_TAG_BITS = Long.SIZE - PAGE_FIELD_BITS;
    private static final int UPPER_SHIFT = 52;
    private static final long BELOW_UPPER = (1L << UPPER_SHIFT) - 1;
    /** Above so many keys an invalidation looks at every entry instead. */
    private static final int MOST_PROBES = 64;

    /** Words of nothing between what different threads write. */
    private static final int APART = 16;
    /** A bit for each size there may be entries of: set by fillers, read by every lookup. A stale one hides an entry that is new: a miss. */
    private static final int SIZES = APART;
    /** Advanced by every invalidation before it looks; read by every filler twice. */
    private static final int SEQUENCE = 2 * APART;
    /** Which entry of a full set goes next: advanced by fillers; an advance that is lost does no harm. */
    private static final int TURN = 3 * APART;

    private static final int ENTRIES = 4 * APART;

    private final AtomicLongArray words;
    /** The bits of an index that tell sets apart. */
    private final int setMask;
    /** How far the bits above a set's number are shifted to lie on it. */
    private final int fold;

    /**
     * An empty one.
     *
     * @param entries a power of two, 4 or more
     */
    public Iotlb(int entries) {
        this.words = new AtomicLongArray(ENTRIES + entries * ENTRY_WORDS + APART);
        this.setMask = (entries / WAYS - 1) << SET_SHIFT;
        this.fold = PAGE_SHIFT - SET_SHIFT + Integer.numberOfTrailingZeros(entries / WAYS);
    }

    /**
     * Whether a lookup may be asked for an address.
     *
     * @param address of a format that is sign-extended, or that is not
     * @return false if it has more than 48 bits
     */
    public static boolean holds(long address) {
        return address >>> ADDRESS_BITS == 0 || address >> ADDRESS_BITS == -1;
    }

    /**
     * Looks an address up.
     *
     * @param tag whose
     * @param address which, of 48 bits
     * @return the {@link Translation} of its page of 4 KiB, or 0
     */
    public long lookup(long tag, long address) {
        long sizes = words.getOpaque(SIZES);
        if ((sizes & 1) != 0) {
            long found = probe(tag, pageField(address), set(tag, address));
            if (found != 0) {
                return found;
            }
        }
        long large = sizes & ~1;
        return large == 0 ? 0 : lookupLarge(tag, address, large);
    }

    private long lookupLarge(long tag, long address, long sizes) {
        for (long left = sizes; left != 0; left &= left - 1) {
            int size = Long.numberOfTrailingZeros(left);
            long found = probe(tag, pageField(address, size), set(tag, address >>> size));
            if (found != 0) {
                long inside = (1L << (size + PAGE_SHIFT)) - 1 & Translation.PAGE_MASK;
                return (found & ~inside) | (address & inside) | (long) size << UPPER_SHIFT;
            }
        }
        return 0;
    }

    /** What was inserted for a range of one size, or 0. */
    long lookup(long tag, long address, int size) {
        return probe(tag, pageField(address, size), set(tag, address >>> size));
    }

    private long probe(long tag, long pageField, int set) {
        long key = tag << PAGE_FIELD_BITS | pageField;
        long upper = tag >>> KEY_TAG_BITS << UPPER_SHIFT;
        int at = ENTRIES + set;
        for (int way = 0; way < WAYS; way++, at += ENTRY_WORDS) {
            // The check word first. A filler empties the value before it writes the check word; so whoever sees the new
            // check word cannot see the old value, and what it sees instead is validated or still PENDING.
            long check = words.getAcquire(at);
            long value = words.getAcquire(at + 1);
            long found = value ^ upper;
            if ((check ^ value * SPREAD) == key && found >>> UPPER_SHIFT == 0) {
                return found;
            }
        }
        return 0;
    }

    /**
     * What a filler reads before it walks, and gives to {@link #insert}.
     *
     * @return a number
     */
    public long sequence() {
        return words.getAcquire(SEQUENCE);
    }

    /**
     * Keeps a translation, unless an invalidation began after {@code sequence} was read.
     *
     * @param tag whose
     * @param address one it holds for
     * @param translation what the walk gave
     * @param sequence what {@link #sequence} gave before the walk
     * @return whether it is kept
     */
    public boolean insert(long tag, long address, long translation, long sequence) {
        return insert(
                tag,
                address,
                Math.min(Translation.sizeLg2(translation) - PAGE_SHIFT, LARGEST_SIZE),
                translation,
                sequence);
    }

    /** The same with the size beside it; the word has an address and rights. */
    boolean insert(long tag, long address, int size, long translation, long sequence) {
        long key = tag << PAGE_FIELD_BITS | pageField(address, size);
        long value = (translation & BELOW_UPPER) | tag >>> KEY_TAG_BITS << UPPER_SHIFT;
        present(size);
        int at = victim(key, value, ENTRIES + set(tag, address >>> size));
        words.setOpaque(at + 1, 0);
        words.setRelease(at, key ^ value * SPREAD);
        words.setRelease(at + 1, value | PENDING);
        SharedWords.fullFence();
        boolean same = words.getAcquire(SEQUENCE) == sequence;
        return words.compareAndSet(at + 1, value | PENDING, same ? value : 0) && same;
    }

    /**
     * Empties what a range touches, after its page-table entries were changed. Entries of larger pages that reach into the range go as well.
     *
     * @param domain whose; {@link #ANY_DOMAIN} for all
     * @param pasid whose; {@link TlbTag#NO_PASID} for those without, {@link #ANY_PASID} for all of the domain
     * @param address of a page in the range
     * @param size log2 of the range in pages of 4 KiB, aligned; {@link #EVERYTHING} for all addresses
     */
    public void invalidate(int domain, int pasid, long address, int size) {
        words.getAndIncrement(SEQUENCE);
        SharedWords.fullFence();
        long sizes = words.getAcquire(SIZES);
        if (domain == ANY_DOMAIN || pasid == ANY_PASID || probes(sizes, size) > MOST_PROBES) {
            invalidateAmongAll(domain, pasid, address, size);
            return;
        }
        long tag = TlbTag.of(domain, pasid);
        for (long left = sizes; left != 0; left &= left - 1) {
            int each = Long.numberOfTrailingZeros(left);
            long pages = each >= size ? 1 : 1L << (size - each);
            long from = address & -1L << (Math.max(size, each) + PAGE_SHIFT);
            for (long page = 0; page < pages; page++) {
                long at = from + (page << (each + PAGE_SHIFT));
                empty(tag, pageField(at, each), set(tag, at >>> each));
            }
        }
    }

    private void invalidateAmongAll(int domain, int pasid, long address, int size) {
        long wanted = pageField(address);
        for (int at = ENTRIES; at < words.length() - APART; at += ENTRY_WORDS) {
            while (true) {
                long check = words.getAcquire(at);
                long value = words.getAcquire(at + 1);
                if (value == 0) {
                    break;
                }
                // What is torn reads as anything: taken for meant, it goes, which is right; taken for not meant, its
                // filler is not
                // done, and will see the sequence.
                long key = check ^ (value & ~PENDING) * SPREAD;
                long tag = value >>> UPPER_SHIFT << KEY_TAG_BITS | key >>> PAGE_FIELD_BITS;
                int below = Math.max(size, Long.numberOfTrailingZeros(key)) + 1;
                boolean meant = (domain == ANY_DOMAIN || TlbTag.domain(tag) == domain)
                        && (pasid == ANY_PASID || TlbTag.pasid(tag) == pasid)
                        && (below >= PAGE_FIELD_BITS || ((key ^ wanted) & PAGE_FIELD_MASK) >>> below == 0);
                if (!meant || words.compareAndSet(at + 1, value, 0)) {
                    break;
                }
            }
        }
    }

    /** Keys an invalidation of a range would have to look for. */
    private static long probes(long sizes, int size) {
        long probes = 0;
        for (long left = sizes; left != 0; left &= left - 1) {
            int smaller = size - Long.numberOfTrailingZeros(left);
            probes += smaller <= 0 ? 1 : smaller >= Integer.SIZE ? MOST_PROBES + 1 : 1L << smaller;
        }
        return probes;
    }

    private void empty(long tag, long pageField, int set) {
        long key = tag << PAGE_FIELD_BITS | pageField;
        long upper = tag >>> KEY_TAG_BITS;
        int at = ENTRIES + set;
        for (int way = 0; way < WAYS; way++, at += ENTRY_WORDS) {
            while (true) {
                long check = words.getAcquire(at);
                long value = words.getAcquire(at + 1);
                if (value == 0
                        || value >>> UPPER_SHIFT != upper
                        || (check ^ (value & ~PENDING) * SPREAD) != key
                        || words.compareAndSet(at + 1, value, 0)) {
                    break;
                }
            }
        }
    }

    private void present(int size) {
        long bit = 1L << size;
        long sizes = words.getAcquire(SIZES);
        while ((sizes & bit) == 0 && !words.compareAndSet(SIZES, sizes, sizes | bit)) {
            sizes = words.getAcquire(SIZES);
        }
    }

    /** The entry to overwrite: the key's own, the first that is empty, or the next in turn. First ways are looked at first, so they are filled first. */
    private int victim(long key, long value, int start) {
        int empty = -1;
        int at = start;
        for (int way = 0; way < WAYS; way++, at += ENTRY_WORDS) {
            long there = words.getOpaque(at + 1);
            if (there == 0) {
                empty = empty < 0 ? at : empty;
            } else if ((words.getOpaque(at) ^ (there & ~PENDING) * SPREAD) == key
                    && (there ^ value) >>> UPPER_SHIFT == 0) {
                return at;
            }
        }
        if (empty >= 0) {
            return empty;
        }
        long turn = words.getOpaque(TURN);
        words.setOpaque(TURN, turn + 1);
        return start + ((int) turn & (WAYS - 1)) * ENTRY_WORDS;
    }

    private static long pageField(long address) {
        return (address >>> (PAGE_SHIFT - 1) | 1) & PAGE_FIELD_MASK;
    }

    private static long pageField(long address, int size) {
        return (address >>> (PAGE_SHIFT + size) << 1 | 1) << size & PAGE_FIELD_MASK;
    }

    /** Where the set of a page begins; {@code shifted} is its address, shifted right by its size. Neighbours have sets of their own. */
    private int set(long tag, long shifted) {
        long spread = (tag * SPREAD) >>> 40;
        return (int) (shifted >>> (PAGE_SHIFT - SET_SHIFT) ^ shifted >>> fold ^ spread) & setMask;
    }
}
