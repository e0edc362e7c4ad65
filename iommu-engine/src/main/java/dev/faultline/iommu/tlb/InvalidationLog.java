package dev.faultline.iommu.tlb;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * What device TLBs have to forget, in order. The number of entries ever appended is the global epoch.
 *
 * <p>Threads: any append; a thread that steps devices reads, at its own pace. Progress: both wait-free. Nobody waits for a reader: one that finds
 * an entry overwritten, or claimed and not yet written, forgets everything instead. That is sound because an appender has changed its page
 * table and invalidated the IOTLB before it advances the epoch.
 *
 * <pre>
 *  0          8          16                      24         32
 *  +----------+----------+-----------------------+----------+   Entry e lies at slot e mod size. A reader takes it only if the words
 *  | whose    | range    | (e + 1) ^ mix of both |          |   fit each other and e, so what two appenders mixed is noticed.
 *  +----------+----------+-----------------------+----------+
 * </pre>
 */
public final class InvalidationLog {
    private static final int ENTRY_SHIFT = 5;
    private static final int RANGE = 8;
    private static final int CHECK = 16;
    /** What is added to a PASID, so that {@link Iotlb#ANY_PASID} is 0. */
    private static final int PASID_OFFSET = 2;

    private static final int PASID_FIELD_BITS = 32;

    /** The epoch: advanced by appenders, read between accesses by every thread that steps devices. */
    private static final long EPOCH_OFFSET = 0;

    private static final long ENTRIES_OFFSET = CacheLine.BYTES;

    private final MemorySegment words;
    private final int entries;

    /** Who is told what to forget. */
    public interface Reader {
        /**
         * An invalidation.
         *
         * @param domain whose, {@link Iotlb#ANY_DOMAIN} for all
         * @param pasid whose, {@link TlbTag#NO_PASID}, or {@link Iotlb#ANY_PASID} for all of the domain
         * @param address in the range
         * @param size log2 of the range in pages of 4 KiB
         */
        void forget(int domain, int pasid, long address, int size);

        /** Invalidations that cannot be read any more. */
        void forgetEverything();
    }

    /**
     * An empty one.
     *
     * @param words zeroed memory of {@link #wordsBytes}
     * @param entries a power of two
     */
    public InvalidationLog(MemorySegment words, int entries) {
        this.words = words;
        this.entries = entries;
    }

    /**
     * What it needs.
     *
     * @param entries as given to the constructor
     * @return bytes
     */
    public static long wordsBytes(int entries) {
        return ENTRIES_OFFSET + CacheLine.alignUp((long) entries << ENTRY_SHIFT);
    }

    /**
     * Appends. The page table is changed and the IOTLB invalidated already; a reader of the new epoch sees both.
     *
     * @param domain as {@link Reader#forget} is told
     * @param pasid as well
     * @param address as well
     * @param size as well
     * @return the epoch that a thread must have published before the pages may be used for something else
     */
    public long append(int domain, int pasid, long address, int size) {
        long whose = (long) domain << PASID_FIELD_BITS | (pasid + PASID_OFFSET);
        long range = AtsRange.encode(address, size);
        long entry = SharedWords.getAndAddLong(words, EPOCH_OFFSET, 1);
        long at = at(entry);
        SharedWords.setLongOpaque(words, at, whose);
        SharedWords.setLongOpaque(words, at + RANGE, range);
        SharedWords.setLongRelease(words, at + CHECK, check(entry, whose, range));
        return entry + 1;
    }

    /**
     * The epoch.
     *
     * @return how many invalidations there were
     */
    public long epoch() {
        return SharedWords.getLongAcquire(words, EPOCH_OFFSET);
    }

    /**
     * Tells what was appended.
     *
     * @param from the epoch up to which the reader was told before
     * @param to an epoch that {@link #epoch} gave
     * @param reader who
     */
    public void read(long from, long to, Reader reader) {
        if (to - from > entries) {
            reader.forgetEverything();
            return;
        }
        for (long entry = from; entry < to; entry++) {
            long at = at(entry);
            long check = SharedWords.getLongAcquire(words, at + CHECK);
            long whose = SharedWords.getLongOpaque(words, at);
            long range = SharedWords.getLongOpaque(words, at + RANGE);
            if (check != check(entry, whose, range)) {
                reader.forgetEverything();
                return;
            }
            reader.forget(
                    (int) (whose >>> PASID_FIELD_BITS),
                    (int) whose - PASID_OFFSET,
                    AtsRange.base(range),
                    AtsRange.size(range));
        }
    }

    private static long check(long entry, long whose, long range) {
        return entry + 1 ^ mix(mix(whose) ^ range);
    }

    /** A bijection that spreads every bit over the word (the finalizer of MurmurHash3). */
    private static long mix(long value) {
        long h = (value ^ value >>> 33) * 0xff51_afd7_ed55_8ccdL;
        h = (h ^ h >>> 33) * 0xc4ce_b9fe_1a85_ec53L;
        return h ^ h >>> 33;
    }

    private long at(long entry) {
        return ENTRIES_OFFSET + ((entry & entries - 1) << ENTRY_SHIFT);
    }
}
