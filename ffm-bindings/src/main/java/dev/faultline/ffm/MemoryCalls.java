package dev.faultline.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.util.Optional;

/**
 * The Linux calls that make, seal and map memory.
 *
 * <p>Threads, ownership and errors: as {@link LinuxCalls}; mappings too are the caller's. Progress: none waits for another
 * thread. Units: bytes; sizes and offsets of mappings are rounded to pages by the kernel, or refused. Source: the manual pages
 * of section 2; {@code include/uapi/linux/memfd.h}, {@code fcntl.h}, {@code mman.h} and {@code userfaultfd.h}, the same numbers
 * on x86-64 and AArch64.
 */
public final class MemoryCalls extends CallState {
    /** {@code F_SEAL_SEAL}: no more seals. */
    public static final int SEAL_SEAL = 0x1;

    /** {@code F_SEAL_SHRINK}: the file keeps at least its size, so that nobody who has mapped it is killed by SIGBUS. */
    public static final int SEAL_SHRINK = 0x2;

    /** {@code F_SEAL_GROW}: the file keeps at most its size. */
    public static final int SEAL_GROW = 0x4;

    /** {@code MADV_DONTNEED}: the pages are given up; what is read next is zeroes, or what the file has. */
    public static final int DONT_NEED = 4;

    /** {@code MADV_DONTFORK}: a child does not get the mapping. */
    public static final int DONT_FORK = 10;

    static final int MFD_CLOEXEC = 1;
    static final int MFD_ALLOW_SEALING = 2;
    static final int F_ADD_SEALS = 1033;
    static final int F_GET_SEALS = 1034;
    static final int PROT_READ_WRITE = 3;
    static final int MAP_SHARED = 0x1;
    static final int MAP_PRIVATE = 0x2;
    static final int MAP_ANONYMOUS = 0x20;
    static final int MAP_POPULATE = 0x8000;
    static final long O_CLOEXEC = 0x80000;
    static final long UFFD_USER_MODE_ONLY = 1;
    private static final int LONGEST_NAME = 249;

    private MemoryCalls() {
        super(LONGEST_NAME + 1);
    }

    /**
     * Opens an instance for the calling thread, or for a thread it will be handed to.
     *
     * @return the instance
     * @throws UnsupportedOperationException if this machine lacks the calls; the message is that of {@link #missing}
     */
    public static MemoryCalls open() {
        require(missing());
        return new MemoryCalls();
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
     * {@code memfd_create(2)}: a file that lies in memory only and takes seals, empty, closed on exec.
     *
     * @param name what {@code /proc/self/maps} shows it as, up to 249 bytes
     * @return the descriptor, which is the caller's to close, or a negative errno
     * @throws IllegalArgumentException if the name is too long
     */
    public int memfdCreate(String name) {
        byte[] bytes = name.getBytes(StandardCharsets.UTF_8);
        if (bytes.length > LONGEST_NAME) {
            throw new IllegalArgumentException(
                    "name of " + bytes.length + " bytes: allowed up to " + LONGEST_NAME + " bytes");
        }
        int refused = Refusal.errno("memfd_create");
        if (refused != 0) {
            return -refused;
        }
        scratch.fill((byte) 0);
        scratch.copyFrom(MemorySegment.ofArray(bytes));
        try {
            return result((int) Functions.MEMFD_CREATE.invokeExact(errno, scratch, MFD_CLOEXEC | MFD_ALLOW_SEALING));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code fcntl(2)} for {@code F_ADD_SEALS}: takes rights away from everybody, for good.
     *
     * @param fd of a file made by {@link #memfdCreate}
     * @param seals {@link #SEAL_SHRINK} and so on
     * @return 0 or a negative errno
     */
    public int addSeals(int fd, int seals) {
        return fcntl(fd, F_ADD_SEALS, seals);
    }

    /**
     * {@code fcntl(2)} for {@code F_GET_SEALS}: what a peer has promised, before its file is mapped.
     *
     * @param fd of a file in memory
     * @return {@link #SEAL_SHRINK} and so on, or a negative errno
     */
    public int seals(int fd) {
        return fcntl(fd, F_GET_SEALS, 0);
    }

    private int fcntl(int fd, int command, int argument) {
        try {
            return result((int) Functions.FCNTL.invokeExact(errno, fd, command, argument));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code ftruncate(2)}: gives a file a size.
     *
     * @param fd a descriptor
     * @param bytes the size, 0 or more
     * @return 0 or a negative errno
     */
    public int ftruncate(int fd, long bytes) {
        try {
            return result((int) Functions.FTRUNCATE.invokeExact(errno, fd, bytes));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code mmap(2)} of a file, shared, readable and writable, all its pages there at once.
     *
     * @param fd a descriptor
     * @param offset where in the file, a multiple of the page size
     * @param bytes how much, 1 or more
     * @return the address, which is the caller's to unmap, or a negative errno
     */
    public long map(int fd, long offset, long bytes) {
        return mmap(bytes, MAP_SHARED | MAP_POPULATE, fd, offset);
    }

    /**
     * {@code mmap(2)} of zeroes, private, readable and writable, each page made when it is first touched.
     *
     * @param bytes how much, 1 or more
     * @return the address, which is the caller's to unmap, or a negative errno
     */
    public long mapZeroes(long bytes) {
        return mmap(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }

    private long mmap(long bytes, int flags, int fd, long offset) {
        try {
            // Only MAP_FAILED, -1, is no address: user addresses are below 2^57 on both architectures.
            return result((long)
                    Functions.MMAP.invokeExact(errno, MemorySegment.NULL, bytes, PROT_READ_WRITE, flags, fd, offset));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code munmap(2)}. Whoever still uses a segment over the memory brings the process down, so the arena of {@link #mapped}
     * is closed first.
     *
     * @param address what {@link #map} or {@link #mapZeroes} returned
     * @param bytes what it was asked for
     * @return 0 or a negative errno
     */
    public int unmap(long address, long bytes) {
        try {
            return result((int) Functions.MUNMAP.invokeExact(errno, MemorySegment.ofAddress(address), bytes));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code madvise(2)}.
     *
     * @param address where, a multiple of the page size
     * @param bytes how much
     * @param advice {@link #DONT_FORK} or {@link #DONT_NEED}
     * @return 0 or a negative errno
     */
    public int advise(long address, long bytes, int advice) {
        try {
            return result((int) Functions.MADVISE.invokeExact(errno, MemorySegment.ofAddress(address), bytes, advice));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@code userfaultfd(2)}: a descriptor that tells of the faults of this process outside the kernel, closed on exec, not
     * blocking.
     *
     * @return the descriptor, which is the caller's to close, or a negative errno
     */
    public int userfaultfd() {
        int refused = Refusal.errno("userfaultfd");
        if (refused != 0) {
            return -refused;
        }
        try {
            return (int) result((long) Functions.USERFAULTFD.invokeExact(
                    errno, Abi.USERFAULTFD, O_CLOEXEC | LinuxCalls.O_NONBLOCK | UFFD_USER_MODE_ONLY));
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * A segment over mapped memory.
     *
     * @param address what {@link #map} or {@link #mapZeroes} returned
     * @param bytes what it was asked for
     * @param arena the segment's lifetime, which has to end before the memory is unmapped
     * @return the segment
     */
    @SuppressWarnings("restricted") // the size is the one that was mapped
    public static MemorySegment mapped(long address, long bytes, Arena arena) {
        return MemorySegment.ofAddress(address).reinterpret(bytes, arena, null);
    }

    /** Looked at once: whether {@link Functions}, which is not touched here, can be loaded. */
    private static final class Availability {
        static final Optional<String> MISSING =
                CLibrary.missing("memfd_create", "fcntl", "ftruncate", "mmap", "munmap", "madvise", "syscall");
    }

    private static final class Functions {
        static final MethodHandle MEMFD_CREATE =
                CLibrary.bind("memfd_create", CLibrary.FIXED, FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT));
        static final MethodHandle FCNTL =
                CLibrary.bind("fcntl", 2, FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT));
        static final MethodHandle FTRUNCATE =
                CLibrary.bind("ftruncate", CLibrary.FIXED, FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG));
        static final MethodHandle MMAP = CLibrary.bind(
                "mmap",
                CLibrary.FIXED,
                FunctionDescriptor.of(JAVA_LONG, ADDRESS, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG));
        static final MethodHandle MUNMAP =
                CLibrary.bind("munmap", CLibrary.FIXED, FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG));
        static final MethodHandle MADVISE =
                CLibrary.bind("madvise", CLibrary.FIXED, FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT));
        static final MethodHandle USERFAULTFD =
                CLibrary.bind("syscall", 1, FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_LONG));

        private Functions() {}
    }
}
