package dev.faultline.ring;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * A group of page requests that is answered as one: a view of the records where they lie.
 *
 * <p>Threads: the one that was handed it. Ownership and lifetime: the memory is the queue's; the view is valid until the
 * handler returns, or with {@link FaultConsumer#take} until the next call on the consumer, and shows another group after
 * that. In a {@link FaultBatch} it is the worker's, and a copy. Progress: every accessor is one or two loads; nothing is allocated. Units: bytes, nanoseconds of the
 * source's {@link Clock}. Errors: an index outside the group throws {@link IndexOutOfBoundsException}. Source: {@code struct
 * iommu_hwpt_pgfault}, see {@link PageFaultLayout}.
 */
public final class FaultGroup extends ShownGroup {
    // Keeps what is shown off the lines of what comes after it.
    long after0, after1, after2, after3, after4, after5, after6, after7;
    long after8, after9, after10, after11, after12, after13, after14, after15;

    /** A holder for {@link FaultConsumer#take}; empty until then. */
    public FaultGroup() {}

    /** Shows another group, and returns its cookie, read once. */
    @SuppressWarnings("MemorySegmentReferenceEquality") // the same object need not be written again
    int show(MemorySegment newMemory, long newBase, int newSize, long newRaisedAtNs) {
        // Mostly the same, and a reference costs two stores.
        if (memory != newMemory) {
            memory = newMemory;
        }
        base = newBase;
        size = newSize;
        raisedAtNs = newRaisedAtNs;
        cookie = SharedWords.getInt(newMemory, newBase + PageFaultLayout.COOKIE_OFFSET);
        return cookie;
    }

    /**
     * The name of the group in its answer.
     *
     * @return 32 opaque bits, never 0
     */
    public int cookie() {
        return cookie;
    }

    /**
     * How many page requests the group has.
     *
     * @return 1 or more; 0 in a holder that was never filled
     */
    public int size() {
        return size;
    }

    /**
     * The device that asks.
     *
     * @return its id
     */
    public int device() {
        return SharedWords.getInt(memory, record(size - 1) + PageFaultLayout.DEVICE_OFFSET);
    }

    /**
     * The device's own number for the group.
     *
     * @return page-request group index
     */
    public int groupIndex() {
        return SharedWords.getInt(memory, record(size - 1) + PageFaultLayout.GROUP_OFFSET);
    }

    /**
     * The address that faulted.
     *
     * @param i which request, 0 to size - 1
     * @return the address as the device sent it
     */
    public long address(int i) {
        return SharedWords.getLong(memory, record(i) + PageFaultLayout.ADDRESS_OFFSET);
    }

    /**
     * What the access wants.
     *
     * @param i which request
     * @return bits of {@link PageFaultLayout}: {@code PERM_READ} and so on
     */
    public int access(int i) {
        return SharedWords.getInt(memory, record(i) + PageFaultLayout.PERM_OFFSET);
    }

    /**
     * The PASID of a request.
     *
     * @param i which request
     * @return the PASID; 0 where {@link #hasPasid} is false
     */
    public int pasid(int i) {
        return SharedWords.getInt(memory, record(i) + PageFaultLayout.PASID_OFFSET);
    }

    /**
     * Whether a request carries a PASID.
     *
     * @param i which request
     * @return true if it does
     */
    public boolean hasPasid(int i) {
        return (SharedWords.getInt(memory, record(i) + PageFaultLayout.FLAGS_OFFSET) & PageFaultLayout.FLAG_PASID_VALID)
                != 0;
    }

    /**
     * How far the device would like pages, as a hint.
     *
     * @param i which request
     * @return bytes, 0 where the device said nothing
     */
    public long length(int i) {
        return Integer.toUnsignedLong(SharedWords.getInt(memory, record(i) + PageFaultLayout.LENGTH_OFFSET));
    }

    /**
     * When the group became whole.
     *
     * @return the queue's clock as the lane's producer read it last: not later than the moment itself, and earlier by as long
     *     as the producer has not polled
     */
    public long raisedAtNs() {
        return raisedAtNs;
    }

    /** Copies the records, all of them. */
    void copyTo(MemorySegment to, long at) {
        MemorySegment.copy(memory, record(0), to, at, (long) size * PageFaultLayout.SIZE);
    }

    /** Copies the records, all of them, to where an array has room for them. */
    void copyTo(long[] words) {
        for (int i = 0; i < size * (PageFaultLayout.SIZE / Long.BYTES); i++) {
            words[i] = SharedWords.getLong(memory, base + (long) i * Long.BYTES);
        }
    }

    /** Shows another group's records, copied to where they stay. */
    void keep(FaultGroup group, MemorySegment in, long at) {
        if (group.size == 1) {
            PageFaultLayout.copy(group.memory, group.base, in, at);
        } else {
            MemorySegment.copy(group.memory, group.base, in, at, (long) group.size * PageFaultLayout.SIZE);
        }
        show(in, at, group.size, group.raisedAtNs);
    }

    @Override
    public String toString() {
        if (size == 0) {
            return "no group";
        }
        StringBuilder text = new StringBuilder("group ")
                .append(groupIndex())
                .append(" of device ")
                .append(device())
                .append(", cookie 0x")
                .append(Integer.toHexString(cookie()));
        for (int i = 0; i < size; i++) {
            text.append(i == 0 ? ": " : ", ").append("0x").append(Long.toHexString(address(i)));
        }
        return text.toString();
    }

    private long record(int i) {
        if (i < 0 || i >= size) {
            throw new IndexOutOfBoundsException(
                    "i=" + i + ": allowed " + (size == 0 ? "nothing, for no group is shown" : "0 to " + (size - 1)));
        }
        return base + (long) i * PageFaultLayout.SIZE;
    }
}
