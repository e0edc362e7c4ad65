package dev.faultline.iommu;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import org.jspecify.annotations.Nullable;

/**
 * Ranges of addresses, and the holes between them.
 *
 * <p>Threads: stateless. Units: addresses, unsigned, both ends inclusive.
 */
final class Spans {
    private static final long END = -1;

    private Spans() {}

    /** Sorted, and those that touch or overlap made one, as far as they lie within bounds. */
    static List<IovaRange> merged(List<IovaRange> spans, long from, long to) {
        List<IovaRange> sorted = new ArrayList<>(spans);
        sorted.sort((a, b) -> Long.compareUnsigned(a.first(), b.first()));
        List<IovaRange> merged = new ArrayList<>();
        for (IovaRange span : sorted) {
            if (!span.overlaps(from, to)) {
                continue;
            }
            IovaRange next = new IovaRange(larger(span.first(), from), smaller(span.last(), to));
            IovaRange before = merged.isEmpty() ? null : merged.getLast();
            if (before == null || (before.last() != END && Long.compareUnsigned(next.first(), before.last() + 1) > 0)) {
                merged.add(next);
            } else if (Long.compareUnsigned(next.last(), before.last()) > 0) {
                merged.set(merged.size() - 1, new IovaRange(before.first(), next.last()));
            }
        }
        return merged;
    }

    /** What lies between spans that are {@link #merged}. */
    static List<IovaRange> holes(List<IovaRange> merged, long from, long to) {
        List<IovaRange> holes = new ArrayList<>();
        long at = from;
        for (IovaRange span : merged) {
            if (Long.compareUnsigned(span.first(), at) > 0) {
                holes.add(new IovaRange(at, span.first() - 1));
            }
            if (Long.compareUnsigned(span.last(), to) >= 0) {
                return holes;
            }
            at = span.last() + 1;
        }
        holes.add(new IovaRange(at, to));
        return holes;
    }

    /** The first place in a hole for so many bytes, or null. A hole of one address is none. */
    static @Nullable Long fit(IovaRange hole, long bytes, long alignment, long pageOffset) {
        long start = (hole.first() + alignment - 1) & -alignment;
        if (Long.compareUnsigned(start, hole.first()) < 0) {
            return null;
        }
        start |= pageOffset;
        if (Long.compareUnsigned(start, hole.last()) >= 0 || Long.compareUnsigned(hole.last() - start, bytes - 1) < 0) {
            return null;
        }
        return start;
    }

    /**
     * A place in the holes between areas and reserved ranges.
     *
     * @param reserved merged
     * @param areas by their first addresses, which do not overlap
     */
    static @Nullable Long place(
            IovaRange within,
            List<IovaRange> reserved,
            NavigableMap<Long, Area> areas,
            long bytes,
            long alignment,
            long pageOffset) {
        Long first = fit(within, bytes, alignment, pageOffset);
        if (first == null) {
            return null;
        }
        for (IovaRange hole : holes(merged(reserved, first, within.last()), first, within.last())) {
            long at = hole.first();
            Map.Entry<Long, Area> before = areas.floorEntry(at);
            if (before != null && Long.compareUnsigned(before.getValue().last(), at) >= 0) {
                at = before.getValue().last() + 1;
                if (at == 0 || Long.compareUnsigned(at, hole.last()) > 0) {
                    continue;
                }
            }
            for (Area next : areas.tailMap(at, true).values()) {
                if (Long.compareUnsigned(next.first(), hole.last()) > 0) {
                    break;
                }
                if (next.first() != at) {
                    Long found = fit(new IovaRange(at, next.first() - 1), bytes, alignment, pageOffset);
                    if (found != null) {
                        return found;
                    }
                }
                at = next.last() + 1;
                if (at == 0) {
                    break;
                }
            }
            if (at != 0 && Long.compareUnsigned(at, hole.last()) <= 0) {
                Long found = fit(new IovaRange(at, hole.last()), bytes, alignment, pageOffset);
                if (found != null) {
                    return found;
                }
            }
        }
        return null;
    }

    private static long larger(long a, long b) {
        return Long.compareUnsigned(a, b) >= 0 ? a : b;
    }

    private static long smaller(long a, long b) {
        return Long.compareUnsigned(a, b) <= 0 ? a : b;
    }
}
