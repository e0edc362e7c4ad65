package dev.faultline.iommu.iommufd.smmuv3;

import dev.faultline.iommu.iommufd.Architecture.FailedAccess;
import dev.faultline.iommu.table.SmmuFaults;
import dev.faultline.iommu.table.Translation;
import dev.faultline.ring.FaultProducer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A record as it stands in an event queue.
 *
 * <p>Immutable. Source: SMMUv3 architecture, event records.
 *
 * @param first bits 63 to 0: number, SubstreamID, StreamID
 * @param second bits 127 to 64: what was wanted, and where it ended
 * @param third bits 191 to 128: the input address
 * @param fourth bits 255 to 192: the second stage's input, or what was fetched
 */
record EventRecord(long first, long second, long third, long fourth) {
    static final int BYTES = 32;

    static final int BAD_STREAM_ENTRY = 0x04;
    static final int STREAM_DISABLED = 0x06;
    static final int BAD_SUBSTREAM = 0x08;
    static final int BAD_CONTEXT = 0x0a;
    static final int TRANSLATION = 0x10;
    static final int ADDRESS_SIZE = 0x11;
    static final int ACCESS = 0x12;
    static final int PERMISSION = 0x13;

    private static final int CONTEXT_FETCH = 0x09;
    private static final int WALK_ABORT = 0x0b;

    private static final int NUMBER = 0xff;
    private static final long SUBSTREAM_VALID = 1 << 11;
    private static final int SUBSTREAM_SHIFT = 12;
    private static final int SUBSTREAM_MASK = (1 << 20) - 1;
    private static final int STREAM_SHIFT = 32;
    private static final long STREAM_MASK = 0xffff_ffffL;
    private static final long PRIVILEGED = 1L << 33;
    private static final long INSTRUCTION = 1L << 34;
    private static final long READ = 1L << 35;
    private static final long SECOND_STAGE = 1L << 39;
    private static final int CLASS_SHIFT = 40;
    private static final long TABLE_READ = 1L << 44;
    private static final long PAGE_NUMBER = -4096L;

    /**
     * What hardware writes of an access that ended.
     *
     * @param event its number
     * @param stream the device's StreamID
     */
    static EventRecord of(int event, int stream, FailedAccess access) {
        boolean hasSubstream = access.pasid() != FaultProducer.NO_PASID;
        long first = event | (stream & STREAM_MASK) << STREAM_SHIFT;
        if (event == BAD_SUBSTREAM) {
            first |= hasSubstream ? (long) access.pasid() << SUBSTREAM_SHIFT : 0;
        } else if (event != STREAM_DISABLED && hasSubstream) {
            first |= (long) access.pasid() << SUBSTREAM_SHIFT | SUBSTREAM_VALID;
        }
        long found = Translation.address(access.fault());
        return switch (event) {
            case TRANSLATION, ADDRESS_SIZE, ACCESS, PERMISSION ->
                new EventRecord(
                        first,
                        wanted(access)
                                | (event == PERMISSION && SmmuFaults.tableRead(access.fault()) ? tableRead(access) : 0),
                        access.address(),
                        SmmuFaults.secondStage(access.fault()) ? found & PAGE_NUMBER : 0);
            case WALK_ABORT -> new EventRecord(first, wanted(access), access.address(), found);
            case CONTEXT_FETCH -> new EventRecord(first, 0, 0, found);
            default -> new EventRecord(first, 0, 0, 0);
        };
    }

    private static long wanted(FailedAccess access) {
        int privileged = access.wanted() >>> Translation.PRIVILEGED_SHIFT;
        int wanted = access.wanted() | privileged;
        return (privileged != 0 ? PRIVILEGED : 0)
                | ((wanted & Translation.EXECUTE) != 0 ? INSTRUCTION : 0)
                | ((wanted & Translation.WRITE) == 0 ? READ : 0)
                | (SmmuFaults.secondStage(access.fault()) ? SECOND_STAGE : 0)
                | (long) SmmuFaults.classOf(access.fault()) << CLASS_SHIFT;
    }

    private static long tableRead(FailedAccess access) {
        return SmmuFaults.classOf(access.fault()) == SmmuFaults.CLASS_TABLE ? TABLE_READ : 0;
    }

    static EventRecord read(ByteBuffer from) {
        ByteBuffer data = from.slice().order(ByteOrder.LITTLE_ENDIAN);
        return new EventRecord(data.getLong(0), data.getLong(8), data.getLong(16), data.getLong(24));
    }

    byte[] bytes() {
        return ByteBuffer.allocate(BYTES)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(first)
                .putLong(second)
                .putLong(third)
                .putLong(fourth)
                .array();
    }

    int number() {
        return (int) first & NUMBER;
    }

    long stream() {
        return first >>> STREAM_SHIFT;
    }

    /** The SubstreamID, or -1. */
    int substream() {
        return (first & SUBSTREAM_VALID) != 0 || number() == BAD_SUBSTREAM
                ? (int) (first >>> SUBSTREAM_SHIFT) & SUBSTREAM_MASK
                : FaultProducer.NO_PASID;
    }

    /** Whether the guest is to know of it: it is of the guest's tables, and Linux has a record of the kind for guests. */
    boolean isForGuests() {
        return switch (number()) {
            case BAD_STREAM_ENTRY, STREAM_DISABLED, BAD_SUBSTREAM, BAD_CONTEXT -> true;
            case TRANSLATION, ADDRESS_SIZE, ACCESS, PERMISSION -> (second & SECOND_STAGE) == 0;
            default -> false;
        };
    }

    /** The same of another StreamID. */
    EventRecord withStream(long stream) {
        return new EventRecord((first & STREAM_MASK) | (stream & STREAM_MASK) << STREAM_SHIFT, second, third, fourth);
    }
}
