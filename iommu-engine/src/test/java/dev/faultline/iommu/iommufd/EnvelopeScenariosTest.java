package dev.faultline.iommu.iommufd;

import static dev.faultline.ffm.Errno.E2BIG;
import static dev.faultline.ffm.Errno.EFAULT;
import static dev.faultline.ffm.Errno.EINVAL;
import static dev.faultline.ffm.Errno.ENOENT;
import static dev.faultline.ffm.Errno.ENOTTY;
import static dev.faultline.ffm.Errno.EOPNOTSUPP;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What every command is looked at for before it runs. Section A. */
class EnvelopeScenariosTest {
    private static final int DESTROY = 0x3b80;
    private static final int IOAS_ALLOC = 0x3b81;
    private static final int HWPT_ALLOC = 0x3b89;
    private static final int GET_HW_INFO = 0x3b8a;
    private static final int FAULT_QUEUE_ALLOC = 0x3b8e;

    /** The smallest structure and the whole one, by command. */
    private static final Map<Integer, int[]> SIZES = new TreeMap<>(Map.ofEntries(
            Map.entry(0x3b80, new int[] {8, 8}),
            Map.entry(0x3b81, new int[] {12, 12}),
            Map.entry(0x3b82, new int[] {24, 24}),
            Map.entry(0x3b83, new int[] {40, 40}),
            Map.entry(0x3b84, new int[] {32, 32}),
            Map.entry(0x3b85, new int[] {40, 40}),
            Map.entry(0x3b86, new int[] {24, 24}),
            Map.entry(0x3b87, new int[] {24, 24}),
            Map.entry(0x3b88, new int[] {12, 12}),
            Map.entry(0x3b89, new int[] {24, 48}),
            Map.entry(0x3b8a, new int[] {32, 40}),
            Map.entry(0x3b8b, new int[] {16, 16}),
            Map.entry(0x3b8c, new int[] {48, 48}),
            Map.entry(0x3b8d, new int[] {32, 32}),
            Map.entry(0x3b8e, new int[] {16, 16}),
            Map.entry(0x3b8f, new int[] {40, 40}),
            Map.entry(0x3b90, new int[] {24, 40}),
            Map.entry(0x3b91, new int[] {24, 24}),
            Map.entry(0x3b92, new int[] {8, 8}),
            Map.entry(0x3b93, new int[] {28, 32}),
            Map.entry(0x3b94, new int[] {40, 40})));

    private final Program program = new Program();

    @AfterEach
    void close() {
        program.close();
    }

    /** Gives a command whose structure is at the arena's beginning. */
    private int ioctl(int request) {
        return program.calls.ioctl(program.fd, request, Program.ARENA);
    }

    private void size(int bytes) {
        var _ = program.arena.asSlice(0, 256).fill((byte) 0);
        program.write(0, bytes);
    }

    @Test
    void scenario1DestroyOfNothing() {
        assertEquals(-ENOENT, program.destroy(0));
    }

    @Test
    void scenario2NoStructure() {
        assertEquals(-EFAULT, program.calls.ioctl(program.fd, DESTROY, 0));
    }

    @Test
    void scenario3NumberBelowTheTable() {
        assertEquals(-ENOTTY, ioctl(0x3b7f));
    }

    @Test
    void scenarios4And5WrongUpperBits() {
        int encoded = 0xc0083b80;
        size(8);
        assertEquals(-ENOTTY, ioctl(encoded));
        assertEquals(-EFAULT, program.calls.ioctl(program.fd, encoded, 0), "the pointer is looked at first");
    }

    @Test
    void scenario6StructuresThatAreTooSmall() {
        SIZES.forEach((request, sizes) -> {
            size(sizes[0] - 1);
            assertEquals(-EINVAL, ioctl(request), Integer.toHexString(request));
        });
    }

    @Test
    void scenario7BytesThatAreNotKnown() {
        SIZES.forEach((request, sizes) -> {
            size(sizes[1] + 1);
            program.arena.set(ValueLayout.JAVA_BYTE, sizes[1], (byte) 0xff);
            assertEquals(-E2BIG, ioctl(request), Integer.toHexString(request));
        });
    }

    @Test
    void scenario8ZerosAfterTheStructure() {
        SIZES.forEach((request, sizes) -> {
            size(sizes[1]);
            int exact;
            int longer;
            try (Program other = new Program()) {
                other.write(0, sizes[1]);
                exact = other.calls.ioctl(other.fd, request, Program.ARENA);
            }
            try (Program other = new Program()) {
                other.write(0, sizes[1] + 1);
                longer = other.calls.ioctl(other.fd, request, Program.ARENA);
            }
            assertEquals(exact, longer, Integer.toHexString(request));
        });
    }

    @Test
    void scenario9DestroyWithALongStructure() {
        size(16);
        assertEquals(-ENOENT, ioctl(DESTROY));
        program.write(2, 1);
        assertEquals(-E2BIG, ioctl(DESTROY));
    }

    @Test
    void scenario10AShortPageTableIsAnsweredShortly() {
        int ioas = program.ioas();
        Program.Device device = program.device(ioas, 0);
        var _ = program.arena.asSlice(0, 64).fill((byte) 0x5a);
        program.write(0, 24, 0, device.id(), ioas, 0, 0);
        assertEquals(0, ioctl(HWPT_ALLOC));
        assertNotEquals(0, program.read(4));
        assertEquals(0x5a5a5a5a, program.read(6));
        assertEquals(0x5a5a5a5a, program.read(11));
    }

    @Test
    void scenario11AShortHardwareInfoIsAnsweredShortly() {
        Program.Device device = program.device(program.ioas(), 0);
        var _ = program.arena.asSlice(0, 64).fill((byte) 0x5a);
        program.write(0, 32, 0, device.id(), 0, 0, 0, 0, 0);
        assertEquals(0, ioctl(GET_HW_INFO));
        assertEquals(0x5a5a5a5a, program.read(8));
    }

    @Test
    void scenario12FlagsThatAreNotKnown() {
        assertEquals(-EOPNOTSUPP, program.ioctl(IOAS_ALLOC, 0, 1, 0));
        assertEquals(1, program.ioas(), "no id was used");
    }

    @Test
    void scenario13TheLowestFreeId() {
        int first = program.ioas();
        int second = program.ioas();
        assertEquals(first + 1, second);
        assertEquals(0, program.destroy(first));
        assertEquals(first, program.ioas());
    }

    @Test
    void scenario14AnAnswerThatCannotBeWritten() {
        long page = 0x1_0010_0000L;
        program.memory.map(page, MemorySegment.ofArray(new int[] {16, 0, 0, 0}), false);
        int[] before = program.faults();
        assertEquals(-EFAULT, program.calls.ioctl(program.fd, FAULT_QUEUE_ALLOC, page));
        int[] after = program.faults();
        assertEquals(before[0] + 1, after[0]);
        assertEquals(before[1] + 1, after[1]);
    }
}
