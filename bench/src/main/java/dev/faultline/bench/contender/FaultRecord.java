package dev.faultline.bench.contender;

import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/** What a request and an answer say, whoever carries them; and the request as 40 bytes of memory, moved as five longs. */
final class FaultRecord {

    /** Flags of a request: its PASID is valid, and it is the last of its group. */
    static final int FLAGS = 3;

    /** Length hint of a request in bytes: none. */
    static final int LENGTH = 0;

    /** An answer's code: go on. */
    static final int SUCCESS = 0;

    private static final int INVALID = 1;

    private static final int DEVICE_OFFSET = 0;
    private static final int GROUP_OFFSET = 8;
    private static final int ACCESS_OFFSET = 16;
    private static final int ADDRESS_OFFSET = 24;
    private static final int TAG_OFFSET = 32;

    private FaultRecord() {}

    /**
     * What the responder decides, from what it read.
     *
     * @param access what the request asked for
     * @return the code of the answer
     */
    static int answerTo(int access) {
        return access != 0 ? SUCCESS : INVALID;
    }

    /** Two fields of 32 bits as they lie in memory. */
    static long pair(int low, int high) {
        return (low & 0xffff_ffffL) | (long) high << 32;
    }

    /** The lower of two such fields. */
    static int low(long pair) {
        return (int) pair;
    }

    static void write(MemorySegment memory, long offset, int tag, int group, long address) {
        SharedWords.putLong(memory, offset + DEVICE_OFFSET, pair(FLAGS, Requester.DEVICE));
        SharedWords.putLong(memory, offset + GROUP_OFFSET, pair(Requester.PASID, group));
        SharedWords.putLong(memory, offset + ACCESS_OFFSET, Requester.ACCESS);
        SharedWords.putLong(memory, offset + ADDRESS_OFFSET, address);
        SharedWords.putLong(memory, offset + TAG_OFFSET, pair(LENGTH, tag));
    }

    /** The sum of the fields but for access and tag. */
    static long sum(MemorySegment memory, long offset) {
        long device = SharedWords.getLong(memory, offset + DEVICE_OFFSET);
        long group = SharedWords.getLong(memory, offset + GROUP_OFFSET);
        return (int) device
                + (device >>> 32)
                + (int) group
                + (group >>> 32)
                + SharedWords.getLong(memory, offset + ADDRESS_OFFSET)
                + (int) SharedWords.getLong(memory, offset + TAG_OFFSET);
    }

    static int access(MemorySegment memory, long offset) {
        return (int) SharedWords.getLong(memory, offset + ACCESS_OFFSET);
    }

    static int tag(MemorySegment memory, long offset) {
        return (int) (SharedWords.getLong(memory, offset + TAG_OFFSET) >>> 32);
    }
}
