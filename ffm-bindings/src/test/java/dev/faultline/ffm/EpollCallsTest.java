package dev.faultline.ffm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class EpollCallsTest {
    private Leaks before;
    private LinuxCalls linux;
    private EpollCalls epoll;
    private Region buffer;

    @BeforeEach
    void open() throws Exception {
        linux = LinuxCalls.open();
        epoll = EpollCalls.open();
        buffer = Region.allocate(16);
        before = Leaks.count();
    }

    @AfterEach
    void nothingIsLeft() throws Exception {
        before.assertNone();
        buffer.close();
        epoll.close();
        epoll.close();
        linux.close();
    }

    @Test
    void aSetTellsWhichOfItsDescriptorsHaveEvents() {
        MemorySegment s = buffer.segment();
        int set = epoll.create();
        int[] counters = new int[3];
        for (int i = 0; i < 3; i++) {
            counters[i] = linux.eventfd(i == 1 ? 5 : 0, true);
            assertEquals(0, epoll.add(set, counters[i], EpollCalls.IN, 0x1_0000_0001L * (i + 1)));
        }
        assertEquals(1, epoll.await(set, 0));
        assertEquals(EpollCalls.IN, epoll.events(0));
        assertEquals(0x2_0000_0002L, epoll.data(0));
        assertThrows(IndexOutOfBoundsException.class, () -> epoll.data(1));
        assertEquals(8, linux.read(counters[1], s, 8));
        assertEquals(5, SharedWords.getLong(s, 0));
        assertEquals(-Errno.EAGAIN, linux.read(counters[1], s, 8));
        assertEquals(0, epoll.await(set, 0));
        assertThrows(IndexOutOfBoundsException.class, () -> epoll.events(0));

        for (int fd : counters) {
            assertEquals(8, linux.write(fd, s, 8));
        }
        assertEquals(3, epoll.await(set, -1));
        long seen = 0;
        for (int i = 0; i < 3; i++) {
            assertEquals(EpollCalls.IN, epoll.events(i));
            seen += epoll.data(i);
        }
        assertEquals(0x6_0000_0006L, seen);

        assertEquals(0, epoll.delete(set, counters[0]));
        assertEquals(0, epoll.modify(set, counters[1], EpollCalls.OUT, -1));
        assertEquals(0, epoll.modify(set, counters[2], EpollCalls.IN | EpollCalls.EDGE, 9));
        assertEquals(2, epoll.await(set, 0));
        assertEquals(1, epoll.await(set, 0), "an edge is told once");
        assertEquals(EpollCalls.OUT, epoll.events(0));
        assertEquals(-1, epoll.data(0));
        for (int fd : counters) {
            assertEquals(0, linux.close(fd));
        }
        assertEquals(0, epoll.await(set, 1), "what is closed has left the set");
        assertEquals(0, linux.close(set));
    }

    @Test
    void theOtherEndsEndIsAnEvent() {
        int set = epoll.create();
        int[] pair = new int[2];
        assertEquals(0, linux.socketpair(LinuxCalls.SOCK_SEQPACKET, pair));
        assertEquals(0, epoll.add(set, pair[0], EpollCalls.IN, 4));
        assertEquals(0, linux.close(pair[1]));
        assertEquals(1, epoll.await(set, -1));
        assertEquals(EpollCalls.IN | EpollCalls.HUP, epoll.events(0));
        assertEquals(0, linux.close(pair[0]));
        assertEquals(0, linux.close(set));
    }

    @Test
    void whatTheKernelRefusesIsSaid() {
        int set = epoll.create();
        int counter = linux.eventfd(0, false);
        assertTrue(set >= 0 && counter >= 0);
        assertEquals(-Errno.EBADF, epoll.add(set, -1, EpollCalls.IN, 0));
        assertEquals(-Errno.EINVAL, epoll.add(counter, set, EpollCalls.IN, 0), "no set");
        assertEquals(-Errno.ENOENT, epoll.modify(set, counter, EpollCalls.IN, 0));
        assertEquals(-Errno.ENOENT, epoll.delete(set, counter));
        assertEquals(0, epoll.add(set, counter, EpollCalls.IN, 0));
        assertEquals(-Errno.EEXIST, epoll.add(set, counter, EpollCalls.IN, 0));
        assertEquals(-Errno.EBADF, epoll.await(-1, 0));
        assertEquals(0, linux.close(counter));
        assertEquals(0, linux.close(set));
        assertEquals(
                "initial=-1: allowed 0 or more",
                assertThrows(IllegalArgumentException.class, () -> linux.eventfd(-1, true))
                        .getMessage());
    }
}
