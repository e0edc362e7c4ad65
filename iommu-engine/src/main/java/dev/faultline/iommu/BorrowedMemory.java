package dev.faultline.iommu;

import dev.faultline.iommu.table.PhysicalMemory;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * A program's memory while devices reach it: each piece is a bank of the physical memory, where nothing is added by hand.
 *
 * <p>Threads: any. A piece that several tables show is one bank.
 */
final class BorrowedMemory {
    /** Banks lie from here on. */
    private static final long FIRST = 1L << 40;

    private static final long LARGEST_PAGE = 1L << 30;

    private record Piece(Optional<Object> heap, long address, long bytes) {}

    private final PhysicalMemory physical;

    // Under the lock.
    private final Map<Piece, Integer> uses = new HashMap<>();
    private final Map<Piece, Long> bases = new HashMap<>();
    private final Map<Long, Piece> banks = new HashMap<>();

    BorrowedMemory(PhysicalMemory physical) {
        this.physical = physical;
    }

    /**
     * Gives memory a physical address, until {@link #giveBack}; one that lies to large pages as the address does where it is shown first.
     *
     * @return the address; -1 if it is not of whole pages that can be read and written a word at a time
     */
    synchronized long borrow(MemorySegment memory, long shownAt) {
        long bytes = memory.byteSize();
        if (bytes == 0 || bytes % Frames.BYTES != 0 || memory.isReadOnly() || memory.maxByteAlignment() < Long.BYTES) {
            return -1;
        }
        Piece piece = new Piece(memory.heapBase(), memory.address(), bytes);
        Long base = bases.get(piece);
        if (base == null) {
            long size = Math.clamp(Long.highestOneBit(bytes), Frames.BYTES, LARGEST_PAGE);
            base = physical.place(memory, FIRST + (shownAt & (size - 1)), size);
            if (base < 0) {
                return -1;
            }
            banks.put(base, piece);
            bases.put(piece, base);
        }
        uses.merge(piece, 1, Integer::sum);
        return base;
    }

    /** No device reaches it any more by one of its uses. */
    synchronized void giveBack(long base) {
        Piece piece = banks.get(base);
        if (piece == null) {
            throw new IllegalArgumentException("base=0x" + Long.toHexString(base) + ": allowed what was borrowed");
        }
        if (uses.merge(piece, -1, Integer::sum) == 0) {
            uses.remove(piece);
            bases.remove(piece);
            banks.remove(base);
            physical.remove(base);
        }
    }
}
