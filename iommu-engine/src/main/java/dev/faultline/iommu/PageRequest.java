package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_EXEC;
import static dev.faultline.ffm.PageFaultLayout.PERM_PRIV;
import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;

import dev.faultline.ring.FaultProducer;

/**
 * One Page Request message, or a stop marker, as an object: for what is off the hot path, where messages are numbers.
 *
 * @param pasid 0 to 2^20 - 1, or {@link FaultProducer#NO_PASID}
 * @param index page request group index: 9 bits; a stall's tag: 16
 * @param address of the page; of a stall exactly
 * @param access bits of {@link dev.faultline.ffm.PageFaultLayout}
 * @param length hint in bytes, 0 for none
 * @param last whether the group is whole with it
 */
record PageRequest(int pasid, int index, long address, int access, int length, boolean last) {
    private static final long READ_BIT = 1;
    private static final long WRITE_BIT = 1 << 1;
    private static final long LAST_BIT = 1 << 2;
    private static final long PAGE_NUMBER = -Frames.BYTES;
    private static final int INDEX_SHIFT = 3;
    private static final int INDEX_MASK = Groups.PCI_INDICES - 1;
    private static final int CODE_SHIFT = 44;
    private static final int RESPONSE_INDEX_SHIFT = 32;
    private static final int RESPONSE_REQUESTER_SHIFT = 48;

    /** A stop marker: no earlier page request of the PASID is behind it. Its index and address mean nothing. */
    static PageRequest stopMarker(int pasid) {
        return new PageRequest(pasid, 0, 0, 0, 0, true);
    }

    static boolean isStopMarker(int pasid, int access, boolean last) {
        return last && pasid != FaultProducer.NO_PASID && (access & (PERM_READ | PERM_WRITE)) == 0;
    }

    /** What a request may ask for: without a PASID there is neither execute nor privileged mode. */
    static int carried(int pasid, int access) {
        return pasid == FaultProducer.NO_PASID ? access & (PERM_READ | PERM_WRITE) : access;
    }

    /**
     * From a message.
     *
     * @param body header bytes 08h to 0Fh: 0 R, 1 W, 2 L, 11:3 index, 63:12 page
     * @param pasid from its PASID prefix, or none
     * @param execute the prefix's Execute Requested
     * @param privileged the prefix's Privileged Mode Requested
     */
    static PageRequest ofWire(long body, int pasid, boolean execute, boolean privileged) {
        Limits.inRange("pasid", pasid, FaultProducer.NO_PASID, Device.MAX_PASID);
        int access = ((body & READ_BIT) != 0 ? PERM_READ : 0)
                | ((body & WRITE_BIT) != 0 ? PERM_WRITE : 0)
                | (execute ? PERM_EXEC : 0)
                | (privileged ? PERM_PRIV : 0);
        return new PageRequest(
                pasid,
                (int) (body >>> INDEX_SHIFT) & INDEX_MASK,
                body & PAGE_NUMBER,
                carried(pasid, access),
                0,
                (body & LAST_BIT) != 0);
    }

    /** To a message. */
    long toWire() {
        Limits.inRange("index", index, 0, INDEX_MASK);
        return ((access & PERM_READ) != 0 ? READ_BIT : 0)
                | ((access & PERM_WRITE) != 0 ? WRITE_BIT : 0)
                | (last ? LAST_BIT : 0)
                | (long) index << INDEX_SHIFT
                | (address & PAGE_NUMBER);
    }

    /** The body of a PRG Response: 40:32 index, 47:44 code, 63:48 the function it goes to. */
    static long responseToWire(int requester, int index, ResponseCode code) {
        Limits.inRange("requester", requester, 0, RequesterId.LARGEST);
        Limits.inRange("index", index, 0, INDEX_MASK);
        return (long) requester << RESPONSE_REQUESTER_SHIFT
                | (long) code.wire() << CODE_SHIFT
                | (long) index << RESPONSE_INDEX_SHIFT;
    }

    static int responseIndex(long body) {
        return (int) (body >>> RESPONSE_INDEX_SHIFT) & INDEX_MASK;
    }

    static int responseCode(long body) {
        return (int) (body >>> CODE_SHIFT) & 0xf;
    }
}
