package dev.faultline.iommu;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Addresses of a device that are not for mappings: an interrupt window, memory its firmware uses.
 *
 * @param first the first byte, a multiple of 4096
 * @param last the last byte, one less than a multiple of 4096
 * @param kind what it is
 */
public record ReservedRegion(long first, long last, Kind kind) {
    /** What a region is. */
    public enum Kind {
        /** Nothing may be mapped there while the device is attached. */
        RESERVED,
        /**
         * The device has to reach it at its physical address: an address space maps it one to one while the device is attached to it as
         * a whole, and nothing else may be mapped there. Of other page tables only {@link Iommu#identity} will do.
         */
        DIRECT
    }

    private static final long PAGE_OFFSET = Frames.BYTES - 1;

    /** Checks the values. */
    public ReservedRegion {
        if ((first & PAGE_OFFSET) != 0) {
            throw new IllegalArgumentException(
                    "first=0x" + Long.toHexString(first) + ": allowed multiples of " + Frames.BYTES);
        }
        if ((last & PAGE_OFFSET) != PAGE_OFFSET || Long.compareUnsigned(last, first) < 0) {
            throw new IllegalArgumentException(
                    "last=0x" + Long.toHexString(last) + ": allowed one less than a multiple of " + Frames.BYTES
                            + " above first=0x" + Long.toHexString(first));
        }
    }

    /**
     * Sorts regions, and makes one of those that touch or overlap.
     *
     * @throws IllegalArgumentException if regions of different kinds overlap
     */
    static List<ReservedRegion> merged(List<ReservedRegion> regions) {
        List<ReservedRegion> sorted = new ArrayList<>(regions);
        sorted.sort(Comparator.comparing(ReservedRegion::first, Long::compareUnsigned));
        List<ReservedRegion> merged = new ArrayList<>();
        for (ReservedRegion next : sorted) {
            ReservedRegion before = merged.isEmpty() ? null : merged.getLast();
            boolean overlaps = before != null && Long.compareUnsigned(next.first, before.last) <= 0;
            if (before == null || (!overlaps && (before.last + 1 != next.first || before.kind != next.kind))) {
                merged.add(next);
            } else if (before.kind != next.kind) {
                throw new IllegalArgumentException(
                        "reserved=" + next + ": allowed where " + before + " is not, for they differ in kind");
            } else if (Long.compareUnsigned(next.last, before.last) > 0) {
                merged.set(merged.size() - 1, new ReservedRegion(before.first, next.last, next.kind));
            }
        }
        return List.copyOf(merged);
    }

    @Override
    public String toString() {
        return kind + " 0x" + Long.toHexString(first) + " to 0x" + Long.toHexString(last);
    }
}
