package dev.faultline.ffm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class MemoryCallsTest {
    private static final int BYTES = 64 * 1024;

    private Leaks before;
    private LinuxCalls linux;
    private MemoryCalls memory;

    @BeforeEach
    void open() throws Exception {
        linux = LinuxCalls.open();
        memory = MemoryCalls.open();
        before = Leaks.count();
    }

    @AfterEach
    void nothingIsLeft() throws Exception {
        before.assertNone();
        memory.close();
        memory.close();
        linux.close();
    }

    @Test
    void twoMappingsOfAFileInMemoryAreOneMemory() throws Exception {
        int fd = memory.memfdCreate("faultline test");
        assertTrue(fd >= 0, () -> Errno.name(-fd));
        assertEquals(0, memory.ftruncate(fd, BYTES));
        long a = memory.map(fd, 0, BYTES);
        long b = memory.map(fd, 0, BYTES);
        assertTrue(a > 0 && b > 0 && a != b);
        assertTrue(Files.readString(Path.of("/proc/self/maps")).contains("memfd:faultline test"));
        MemorySegment late;
        try (Arena arena = Arena.ofShared()) {
            MemorySegment first = MemoryCalls.mapped(a, BYTES, arena);
            MemorySegment second = MemoryCalls.mapped(b, BYTES, arena);
            SharedWords.setLongRelease(first, BYTES - 8, 0x1234_5678_9abc_def0L);
            assertEquals(0x1234_5678_9abc_def0L, SharedWords.getLongAcquire(second, BYTES - 8));
            assertEquals(0, SharedWords.getLong(second, 0), "a new file is zeroes");
            assertThrows(IndexOutOfBoundsException.class, () -> SharedWords.getLong(first, BYTES));
            late = first;
        }
        assertThrows(IllegalStateException.class, () -> SharedWords.getLong(late, 0));
        assertEquals(0, memory.unmap(a, BYTES));
        assertEquals(0, memory.unmap(b, BYTES));
        assertEquals(0, linux.close(fd));
    }

    @Test
    void sealsTakeRightsAwayForGood() {
        int fd = memory.memfdCreate("sealed");
        assertEquals(0, memory.ftruncate(fd, BYTES));
        assertEquals(0, memory.seals(fd));
        int size = MemoryCalls.SEAL_SHRINK | MemoryCalls.SEAL_GROW;
        assertEquals(0, memory.addSeals(fd, size));
        assertEquals(size, memory.seals(fd));
        assertEquals(-Errno.EPERM, memory.ftruncate(fd, BYTES / 2));
        assertEquals(-Errno.EPERM, memory.ftruncate(fd, BYTES * 2L));
        assertEquals(0, memory.addSeals(fd, MemoryCalls.SEAL_SEAL));
        assertEquals(-Errno.EPERM, memory.addSeals(fd, MemoryCalls.SEAL_SHRINK));
        assertEquals(0, linux.close(fd));
        int[] pair = new int[2];
        assertEquals(0, linux.socketpair(LinuxCalls.SOCK_STREAM, pair));
        assertEquals(-Errno.EINVAL, memory.seals(pair[0]), "only files in memory have seals");
        assertEquals(0, linux.close(pair[0]));
        assertEquals(0, linux.close(pair[1]));
    }

    @Test
    void zeroesComeBackWhenPagesAreGivenUp() {
        long address = memory.mapZeroes(BYTES);
        assertTrue(address > 0);
        try (Arena arena = Arena.ofShared()) {
            MemorySegment segment = MemoryCalls.mapped(address, BYTES, arena);
            SharedWords.putLong(segment, 4096, -1);
            assertEquals(0, memory.advise(address, BYTES, MemoryCalls.DONT_NEED));
            assertEquals(0, SharedWords.getLong(segment, 4096));
        }
        assertEquals(0, memory.unmap(address, BYTES));
    }

    @Test
    void whatTheKernelRefusesIsSaid() {
        assertEquals(-Errno.EBADF, memory.map(-1, 0, 4096));
        assertEquals(-Errno.EINVAL, memory.mapZeroes(0));
        assertEquals(-Errno.EINVAL, memory.unmap(1, 4096));
        assertEquals(-Errno.EINVAL, memory.advise(1, 4096, MemoryCalls.DONT_NEED));
        assertEquals(-Errno.EBADF, memory.ftruncate(-1, 0));
        assertEquals(-Errno.EBADF, memory.addSeals(-1, MemoryCalls.SEAL_GROW));
        int fd = memory.memfdCreate("x".repeat(249));
        assertTrue(fd >= 0);
        assertEquals(-Errno.EINVAL, memory.ftruncate(fd, -1));
        assertEquals(0, linux.close(fd));
        assertEquals(
                "name of 250 bytes: allowed up to 249 bytes",
                assertThrows(IllegalArgumentException.class, () -> memory.memfdCreate("x".repeat(250)))
                        .getMessage());
    }

    @Test
    void aUserfaultfdAgreesOnItsInterface() {
        int fd = memory.userfaultfd();
        assumeTrue(fd >= 0, () -> "userfaultfd: " + Errno.name(-fd));
        try (Region api = Region.allocate(24)) {
            // struct uffdio_api { u64 api; u64 features; u64 ioctls; }, UFFDIO_API
            SharedWords.putLong(api.segment(), 0, 0xaa);
            assertEquals(0, linux.ioctl(fd, 0xc018_aa3fL, api.segment()));
            assertTrue(SharedWords.getLong(api.segment(), 16) != 0);
            assertEquals(-Errno.EINVAL, linux.ioctl(fd, 0xc018_aa7fL, api.segment()), "no such request");
        }
        assertEquals(0, linux.close(fd));
    }
}
