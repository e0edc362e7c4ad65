package dev.faultline.iommu;

import dev.faultline.ffm.PageFaultLayout;
import java.lang.foreign.MemorySegment;

/**
 * Reading, writing and pinning the memory of an address space by its addresses, without a device.
 *
 * <p>Threads: any. Units: bytes.
 */
public final class SoftwareAccess {
    private static final long PAGE = Areas.PAGE_BYTES;

    private final Areas areas;
    private final boolean locks;

    /**
     * Access to what is mapped.
     *
     * @param areas where
     * @param locks true if what it pins can not be unmapped; false if an {@link AreaUser} unpins it when told
     */
    public SoftwareAccess(Areas areas, boolean locks) {
        this.areas = areas;
        this.locks = locks;
    }

    /**
     * Where it is.
     *
     * @return the map
     */
    public Areas areas() {
        return areas;
    }

    /**
     * Pins whole pages: until they are unpinned they stay what they are.
     *
     * @param first the first address
     * @param bytes how much
     * @param write whether to write there
     * @return REFUSED if it is empty, or an area in it does not begin or end where pages do, or is about to go, or can not be pinned;
     *     WRAPS, NOT_MAPPED, DENIED, UNREACHABLE; then nothing is pinned
     */
    public AreaResult pin(long first, long bytes, boolean write) {
        synchronized (areas) {
            long[] pinned = {first};
            AreaResult result = areas.visit(first, bytes, (area, from, to) -> {
                AreaResult one = pinOne(area, from, to, first + bytes - 1, write);
                if (one == AreaResult.DONE) {
                    pinned[0] = to + 1;
                }
                return one;
            });
            if (result != AreaResult.DONE && pinned[0] != first) {
                unpin(first, pinned[0] - first);
            }
            return result;
        }
    }

    private AreaResult pinOne(Area area, long from, long to, long last, boolean write) {
        boolean startsPage = area.offsetOf(from) % PAGE == 0;
        boolean endsPage = to == last || area.offsetOf(to) % PAGE == PAGE - 1;
        if (area.leaving || !startsPage || !endsPage) {
            return AreaResult.REFUSED;
        }
        if ((area.access() & permission(write)) == 0
                || (write && !area.backing().writable())) {
            return AreaResult.DENIED;
        }
        if (!area.backing().isReachable()) {
            return AreaResult.REFUSED;
        }
        AreaResult held = area.backing().hold(area.offsetOf(from) / PAGE, area.offsetOf(to) / PAGE);
        if (held == AreaResult.DONE) {
            area.pins += locks ? 0 : 1;
            area.locks += locks ? 1 : 0;
        }
        return held;
    }

    /**
     * Unpins what was pinned.
     *
     * @param first as it was pinned
     * @param bytes as it was pinned
     * @throws IllegalStateException if this was not pinned
     */
    public void unpin(long first, long bytes) {
        AreaResult result = areas.visit(first, bytes, (area, from, to) -> {
            area.backing().release(area.offsetOf(from) / PAGE, area.offsetOf(to) / PAGE);
            area.pins -= locks ? 0 : 1;
            area.locks -= locks ? 1 : 0;
            return AreaResult.DONE;
        });
        if (result != AreaResult.DONE) {
            throw new IllegalStateException(
                    "0x" + Long.toHexString(first) + ", " + bytes + " bytes: nothing is pinned there");
        }
    }

    /**
     * Reads or writes.
     *
     * @param first the first address
     * @param data what to write, or what is filled
     * @param write which of them
     * @return REFUSED if it is empty, or an area is about to go or can not be reached; WRAPS, NOT_MAPPED, DENIED, UNREACHABLE; what
     *     comes before that is done
     */
    public AreaResult transfer(long first, MemorySegment data, boolean write) {
        return areas.visit(first, data.byteSize(), (area, from, to) -> {
            if (area.leaving) {
                return AreaResult.REFUSED;
            }
            if ((area.access() & permission(write)) == 0
                    || (write && !area.backing().writable())) {
                return AreaResult.DENIED;
            }
            if (!area.backing().isReachable()) {
                return AreaResult.REFUSED;
            }
            MemorySegment part = data.asSlice(from - first, to - from + 1);
            return area.backing().transfer(area.offsetOf(from), part, write)
                    ? AreaResult.DONE
                    : area.backing().missing();
        });
    }

    private static int permission(boolean write) {
        return write ? PageFaultLayout.PERM_WRITE : PageFaultLayout.PERM_READ;
    }
}
