package dev.faultline.iommu;

import java.util.List;

/**
 * Part of the map of an address space, to be mapped elsewhere too.
 *
 * <p>Threads: any. The memory stays what it is if the part is unmapped meanwhile.
 */
public final class AreaCopy {
    private final AreaResult result;
    private final List<Areas.Piece> pieces;
    private final long bytes;

    AreaCopy(AreaResult result, List<Areas.Piece> pieces, long bytes) {
        this.result = result;
        this.pieces = pieces;
        this.bytes = bytes;
    }

    /**
     * Whether there is something to map.
     *
     * @return DONE; REFUSED for nothing, WRAPS, or NOT_MAPPED if the range has a hole
     */
    public AreaResult result() {
        return result;
    }

    /**
     * Maps it at an address.
     *
     * @param to which map
     * @param access {@link dev.faultline.ffm.PageFaultLayout#PERM_READ}, {@link dev.faultline.ffm.PageFaultLayout#PERM_WRITE} or both
     * @param address where
     * @return as {@link Areas#map}
     */
    public Areas.Mapped map(Areas to, int access, long address) {
        return result == AreaResult.DONE
                ? to.insert(pieces, bytes, access, address, false)
                : new Areas.Mapped(result, address);
    }

    /**
     * Maps it where there is room.
     *
     * @param to which map
     * @param access {@link dev.faultline.ffm.PageFaultLayout#PERM_READ}, {@link dev.faultline.ffm.PageFaultLayout#PERM_WRITE} or both
     * @return as {@link Areas#place}
     */
    public Areas.Mapped place(Areas to, int access) {
        return result == AreaResult.DONE ? to.insert(pieces, bytes, access, 0, true) : new Areas.Mapped(result, 0);
    }
}
