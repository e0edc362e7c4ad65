package dev.faultline.ffm;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicLong;

/**
 * One piece of off-heap memory that several threads share: zeroed, aligned to {@link CacheLine#BYTES}, from 4096
 * bytes on to 4096, freed once.
 *
 * <p>Threads: any thread may use the segment; how its words are shared is the business of the type that lays them out.
 * Ownership: who allocates closes, and closes once everybody has stopped using it. Lifetime: an access after
 * {@link #close} throws {@link IllegalStateException} and never touches freed memory. Progress: closing waits for no
 * access, but costs a handshake with every thread (about 20 us), so there is one region for each long-lived object and
 * none for a request. Units: bytes.
 */
public final class Region implements AutoCloseable {
    /** So that what a large region is divided into by pages lies in as many pages of the machine. */
    private static final long PAGE_BYTES = 4096;

    private static final AtomicLong OPEN_BYTES = new AtomicLong();

    private final Arena arena;
    private final MemorySegment segment;

    private Region(Arena arena, MemorySegment segment) {
        this.arena = arena;
        this.segment = segment;
    }

    /**
     * Allocates a zeroed region.
     *
     * @param bytes size, 1 or more
     * @return the region
     * @throws IllegalArgumentException if {@code bytes} is below 1
     * @throws OutOfMemoryError if the memory cannot be had
     */
    public static Region allocate(long bytes) {
        if (bytes < 1) {
            throw new IllegalArgumentException("bytes=" + bytes + ": allowed 1 or more");
        }
        Arena arena = Arena.ofShared();
        try {
            Region made = new Region(arena, arena.allocate(bytes, bytes < PAGE_BYTES ? CacheLine.BYTES : PAGE_BYTES));
            OPEN_BYTES.addAndGet(bytes);
            return made;
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    /**
     * How much memory all regions of this process hold.
     *
     * @return bytes, those of open regions: 0 once everything that is made of regions is closed
     */
    public static long openBytes() {
        return OPEN_BYTES.get();
    }

    /**
     * The whole region.
     *
     * @return the segment, valid until {@link #close}
     */
    public MemorySegment segment() {
        return segment;
    }

    /**
     * The size of the region.
     *
     * @return bytes
     */
    public long bytes() {
        return segment.byteSize();
    }

    /**
     * Whether the region has not been closed.
     *
     * @return false once {@link #close} has begun
     */
    public boolean isOpen() {
        return arena.scope().isAlive();
    }

    /** Frees the memory. Calling it again does nothing. */
    @Override
    public void close() {
        if (isOpen()) {
            arena.close();
            OPEN_BYTES.addAndGet(-bytes());
        }
    }
}
