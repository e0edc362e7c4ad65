package dev.faultline.ffm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class LinuxCallsTest {
    private LinuxCalls calls;
    private Region buffer;
    private long descriptorsBefore;

    @BeforeEach
    void open() throws Exception {
        assertEquals(Optional.empty(), LinuxCalls.missing());
        calls = LinuxCalls.open();
        buffer = Region.allocate(256);
        descriptorsBefore = descriptors();
    }

    @AfterEach
    void nothingIsLeft() throws Exception {
        assertEquals(descriptorsBefore, descriptors());
        buffer.close();
        calls.close();
        calls.close();
    }

    private static long descriptors() throws Exception {
        try (Stream<Path> fds = Files.list(Path.of("/proc/self/fd"))) {
            return fds.count();
        }
    }

    @Test
    void messagesGoThroughASocketPairWhole() {
        int[] fds = new int[2];
        assertEquals(0, calls.socketpair(LinuxCalls.SOCK_SEQPACKET, fds));
        MemorySegment s = buffer.segment();
        try {
            assertEquals(0, calls.poll(fds[1], LinuxCalls.POLLIN, 0));
            for (int i = 0; i < 40; i++) {
                SharedWords.putLong(s, 0, 0x0102_0304_0506_0708L + i);
                assertEquals(40, calls.write(fds[0], s, 40));
                assertEquals(8, calls.write(fds[0], s, 8));
                assertEquals(LinuxCalls.POLLIN, calls.poll(fds[1], LinuxCalls.POLLIN, 1000));
                assertEquals(40, calls.read(fds[1], s, 256));
                s.fill((byte) 0);
                assertEquals(8, calls.read(fds[1], s, 256));
                assertEquals(0x0102_0304_0506_0708L + i, SharedWords.getLong(s, 0));
            }
            assertEquals(0, calls.close(fds[0]));
            assertEquals(0, calls.read(fds[1], s, 256), "the end of the conversation");
            int revents = calls.poll(fds[1], LinuxCalls.POLLIN, 0);
            assertEquals(LinuxCalls.POLLHUP, revents & LinuxCalls.POLLHUP);
        } finally {
            assertEquals(0, calls.close(fds[1]));
        }
    }

    @Test
    void severalDescriptorsAreLookedAtTogether() {
        int[] a = new int[2];
        int[] b = new int[2];
        assertEquals(0, calls.socketpair(LinuxCalls.SOCK_SEQPACKET, a));
        assertEquals(0, calls.socketpair(LinuxCalls.SOCK_STREAM, b));
        assertEquals(LinuxCalls.SOCK_SEQPACKET, calls.socketType(a[0]));
        assertEquals(LinuxCalls.SOCK_STREAM, calls.socketType(b[0]));
        assertEquals(-Errno.EBADF, calls.socketType(-1));
        MemorySegment s = buffer.segment();
        int[] fds = {a[0], -1, b[0]};
        int[] events = {LinuxCalls.POLLIN, LinuxCalls.POLLIN, LinuxCalls.POLLIN | LinuxCalls.POLLOUT};
        int[] revents = new int[3];
        try {
            assertEquals(1, calls.poll(fds, events, revents, 0));
            assertArrayEquals(new int[] {0, 0, LinuxCalls.POLLOUT}, revents);
            assertEquals(8, calls.write(a[1], s, 8));
            assertEquals(2, calls.poll(fds, events, revents, 1000));
            assertArrayEquals(new int[] {LinuxCalls.POLLIN, 0, LinuxCalls.POLLOUT}, revents);
            assertEquals(8, calls.read(a[0], s, 8));
            fds[2] = -1;
            assertEquals(0, calls.poll(fds, events, revents, 1));
            assertArrayEquals(new int[3], revents);
        } finally {
            for (int fd : new int[] {a[0], a[1], b[0], b[1]}) {
                assertEquals(0, calls.close(fd));
            }
        }
        fds[0] = a[0];
        assertEquals(1, calls.poll(fds, events, revents, 0));
        assertEquals(LinuxCalls.POLLNVAL, revents[0]);
        assertEquals(
                "fds.length=3, events.length=3, revents.length=2: allowed the same three, up to 16",
                assertThrows(IllegalArgumentException.class, () -> calls.poll(fds, events, new int[2], 0))
                        .getMessage());
    }

    @Test
    void aDescriptorThatDoesNotBlockSaysSo() {
        int[] fds = new int[2];
        assertEquals(0, calls.socketpair(LinuxCalls.SOCK_SEQPACKET, fds));
        assertEquals(0, calls.setNonBlocking(fds[0], true));
        assertEquals(-Errno.EAGAIN, calls.read(fds[0], buffer.segment(), 8));
        assertEquals(0, calls.setNonBlocking(fds[0], false));
        assertEquals(8, calls.write(fds[1], buffer.segment(), 8));
        assertEquals(8, calls.read(fds[0], buffer.segment(), 8));
        assertEquals(0, calls.close(fds[0]));
        assertEquals(0, calls.close(fds[1]));
        assertEquals(-Errno.EBADF, calls.setNonBlocking(-1, true));
    }

    @Test
    void everyCallSaysItsErrno() {
        MemorySegment s = buffer.segment();
        assertEquals(-Errno.EBADF, calls.read(-1, s, 8));
        assertEquals(-Errno.EBADF, calls.write(-1, s, 8));
        assertEquals(-Errno.EBADF, calls.close(-1));
        assertEquals(-Errno.EINVAL, calls.socketpair(77, new int[2]));
        assertEquals(-Errno.EINVAL, calls.setAffinity(1023), "a machine has no processor 1023");
        assertEquals("EBADF", Errno.name(Errno.EBADF));
        assertEquals("errno 9999", Errno.name(9999));
        // The other end gone: SIGPIPE is ignored in a JVM, so write says EPIPE.
        int[] fds = new int[2];
        assertEquals(0, calls.socketpair(LinuxCalls.SOCK_SEQPACKET, fds));
        assertEquals(0, calls.close(fds[1]));
        assertEquals(-Errno.EPIPE, calls.write(fds[0], s, 8));
        assertEquals(0, calls.close(fds[0]));
    }

    @Test
    void misuseIsNamed() {
        MemorySegment s = buffer.segment();
        assertThrows(IndexOutOfBoundsException.class, () -> calls.read(0, s, 257));
        assertThrows(IndexOutOfBoundsException.class, () -> calls.write(1, s, -1));
        assertEquals(
                "cpu=1024: allowed 0 to 1023",
                assertThrows(IllegalArgumentException.class, () -> calls.setAffinity(1024))
                        .getMessage());
        assertEquals(
                "fds.length=3: allowed 2",
                assertThrows(IllegalArgumentException.class, () -> calls.socketpair(5, new int[3]))
                        .getMessage());
    }

    @Test
    void aThreadStaysWhereItIsPut() throws Exception {
        int[] before = calls.affinity();
        assertTrue(before.length > 0);
        int[][] seen = new int[1][];
        int last = before[before.length - 1];
        Thread thread = Thread.ofPlatform().start(() -> {
            try (LinuxCalls own = LinuxCalls.open()) {
                assertEquals(0, own.setAffinity(last));
                seen[0] = own.affinity();
            }
        });
        thread.join();
        assertArrayEquals(new int[] {last}, seen[0]);
        assertArrayEquals(before, calls.affinity(), "only the thread that asked is moved");
    }
}
