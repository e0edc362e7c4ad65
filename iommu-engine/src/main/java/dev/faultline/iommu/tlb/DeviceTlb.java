package dev.faultline.iommu.tlb;

import dev.faultline.iommu.table.Translation;
import java.util.Arrays;

/**
 * The translations one device keeps to itself, as a PCIe function with ATS does: keyed by whether there is a PASID, PASID, and a range of any power of
 * two from 4 KiB. Only an invalidation takes an entry out before a newer one needs its place: a changed page table alone leaves it in use.
 *
 * <p>Threads: the one that has entered the device. Dropping more than an invalidation asks for is always right, dropping less never.
 */
public final class DeviceTlb {
    private static final int WAYS = 4;
    private static final int ENTRY_WORDS = 4;
    private static final int SET_SHIFT = 4;
    private static final int RANGE = 0;
    private static final int PASID = 1;
    private static final int VALUE = 2;

    private static final int PAGE_SHIFT = Translation.PAGE_SHIFT;
    private static final long SPREAD = 0x9e37_79b9_7f4a_7c15L;
    /** Stands in place of a PASID in entries that hold for every PASID. */
    private static final int GLOBAL = -2;
    /** An entry's range has a bit that is set, so 0 is empty. */
    private static final long EMPTY = 0;

    private static final int MOST_PROBES = 64;

    /** Sets side by side; an entry is range, PASID, translation and a word of nothing. */
    private final long[] entries;

    private final byte[] turns;
    private final int setMask;
    /** How far the bits above a set's number are shifted to lie on it. */
    private final int fold;
    /** The sizes there may be entries of. */
    private long sizes;
    /** The sizes there may be global entries of. */
    private long globalSizes;

    /**
     * An empty one.
     *
     * @param count entries: a power of two, 4 or more
     */
    public DeviceTlb(int count) {
        entries = new long[count * ENTRY_WORDS];
        turns = new byte[count / WAYS];
        setMask = (count / WAYS - 1) << SET_SHIFT;
        fold = PAGE_SHIFT - SET_SHIFT + Integer.numberOfTrailingZeros(count / WAYS);
    }

    /**
     * Looks an address up.
     *
     * @param pasid of the request, or {@link TlbTag#NO_PASID}
     * @param address any of 64 bits
     * @return the {@link Translation} of its page of 4 KiB, or 0
     */
    public long lookup(int pasid, long address) {
        if ((sizes & 1) != 0) {
            long found = probe(pasid, range(address, 0), set(pasid, address));
            if (found != 0) {
                return found;
            }
        }
        long large = sizes & ~1;
        long found = large == 0 ? 0 : lookup(pasid, address, large);
        return found == 0 && globalSizes != 0 && pasid != TlbTag.NO_PASID
                ? lookup(GLOBAL, address, globalSizes)
                : found;
    }

    private long lookup(int pasid, long address, long among) {
        for (long left = among; left != 0; left &= left - 1) {
            int size = Long.numberOfTrailingZeros(left);
            long found = probe(pasid, range(address, size), set(pasid, shift(address, size)));
            if (found != 0) {
                long inside = inside(size) & Translation.PAGE_MASK;
                return (found & ~inside) | (address & inside);
            }
        }
        return 0;
    }

    private long probe(int pasid, long range, int set) {
        for (int at = set; at < set + WAYS * ENTRY_WORDS; at += ENTRY_WORDS) {
            if (entries[at + RANGE] == range && entries[at + PASID] == pasid) {
                return entries[at + VALUE];
            }
        }
        return 0;
    }

    /**
     * Keeps a translation.
     *
     * @param pasid of the request, or {@link TlbTag#NO_PASID}
     * @param address one it holds for
     * @param translation what was granted
     * @param global whether it holds for every PASID
     */
    public void insert(int pasid, long address, long translation, boolean global) {
        int size = Translation.sizeLg2(translation) - PAGE_SHIFT;
        int whose = global && pasid != TlbTag.NO_PASID ? GLOBAL : pasid;
        long range = range(address, size);
        if (whose == GLOBAL) {
            globalSizes |= 1L << size;
        } else {
            sizes |= 1L << size;
        }
        int set = set(whose, shift(address, size));
        int target = -1;
        for (int at = set; at < set + WAYS * ENTRY_WORDS; at += ENTRY_WORDS) {
            if (entries[at + RANGE] == range && entries[at + PASID] == whose) {
                target = at;
                break;
            }
            if (entries[at + RANGE] == EMPTY && target < 0) {
                target = at;
            }
        }
        if (target < 0) {
            target = set + (turns[set >>> SET_SHIFT]++ & WAYS - 1) * ENTRY_WORDS;
        }
        entries[target + RANGE] = range;
        entries[target + PASID] = whose;
        entries[target + VALUE] = translation;
    }

    /**
     * Drops what a range touches, of one PASID and of all entries that hold for every PASID.
     *
     * @param pasid which, or {@link TlbTag#NO_PASID} for the entries without, global ones not among them
     * @param address any in the range
     * @param size log2 of the range in pages of 4 KiB, aligned, 0 to {@link AtsRange#EVERYTHING}
     */
    public void invalidate(int pasid, long address, int size) {
        if (probes(sizes, size) > MOST_PROBES) {
            for (int at = 0; at < entries.length; at += ENTRY_WORDS) {
                boolean whose =
                        entries[at + PASID] == pasid || (entries[at + PASID] == GLOBAL && pasid != TlbTag.NO_PASID);
                dropIf(whose, at, address, size);
            }
            return;
        }
        drop(pasid, address, size, sizes);
        if (pasid != TlbTag.NO_PASID) {
            drop(GLOBAL, address, size, globalSizes);
        }
    }

    /**
     * Drops what a range touches, of every PASID.
     *
     * @param address any in the range
     * @param size log2 of the range in pages of 4 KiB, aligned, 0 to {@link AtsRange#EVERYTHING}
     * @param withoutPasid whether entries without PASID go as well
     */
    public void invalidateEveryPasid(long address, int size, boolean withoutPasid) {
        for (int at = 0; at < entries.length; at += ENTRY_WORDS) {
            dropIf(withoutPasid || entries[at + PASID] != TlbTag.NO_PASID, at, address, size);
        }
    }

    /** Drops everything. */
    public void clear() {
        Arrays.fill(entries, EMPTY);
        sizes = 0;
        globalSizes = 0;
    }

    /** How many translations it can keep. */
    int capacity() {
        return entries.length / ENTRY_WORDS;
    }

    private void dropIf(boolean whose, int at, long address, int size) {
        long range = entries[at + RANGE];
        if (whose && range != EMPTY) {
            int below = Math.max(size, Long.numberOfTrailingZeros(range)) + 1;
            if ((range ^ range(address, 0)) >>> below == 0) {
                entries[at + RANGE] = EMPTY;
            }
        }
    }

    private void drop(int pasid, long address, int size, long among) {
        for (long left = among; left != 0; left &= left - 1) {
            int each = Long.numberOfTrailingZeros(left);
            long ranges = each >= size ? 1 : 1L << (size - each);
            long from = address & ~inside(Math.max(size, each));
            for (long i = 0; i < ranges; i++) {
                long first = from + (i << (each + PAGE_SHIFT));
                long range = range(first, each);
                int set = set(pasid, shift(first, each));
                for (int at = set; at < set + WAYS * ENTRY_WORDS; at += ENTRY_WORDS) {
                    if (entries[at + RANGE] == range && entries[at + PASID] == pasid) {
                        entries[at + RANGE] = EMPTY;
                    }
                }
            }
        }
    }

    private long probes(long among, int size) {
        long probes = 0;
        for (long left = among | globalSizes; left != 0; left &= left - 1) {
            int smaller = size - Long.numberOfTrailingZeros(left);
            probes += smaller <= 0 ? 1 : smaller >= Integer.SIZE ? MOST_PROBES + 1 : 1L << smaller;
        }
        return probes;
    }

    /** The addresses of a range without its base: all bits of a size that is everything. */
    private static long inside(int size) {
        return size == AtsRange.EVERYTHING ? -1L : (1L << (size + PAGE_SHIFT)) - 1;
    }

    private static long shift(long address, int size) {
        return size == AtsRange.EVERYTHING ? 0 : address >>> size;
    }

    /** Page number, a 1, and {@code size} zeroes. */
    private static long range(long address, int size) {
        return (shift(address, size) >>> PAGE_SHIFT << 1 | 1) << size;
    }

    private int set(int pasid, long shifted) {
        long spread = ((pasid + 2L) * SPREAD) >>> 40;
        return (int) (shifted >>> (PAGE_SHIFT - SET_SHIFT) ^ shifted >>> fold ^ spread) & setMask;
    }
}
