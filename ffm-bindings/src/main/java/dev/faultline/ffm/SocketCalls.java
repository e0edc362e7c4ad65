package dev.faultline.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Optional;

/**
 * The Linux calls by which one process reaches another through a local socket with a name.
 *
 * <p>Threads, ownership and errors: as {@link LinuxCalls}. Progress: {@link #accept} and {@link #connect} may wait for the other
 * process. A name stays in the file system until somebody deletes it. Source: {@code unix(7)} and the manual pages of section
 * 2.
 */
public final class SocketCalls extends CallState {
    /** The longest name of a socket, in bytes. */
    public static final int LONGEST_NAME = 107;

    static final int FAMILY_BYTES = 2;

    private SocketCalls() {
        super(FAMILY_BYTES + LONGEST_NAME + 1);
    }

    /**
     * Opens an instance for the calling thread, or for a thread it will be handed to.
     *
     * @return the instance
     * @throws UnsupportedOperationException if this machine lacks the calls; the message is that of {@link #missing}
     */
    public static SocketCalls open() {
        require(missing());
        return new SocketCalls();
    }

    /**
     * Why the calls cannot be made here.
     *
     * @return the reason and its remedy, or empty if {@link #open} works
     */
    public static Optional<String> missing() {
        return Availability.MISSING;
    }

    /**
     * {@code socket(2)}: a local socket, closed on exec.
     *
     * @param type {@link LinuxCalls#SOCK_SEQPACKET} or another socket type
     * @return the descriptor, which is the caller's to close, or a negative errno
     */
    public int socket(int type) {
        try {
            return result(
                    (int) Functions.SOCKET.invokeExact(errno, LinuxCalls.AF_UNIX, type | LinuxCalls.SOCK_CLOEXEC, 0));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code bind(2)}: gives a socket a name.
     *
     * @param fd a socket
     * @param name a path at which there is nothing
     * @return 0 or a negative errno
     * @throws IllegalArgumentException if the name is empty or longer than {@link #LONGEST_NAME}
     */
    public int bind(int fd, Path name) {
        int bytes = address(name);
        try {
            return result((int) Functions.BIND.invokeExact(errno, fd, scratch, bytes));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code listen(2)}: lets others connect.
     *
     * @param fd a socket with a name
     * @param backlog how many may wait to be accepted
     * @return 0 or a negative errno
     */
    public int listen(int fd, int backlog) {
        try {
            return result((int) Functions.LISTEN.invokeExact(errno, fd, backlog));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code accept4(2)}: takes one who connects, closed on exec.
     *
     * @param fd a socket that listens
     * @return the descriptor of this end, which is the caller's to close, or a negative errno
     */
    public int accept(int fd) {
        try {
            return result((int) Functions.ACCEPT.invokeExact(
                    errno, fd, MemorySegment.NULL, MemorySegment.NULL, LinuxCalls.SOCK_CLOEXEC));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code connect(2)}: reaches a socket by its name.
     *
     * @param fd a socket of the same type
     * @param name the other's name
     * @return 0 or a negative errno: {@link Errno#ENOENT} if there is no such name, {@link Errno#ECONNREFUSED} if nobody listens
     * @throws IllegalArgumentException if the name is empty or longer than {@link #LONGEST_NAME}
     */
    public int connect(int fd, Path name) {
        int bytes = address(name);
        try {
            return result((int) Functions.CONNECT.invokeExact(errno, fd, scratch, bytes));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /** Writes {@code struct sockaddr_un { u16 family; char path[108]; }} and says how long it is. */
    private int address(Path name) {
        byte[] bytes = name.toString().getBytes(StandardCharsets.UTF_8);
        if (bytes.length == 0 || bytes.length > LONGEST_NAME) {
            throw new IllegalArgumentException("name=" + name + " of " + bytes.length + " bytes: allowed 1 to "
                    + LONGEST_NAME + " bytes, a shorter directory");
        }
        scratch.fill((byte) 0);
        scratch.set(JAVA_SHORT, 0, (short) LinuxCalls.AF_UNIX);
        MemorySegment.copy(MemorySegment.ofArray(bytes), 0, scratch, FAMILY_BYTES, bytes.length);
        return FAMILY_BYTES + bytes.length + 1;
    }

    /** Looked at once: whether {@link Functions}, which is not touched here, can be loaded. */
    private static final class Availability {
        static final Optional<String> MISSING = CLibrary.missing("socket", "bind", "listen", "accept4", "connect");
    }

    private static final class Functions {
        static final MethodHandle SOCKET =
                CLibrary.bind("socket", CLibrary.FIXED, FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT));
        static final MethodHandle BIND =
                CLibrary.bind("bind", CLibrary.FIXED, FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS, JAVA_INT));
        static final MethodHandle LISTEN =
                CLibrary.bind("listen", CLibrary.FIXED, FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT));
        static final MethodHandle ACCEPT = CLibrary.bind(
                "accept4", CLibrary.FIXED, FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS, ADDRESS, JAVA_INT));
        static final MethodHandle CONNECT =
                CLibrary.bind("connect", CLibrary.FIXED, FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS, JAVA_INT));

        private Functions() {}
    }
}
