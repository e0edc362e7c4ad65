package dev.faultline.iommu;

import dev.faultline.iommu.Areas.Mapped;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.NavigableMap;

/**
 * Where something may be mapped, of an {@link Areas}: not in reserved ranges, which belong to whoever has them; and, where nobody says
 * an address, in allowed ranges only, if there are any.
 *
 * <p>Threads: one at a time, which has the lock of its {@link Areas}.
 */
final class AreaRanges {
    /** Placement keeps an alignment of up to this, so that large pages fit. */
    private static final long LARGEST_ALIGNMENT = 2L << 20;

    private final IdentityHashMap<Object, List<IovaRange>> reserved = new IdentityHashMap<>();

    /** All of {@link #reserved}, sorted and made one where they touch. */
    private List<IovaRange> merged = List.of();

    private List<IovaRange> allowed = List.of();

    List<IovaRange> holes() {
        return Spans.holes(merged, 0, -1);
    }

    boolean isReserved(long first, long last) {
        return merged.stream().anyMatch(range -> range.overlaps(first, last));
    }

    AreaResult reserve(Object owner, long first, long last) {
        if (allowed.stream().anyMatch(range -> range.overlaps(first, last))) {
            return AreaResult.IN_USE;
        }
        reserved.computeIfAbsent(owner, _ -> new ArrayList<>()).add(new IovaRange(first, last));
        merge();
        return AreaResult.DONE;
    }

    void release(Object owner) {
        if (reserved.remove(owner) != null) {
            merge();
        }
    }

    private void merge() {
        List<IovaRange> all = new ArrayList<>();
        reserved.values().forEach(all::addAll);
        merged = Spans.merged(all, 0, -1);
    }

    AreaResult allow(List<IovaRange> ranges) {
        for (int i = 0; i < ranges.size(); i++) {
            IovaRange range = ranges.get(i);
            if (Long.compareUnsigned(range.first(), range.last()) >= 0) {
                return AreaResult.REFUSED;
            }
        }
        List<IovaRange> sorted = new ArrayList<>(ranges);
        sorted.sort((a, b) -> Long.compareUnsigned(a.first(), b.first()));
        for (int i = 1; i < sorted.size(); i++) {
            if (Long.compareUnsigned(sorted.get(i).first(), sorted.get(i - 1).last()) <= 0) {
                return AreaResult.REFUSED;
            }
        }
        for (IovaRange range : sorted) {
            if (isReserved(range.first(), range.last())) {
                return AreaResult.IN_USE;
            }
        }
        allowed = List.copyOf(sorted);
        return AreaResult.DONE;
    }

    /** A place for memory: one that keeps its alignment, between areas and reserved ranges, where it is allowed. */
    Mapped place(long memory, long bytes, long alignment, NavigableMap<Long, Area> areas) {
        if (Long.compareUnsigned(bytes, Long.MAX_VALUE) >= 0) {
            return new Mapped(AreaResult.WRAPS, 0);
        }
        long power = bytes == 1 ? 1 : Long.highestOneBit(bytes - 1) << 1;
        long wanted = memory == 0 ? power : smaller(power, Long.lowestOneBit(memory));
        long aligned = smaller(wanted, LARGEST_ALIGNMENT);
        if (aligned < alignment) {
            return new Mapped(AreaResult.REFUSED, 0);
        }
        long first = Areas.PAGE_BYTES;
        long last = -1L - Areas.PAGE_BYTES;
        List<IovaRange> within =
                allowed.isEmpty() ? List.of(new IovaRange(first, last)) : Spans.merged(allowed, first, last);
        for (IovaRange range : within) {
            Long found = Spans.place(range, merged, areas, bytes, aligned, memory & (Areas.PAGE_BYTES - 1));
            if (found != null) {
                return new Mapped(AreaResult.DONE, found);
            }
        }
        return new Mapped(AreaResult.NO_SPACE, 0);
    }

    private static long smaller(long a, long b) {
        return Long.compareUnsigned(a, b) <= 0 ? a : b;
    }
}
