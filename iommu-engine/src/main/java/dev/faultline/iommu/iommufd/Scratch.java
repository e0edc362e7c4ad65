package dev.faultline.iommu.iommufd;

import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Where a command of an {@link Iommufd} has its structure, and what that points to: a page of the process it is.
 *
 * <p>Threads: one at a time. Lifetime: the program's.
 */
final class Scratch {
    /** Where the first one lies; others behind. */
    static final long FIRST_ADDRESS = 0x1_0000L;

    /** What a structure points to. */
    static final int DATA = 2048;

    static final int BYTES = 4096;

    private final long address;
    private final MemorySegment memory = MemorySegment.ofArray(new long[BYTES / Long.BYTES]);

    Scratch(UserMemory of, long address) {
        this.address = address;
        of.map(address, memory, true);
    }

    /** Where the structure is. */
    long address() {
        return address;
    }

    void clear(int bytes) {
        var _ = memory.asSlice(0, bytes).fill((byte) 0);
    }

    int u32(int at) {
        return memory.get(ValueLayout.JAVA_INT, at);
    }

    long u64(int at) {
        return memory.get(ValueLayout.JAVA_LONG, at);
    }

    void put32(int at, int value) {
        memory.set(ValueLayout.JAVA_INT, at, value);
    }

    void put64(int at, long value) {
        memory.set(ValueLayout.JAVA_LONG, at, value);
    }

    /** Puts data where structures point to. */
    void data(byte[] from) {
        MemorySegment.copy(MemorySegment.ofArray(from), 0, memory, DATA, from.length);
    }

    /** Data from where structures point to. */
    byte[] data(int bytes) {
        return memory.asSlice(DATA, bytes).toArray(ValueLayout.JAVA_BYTE);
    }
}
