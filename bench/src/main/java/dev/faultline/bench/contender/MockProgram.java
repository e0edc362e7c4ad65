package dev.faultline.bench.contender;

import dev.faultline.iommu.iommufd.SystemCalls;
import dev.faultline.iommu.iommufd.mock.MockDriver;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A program with the emulated {@code /dev/iommu}: a device of the mock's, whose faults go to a queue by way of a nested page table. */
final class MockProgram {
    static final int FIRST_TABLE = 7;
    static final int SECOND_TABLE = 8;
    static final int DEVICE = 3;
    static final int MOCK = 2;
    static final int TEST = 0x3ba0;
    static final int TEST_BYTES = 72;
    static final int INVALIDATE = 0x3b8d;
    static final int DATA_TYPE = 0xdeadbeef;

    private static final long MEMORY = 0x1_0000_0000L;
    private static final int BYTES = 1 << 16;
    /** Where a program's data is, behind the structures. */
    private static final int DATA = 4096;

    final MockDriver driver = MockDriver.open();
    private final MemorySegment memory = Arena.ofAuto().allocate(BYTES, Long.BYTES);
    private final SystemCalls calls;

    MockProgram() {
        UserMemory user = new UserMemory();
        user.map(MEMORY, memory, true);
        calls = SystemCalls.open(user, driver);
        if (calls.open(SystemCalls.DEVICE, 2) != 3) {
            throw new IllegalStateException("open: not descriptor 3");
        }
        int nestParentAndPasid = 9;
        int faultsAndPasid = 12;
        call(0x3b81, 12, 0, 0);
        call(TEST, TEST_BYTES, 12, 1, 0, 0, 0, 0, 4);
        call(0x3b8e, 16, 0, 0, 0);
        call(0x3b89, 48, nestParentAndPasid, DEVICE, 1, 0, 0, 0, 0, 0, 0, 0, 0);
        for (int i = 0; i < 2; i++) {
            call(0x3b89, 48, faultsAndPasid, DEVICE, 6, 0, 0, 0xdead, 8, data(), high(), 5, 0);
        }
        call(TEST, TEST_BYTES, 10, MOCK, 0, FIRST_TABLE);
    }

    static int data() {
        return (int) MEMORY + DATA;
    }

    static int high() {
        return (int) (MEMORY >>> Integer.SIZE);
    }

    /** Gives a command that has to go well; words that are not given are zero. */
    void call(int request, int... words) {
        memory.asSlice(0, TEST_BYTES).fill((byte) 0);
        MemorySegment.copy(words, 0, memory, ValueLayout.JAVA_INT, 0, words.length);
        int result = calls.ioctl(3, request, MEMORY);
        if (result != 0) {
            throw new IllegalStateException("command 0x" + Integer.toHexString(request) + ": " + result);
        }
    }
}
