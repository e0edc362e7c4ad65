package dev.faultline.iommu;

import dev.faultline.iommu.table.Leaf;
import dev.faultline.iommu.table.RadixTable;
import dev.faultline.iommu.tlb.Iotlb;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * What devices have written to through a page table: the marks that their accesses leave in its entries, and what was read of those and
 * has to be told again.
 *
 * <p>A cached translation writes without setting a mark, so who clears marks makes all TLBs forget the pages, and waits until no device
 * uses what they knew. Until then a page that was told may be written to; from then on the next write to it sets its mark again. So
 * each write is seen by a look at the memory after {@link Reading#end}, or told by the next reading.
 *
 * <p>Threads: any; several may read at once, and each mark that is cleared is told to one of them. Units: bytes; addresses are those that
 * devices use. Source: Linux, {@code iommu_dirty_ops} and its implementation for VT-d.
 */
public final class DirtyMarks {
    /** Is told what was written to. */
    @FunctionalInterface
    public interface Sink {
        /**
         * A page, or the part of it that was asked for. A large page is written to as a whole.
         *
         * @param first its first address
         * @param bytes how long
         */
        void dirty(long first, long bytes);
    }

    /** From this many pages on it is cheaper to forget the whole table. */
    private static final int WHOLE_TABLE_PAGES = 32;

    private final Iommu iommu;
    private final RadixTable radix;
    private final PageTable table;

    /** Written to, and marked no more: first address to last, none over another. Under the lock. */
    private final TreeMap<Long, Long> kept = new TreeMap<>();

    DirtyMarks(Iommu iommu, RadixTable radix, PageTable table) {
        this.iommu = iommu;
        this.radix = radix;
        this.table = table;
    }

    /**
     * Begins to read marks.
     *
     * @param clear whether what is told counts as clean then
     * @return to be ended
     */
    public Reading read(boolean clear) {
        return new Reading(clear);
    }

    /** What was mapped there is gone. */
    void forget(long first, long last) {
        var _ = take(first, last, true);
    }

    /** What is kept of a range. */
    private synchronized List<IovaRange> take(long first, long last, boolean clear) {
        List<IovaRange> found = new ArrayList<>();
        List<IovaRange> rest = new ArrayList<>();
        Long before = kept.floorKey(first);
        Iterator<Map.Entry<Long, Long>> from =
                kept.tailMap(before == null ? first : before).entrySet().iterator();
        while (from.hasNext()) {
            Map.Entry<Long, Long> each = from.next();
            long begin = each.getKey();
            long end = each.getValue();
            if (begin > last) {
                break;
            }
            if (end < first) {
                continue;
            }
            found.add(new IovaRange(Math.max(begin, first), Math.min(end, last)));
            if (clear) {
                from.remove();
                if (begin < first) {
                    rest.add(new IovaRange(begin, first - 1));
                }
                if (end > last) {
                    rest.add(new IovaRange(last + 1, end));
                }
            }
        }
        rest.forEach(each -> kept.put(each.first(), each.last()));
        return found;
    }

    private synchronized void keep(long first, long last) {
        if (first <= last) {
            // What is kept there already would lie over it.
            var _ = take(first, last, true);
            kept.put(first, last);
        }
    }

    /**
     * One look at marks, of as many ranges as wanted.
     *
     * <p>Threads: one. Nothing is waited for but in {@link #end}.
     */
    public final class Reading {
        private final boolean clear;
        private final List<IovaRange> told = new ArrayList<>();
        private final List<IovaRange> cleaned = new ArrayList<>();

        private Reading(boolean clear) {
            this.clear = clear;
        }

        /**
         * Tells of what was written to in a range since its marks were cleared. What is told is not clean before {@link #end}. Of a large page
         * that only begins or ends in the range, the rest is told by another reading.
         *
         * @param first the first address, a multiple of 4096
         * @param last the last one, in the lower half of the input range
         * @param sink is told, in no particular order
         */
        public void read(long first, long last, Sink sink) {
            for (IovaRange again : take(first, last, clear)) {
                tell(again.first(), again.last(), sink);
            }
            Leaf leaf = new Leaf();
            long at = first;
            for (long skip; (skip = radix.nextMapped(at, last)) >= 0; ) {
                at += skip;
                long end = at | (Frames.BYTES - 1);
                if (radix.look(at, leaf)) {
                    end = leaf.last();
                    if (leaf.dirty() && (!clear || radix.dirtyAndClear(at))) {
                        tell(Math.max(leaf.address(), first), Math.min(end, last), sink);
                        if (clear) {
                            cleaned.add(new IovaRange(leaf.address(), end));
                            keep(leaf.address(), first - 1);
                            keep(last + 1, end);
                        }
                    }
                }
                if (end >= last) {
                    return;
                }
                at = end + 1;
            }
        }

        private void tell(long first, long last, Sink sink) {
            if (clear) {
                told.add(new IovaRange(first, last));
            }
            sink.dirty(first, last - first + 1);
        }

        /**
         * Makes TLBs forget what was cleared, and waits until no device uses what they knew.
         *
         * @throws QuiescenceTimeout if a thread has entered a device and does not step: what was told is told again by the next reading
         */
        public void end() {
            if (told.isEmpty()) {
                return;
            }
            boolean clean = false;
            try {
                invalidate();
                // Also for marks that somebody else has cleared, who has not waited long enough.
                iommu.await(iommu.log().epoch());
                clean = true;
            } finally {
                if (!clean) {
                    told.forEach(each -> keep(each.first(), each.last()));
                }
                told.clear();
                cleaned.clear();
            }
        }

        private void invalidate() {
            if (cleaned.size() >= WHOLE_TABLE_PAGES) {
                var _ = table.forget(0, Iotlb.EVERYTHING);
                return;
            }
            for (IovaRange page : cleaned) {
                int lg2 = Long.numberOfTrailingZeros(page.last() - page.first() + 1);
                var _ = table.forget(page.first(), lg2 - Frames.SHIFT);
            }
        }
    }
}
