package dev.faultline.ffm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SocketCallsTest {
    @TempDir
    private Path directory;

    private Leaks before;
    private LinuxCalls linux;
    private SocketCalls sockets;

    @BeforeEach
    void open() throws Exception {
        linux = LinuxCalls.open();
        sockets = SocketCalls.open();
        before = Leaks.count();
    }

    @AfterEach
    void nothingIsLeft() throws Exception {
        before.assertNone();
        sockets.close();
        sockets.close();
        linux.close();
    }

    @Test
    void messagesGoThroughANamedSocketWhole() throws Exception {
        Path name = directory.resolve("queue");
        int listener = sockets.socket(LinuxCalls.SOCK_SEQPACKET);
        assertTrue(listener >= 0);
        assertEquals(0, sockets.bind(listener, name));
        assertTrue(Files.exists(name));
        assertEquals(0, sockets.listen(listener, 1));
        AtomicReference<Throwable> failed = new AtomicReference<>();
        Thread peer = Thread.ofPlatform().start(() -> {
            try (LinuxCalls ownLinux = LinuxCalls.open();
                    SocketCalls own = SocketCalls.open();
                    Region buffer = Region.allocate(64)) {
                int fd = own.socket(LinuxCalls.SOCK_SEQPACKET);
                assertEquals(0, own.connect(fd, name));
                SharedWords.putLong(buffer.segment(), 0, 77);
                assertEquals(40, ownLinux.write(fd, buffer.segment(), 40));
                assertEquals(8, ownLinux.write(fd, buffer.segment(), 8));
                assertEquals(0, ownLinux.close(fd));
            } catch (Throwable t) {
                failed.set(t);
            }
        });
        int accepted = sockets.accept(listener);
        assertTrue(accepted >= 0, () -> Errno.name(-accepted));
        try (Region buffer = Region.allocate(64)) {
            assertEquals(40, linux.read(accepted, buffer.segment(), 64));
            assertEquals(77, SharedWords.getLong(buffer.segment(), 0));
            assertEquals(8, linux.read(accepted, buffer.segment(), 64));
            assertEquals(0, linux.read(accepted, buffer.segment(), 64), "the end of the conversation");
        }
        peer.join();
        assertEquals(null, failed.get());
        int late = sockets.socket(LinuxCalls.SOCK_SEQPACKET);
        assertEquals(-Errno.EADDRINUSE, sockets.bind(late, name));
        assertEquals(0, linux.close(accepted));
        assertEquals(0, linux.close(listener));
        assertEquals(-Errno.ECONNREFUSED, sockets.connect(late, name));
        Files.delete(name);
        assertEquals(-Errno.ENOENT, sockets.connect(late, name));
        assertEquals(0, linux.close(late));
    }

    @Test
    void aNameHasALimit() {
        int fd = sockets.socket(LinuxCalls.SOCK_SEQPACKET);
        Path longest = Path.of("x".repeat(108));
        String message = String.valueOf(assertThrows(IllegalArgumentException.class, () -> sockets.bind(fd, longest))
                .getMessage());
        assertTrue(message.endsWith(" of 108 bytes: allowed 1 to 107 bytes, a shorter directory"), message);
        assertThrows(IllegalArgumentException.class, () -> sockets.connect(fd, Path.of("")));
        assertEquals(-Errno.ENOENT, sockets.connect(fd, Path.of("/nowhere/" + "x".repeat(98))), "107 bytes");
        assertEquals(0, linux.close(fd));
        assertEquals(-Errno.EBADF, sockets.listen(-1, 1));
        assertEquals(-Errno.EBADF, sockets.accept(-1));
        assertTrue(sockets.socket(77) < 0);
    }
}
