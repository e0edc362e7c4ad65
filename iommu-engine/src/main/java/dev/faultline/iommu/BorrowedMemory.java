package dev.faultline.iommu;

import dev.faultline.iommu.table.PhysicalMemory;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * A program's memory while devices reach it: each piece is a bank of the physical memory, at addresses above all that is added by hand.
 *
 * <p>Threads: any. A piece that several tables show is one bank.
 */
final class BorrowedMemory {
    /** Banks lie from here on. */
    private static final long FIRST = 1L << 45;

    private static final long LARGE = 2L << 20;
    private static final long PAGE = Frames.BYTES;

    private record Piece(Optional<Object> heap, long address, long bytes) {}

    private record Bank(Piece piece, long bytes) {}

    private final PhysicalMemory physical;

    // Under the lock.
    private final Map<Piece, Integer> uses = new HashMap<>();
    private final Map<Piece, Long> bases = new HashMap<>();
    private final TreeMap<Long, Bank> banks = new TreeMap<>();

    BorrowedMemory(PhysicalMemory physical) {
        this.physical = physical;
    }

    /** Gives memory of whole pages a physical address, until {@link #giveBack}. */
    synchronized long borrow(MemorySegment memory) {
        Piece piece = new Piece(memory.heapBase(), memory.address(), memory.byteSize());
        Long base = bases.get(piece);
        if (base == null) {
            base = free(memory.byteSize());
            physical.add(base, memory);
            banks.put(base, new Bank(piece, memory.byteSize()));
            bases.put(piece, base);
        }
        uses.merge(piece, 1, Integer::sum);
        return base;
    }

    /** No device reaches it any more by one of its uses. */
    synchronized void giveBack(long base) {
        Bank bank = banks.get(base);
        if (bank == null) {
            throw new IllegalArgumentException("base=0x" + Long.toHexString(base) + ": allowed what was borrowed");
        }
        if (uses.merge(bank.piece, -1, Integer::sum) == 0) {
            uses.remove(bank.piece);
            bases.remove(bank.piece);
            banks.remove(base);
            physical.remove(base);
        }
    }

    private long free(long bytes) {
        long aligned = bytes >= LARGE ? LARGE : PAGE;
        long at = FIRST;
        for (Map.Entry<Long, Bank> bank : banks.entrySet()) {
            if (bank.getKey() - at >= bytes) {
                break;
            }
            at = (bank.getKey() + bank.getValue().bytes + aligned - 1) & -aligned;
        }
        return at;
    }
}
