package dev.faultline.iommu;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * What device TLBs have to forget, in order. The number of entries ever appended is the global epoch.
 *
 * <p>Threads: any append; a thread that steps devices reads, at its own pace. Progress: both wait-free. Nobody waits for a
 * reader: one that finds an entry overwritten, or claimed and not yet written, forgets everything instead. That is sound
 * because an appender has changed its page table and purged the IOTLB before it advances the epoch.
 *
 * <pre>
 *  0                    8                   16
 *  +--------------------+--------------------+     Entry e lies at slot e mod size. A reader takes it only if the words fit
 *  | what               | (e + 1)^mix(what)  |     each other and e, so what two appenders mixed is noticed.
 *  +--------------------+--------------------+
 * </pre>
 */
final class InvalidationLog {
    /** An entry that cannot be read: forget everything. */
    static final long UNREADABLE = -1;

    private static final long WHOLE_SPACE = 1L << 63;
    private static final int ENTRY_SHIFT = 4;

    /** The epoch: advanced by appenders, read between accesses by every thread that steps devices. */
    private static final long EPOCH_OFFSET = 0;

    private static final long ENTRIES_OFFSET = CacheLine.BYTES;

    private final MemorySegment words;
    private final int entries;

    InvalidationLog(MemorySegment words, int entries) {
        this.words = words;
        this.entries = entries;
    }

    static long wordsBytes(int entries) {
        return ENTRIES_OFFSET + CacheLine.alignUp((long) entries << ENTRY_SHIFT);
    }

    static long page(int space, long address) {
        return TlbKey.ofSpace(space, address);
    }

    static long wholeSpace(int space) {
        return WHOLE_SPACE | TlbKey.ofSpace(space, 0);
    }

    static boolean isWholeSpace(long what) {
        return (what & WHOLE_SPACE) != 0;
    }

    static int space(long what) {
        return (int) ((what & ~WHOLE_SPACE) >>> TlbKey.PAGE_NUMBER_BITS);
    }

    /**
     * Appends. The page table is changed and the IOTLB purged already; a reader of the new epoch sees both.
     *
     * @return the epoch that a thread must have published before the page may be used for something else
     */
    long append(long what) {
        long entry = SharedWords.getAndAddLong(words, EPOCH_OFFSET, 1);
        long at = at(entry);
        SharedWords.setLongOpaque(words, at, what);
        SharedWords.setLongRelease(words, at + Long.BYTES, (entry + 1) ^ TlbKey.mix(what));
        return entry + 1;
    }

    long epoch() {
        return SharedWords.getLongAcquire(words, EPOCH_OFFSET);
    }

    int entries() {
        return entries;
    }

    /** What entry {@code entry} says, or {@link #UNREADABLE}. */
    long read(long entry) {
        long at = at(entry);
        long check = SharedWords.getLongAcquire(words, at + Long.BYTES);
        long what = SharedWords.getLongOpaque(words, at);
        return (check ^ TlbKey.mix(what)) == entry + 1 ? what : UNREADABLE;
    }

    private long at(long entry) {
        return ENTRIES_OFFSET + ((entry & (entries - 1)) << ENTRY_SHIFT);
    }
}
