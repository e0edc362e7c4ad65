package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.iommufd.mock.MockDriver;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The file layer and the dispatch of commands. */
class SystemCallsTest {
    private static final long ARENA = 0x1_0000_0000L;
    private static final int IOAS_ALLOC = 0x3b81;
    private static final int FAULT_QUEUE_ALLOC = 0x3b8e;

    private final MemorySegment arena = MemorySegment.ofArray(new long[8192]);
    private final UserMemory memory = new UserMemory();
    private final MockDriver driver = MockDriver.open();
    private final SystemCalls calls = SystemCalls.open(memory, driver);

    @BeforeEach
    void map() {
        memory.map(ARENA, arena, true);
    }

    @AfterEach
    void close() {
        calls.close();
        driver.close();
    }

    private int ioctl(int fd, int request, int... words) {
        for (int i = 0; i < words.length; i++) {
            arena.set(ValueLayout.JAVA_INT, 4L * i, words[i]);
        }
        return calls.ioctl(fd, request, ARENA);
    }

    private int word(int i) {
        return arena.get(ValueLayout.JAVA_INT, 4L * i);
    }

    @Test
    void descriptorsAreTheLowestFree() {
        assertEquals(3, calls.open("/dev/iommu", 2));
        assertEquals(4, calls.dup(3));
        assertEquals(5, calls.open("/dev/iommu", 2));
        assertEquals(0, calls.close(4));
        assertEquals(4, calls.fcntl(3, 0, 0));
        assertEquals(9, calls.fcntl(3, 0, 9));
        calls.limitDescriptors(6);
        assertEquals(0, calls.close(5));
        assertEquals(5, calls.dup(3));
        assertEquals(-Errno.EMFILE, calls.dup(3));
        assertEquals(-Errno.EINVAL, calls.fcntl(3, 0, 6));
        assertEquals(-Errno.EBADF, calls.close(6));
        assertEquals(-Errno.EBADF, calls.read(17, ARENA, 40));
        assertEquals(-Errno.ENOENT, calls.open("/dev/null", 2));
    }

    @Test
    void aContextLivesUntilItsLastDescriptor() {
        int fd = calls.open("/dev/iommu", 2);
        assertEquals(0, ioctl(fd, FAULT_QUEUE_ALLOC, 16, 0, 0, 0));
        int fault = word(3);
        assertEquals(4, fault);
        int copy = calls.dup(fault);
        assertEquals(0, calls.close(fd));
        assertEquals(0, calls.close(fault));
        assertEquals(4, calls.poll(copy, 0x145, 0), "only POLLOUT");
        assertEquals(0, calls.read(copy, ARENA, 40));
        assertEquals(0, calls.close(copy));
        assertEquals(-Errno.EBADF, calls.read(copy, ARENA, 40));
    }

    @Test
    void aRefusedAnswerLeavesNothing() {
        MemorySegment page = MemorySegment.ofArray(new int[] {16, 0, 0, 0});
        memory.map(0x1_0010_0000L, page, false);
        int fd = calls.open("/dev/iommu", 2);
        assertEquals(-Errno.EFAULT, calls.ioctl(fd, FAULT_QUEUE_ALLOC, 0x1_0010_0000L));
        assertEquals(0, ioctl(fd, IOAS_ALLOC, 12, 0, 0));
        assertEquals(1, word(2));
        assertEquals(0, ioctl(fd, FAULT_QUEUE_ALLOC, 16, 0, 0, 0));
        assertEquals(2, word(2));
        assertEquals(4, word(3));
    }

    @Test
    void everyUseOfAResourceMayBeRefused() {
        int fd = calls.open("/dev/iommu", 2);
        for (int nth = 0; ; nth++) {
            int[] left = {nth};
            calls.allocations().gate(what -> {
                if (left[0]-- == 0) {
                    throw new ErrnoException(Errno.ENOMEM);
                }
            });
            int result = ioctl(fd, FAULT_QUEUE_ALLOC, 16, 0, 0, 0);
            calls.allocations().gate(what -> {});
            if (result == 0) {
                assertEquals(2, nth, "an id and a descriptor");
                assertEquals(1, word(2));
                assertEquals(4, word(3));
                return;
            }
            assertEquals(-Errno.ENOMEM, result);
        }
    }
}
