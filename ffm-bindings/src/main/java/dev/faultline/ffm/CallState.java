package dev.faultline.ffm;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Optional;

/**
 * The memory of one caller: where the C library leaves the errno of a call, and room for a call's structures.
 *
 * <p>Threads: one at a time. Lifetime: until {@link #close}; a call after it throws {@link IllegalStateException}.
 */
abstract class CallState implements AutoCloseable {
    private final Arena arena;

    final MemorySegment errno;
    final MemorySegment scratch;

    CallState(int scratchBytes) {
        arena = Arena.ofShared();
        errno = arena.allocate(CLibrary.CAPTURE);
        scratch = arena.allocate(scratchBytes, 16);
    }

    /** The caller's reason not to open, thrown. */
    static void require(Optional<String> missing) {
        if (missing.isPresent()) {
            throw new UnsupportedOperationException(missing.get());
        }
    }

    /** Frees the instance's memory; no descriptor is closed and nothing is unmapped. Calling it again does nothing. */
    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }

    /** What the last call left. */
    final int lastErrno() {
        return SharedWords.getInt(errno, 0);
    }

    /** The result of a call that says -1 on failure, as this project has it. */
    final int result(int returned) {
        return returned < 0 ? -lastErrno() : returned;
    }

    /** The same, of 64 bits. */
    final long result(long returned) {
        return returned < 0 ? -lastErrno() : returned;
    }

    static void checkRoom(MemorySegment buffer, long bytes) {
        if (bytes < 0 || bytes > buffer.byteSize()) {
            throw new IndexOutOfBoundsException("bytes=" + bytes + ": allowed 0 to " + buffer.byteSize());
        }
    }

    /** What a method handle threw, which is nothing the kernel said. */
    static RuntimeException unexpected(Throwable t) {
        if (t instanceof RuntimeException e) {
            return e;
        }
        if (t instanceof Error e) {
            throw e;
        }
        return new IllegalStateException(t);
    }
}
