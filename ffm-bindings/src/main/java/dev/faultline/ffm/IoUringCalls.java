package dev.faultline.ffm;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/**
 * io_uring's three calls, which the C library has no functions for: {@code syscall(2)} with their numbers.
 *
 * <p>Threads: one at a time. The errno lies in memory that the garbage collector frees: a segment with an owner would have to be
 * taken and given back, two atomic operations, in each call. Errors: a negative errno.
 */
final class IoUringCalls {
    private final MemorySegment errno = Arena.ofAuto().allocate(CLibrary.CAPTURE);

    static Optional<String> missing() {
        return CLibrary.missing("syscall");
    }

    /** {@code params} is a {@code struct io_uring_params}, read and written. */
    int setup(int entries, MemorySegment params) {
        return call(Abi.IO_URING_SETUP, entries, params.address(), 0, 0, 0, 0);
    }

    /** {@code argument} is the address of a {@code struct io_uring_getevents_arg}, or 0. */
    int enter(int fd, int submit, int atLeast, int flags, long argument, long argumentBytes) {
        return call(Abi.IO_URING_ENTER, fd, submit, atLeast, flags, argument, argumentBytes);
    }

    int register(int fd, int operation, MemorySegment argument, int count) {
        return call(Abi.IO_URING_REGISTER, fd, operation, argument.address(), count, 0, 0);
    }

    private int call(long number, long a, long b, long c, long d, long e, long f) {
        try {
            int n = (int) (long) Functions.SYSCALL.invokeExact(errno, number, a, b, c, d, e, f);
            return n < 0 ? -SharedWords.getInt(errno, 0) : n;
        } catch (Throwable t) {
            throw CallState.unexpected(t);
        }
    }

    /** Bound on first use, so that a machine without it can still load the class and be told why. */
    private static final class Functions {
        // long syscall(long number, ...): what is variable is passed as six registers of 64 bits.
        static final MethodHandle SYSCALL = CLibrary.bind(
                "syscall",
                1,
                FunctionDescriptor.of(
                        JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG));

        private Functions() {}
    }
}
