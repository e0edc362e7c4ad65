package dev.faultline.iommu.table;

import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Physical memory as tables and devices see it: banks of it at any base below 2^52, and nothing between them.
 *
 * <p>Threads: any; banks are added under a lock, and what was there stays. Ownership: the memory of a bank is its maker's, and
 * outlives this. Units: bytes; physical addresses.
 *
 * <p>The bank at 0 is found by one comparison, others by halving.
 */
public final class PhysicalMemory {
    /** Physical addresses are below 2 to this. */
    public static final int ADDRESS_BITS = 52;

    private static final long PAGE_BYTES = 1L << Translation.PAGE_SHIFT;

    private record Bank(long base, long bytes, MemorySegment memory) {}

    private static final MemorySegment ZEROES =
            MemorySegment.ofArray(new byte[(int) PAGE_BYTES]).asReadOnly();

    private final MemorySegment first;
    private final long firstBytes;
    /** In the order of their bases; replaced as a whole. */
    private volatile Bank[] others = {};

    /** @param first the bank at address 0, of whole pages */
    public PhysicalMemory(MemorySegment first) {
        this.first = first;
        this.firstBytes = first.byteSize();
    }

    /**
     * Adds a bank.
     *
     * @throws IllegalArgumentException if it is not of whole pages, leaves 2^52, is read-only, or lies over another
     */
    public synchronized void add(long base, MemorySegment memory) {
        long bytes = memory.byteSize();
        if (base < 0 || base % PAGE_BYTES != 0) {
            throw new IllegalArgumentException(
                    "base=0x" + Long.toHexString(base) + ": allowed multiples of 4096 from 0");
        }
        if (bytes == 0 || bytes % PAGE_BYTES != 0 || base + bytes > 1L << ADDRESS_BITS || memory.isReadOnly()) {
            throw new IllegalArgumentException("memory=" + bytes + " bytes" + (memory.isReadOnly() ? ", read-only" : "")
                    + ": allowed positive multiples of 4096 that can be written and end at 2^52, from base=0x"
                    + Long.toHexString(base));
        }
        List<Bank> all = new ArrayList<>(List.of(others));
        Bank added = new Bank(base, bytes, memory);
        all.add(new Bank(0, firstBytes, first));
        for (Bank bank : all) {
            if (base < bank.base + bank.bytes && bank.base < base + bytes) {
                throw new IllegalArgumentException("base=0x" + Long.toHexString(base)
                        + ": allowed where no bank is, and 0x" + Long.toHexString(bank.base) + " to 0x"
                        + Long.toHexString(bank.base + bank.bytes - 1) + " is one");
            }
        }
        all.removeLast();
        all.add(added);
        all.sort(Comparator.comparingLong(Bank::base));
        others = all.toArray(Bank[]::new);
    }

    /**
     * Adds a bank where there is room.
     *
     * @param from the first base that will do
     * @param step others are so far apart
     * @return its base; -1 if there is no room for it
     * @throws IllegalArgumentException as {@link #add}, wherever it lies
     */
    public synchronized long place(MemorySegment memory, long from, long step) {
        long bytes = memory.byteSize();
        long at = from;
        for (Bank bank : others) {
            if (bank.base - at >= bytes) {
                break;
            }
            long end = bank.base + bank.bytes;
            if (end > at) {
                at += (end - at + step - 1) / step * step;
            }
        }
        if (at + bytes > 1L << ADDRESS_BITS) {
            return -1;
        }
        add(at, memory);
        return at;
    }

    /** Takes a bank out. Nobody uses an address in it any more. */
    public synchronized void remove(long base) {
        List<Bank> left = new ArrayList<>(List.of(others));
        if (!left.removeIf(bank -> bank.base == base)) {
            throw new IllegalArgumentException(
                    "base=0x" + Long.toHexString(base) + ": allowed the base of an added bank");
        }
        others = left.toArray(Bank[]::new);
    }

    /** Whether there is memory at an address. A word at a multiple of 8 is then there as a whole. */
    public boolean contains(long address) {
        return Long.compareUnsigned(address, firstBytes) < 0 || find(address) != null;
    }

    /** A word of a table, by an acquire load. There is memory. */
    long entry(long address) {
        if (Long.compareUnsigned(address, firstBytes) < 0) {
            return SharedWords.getLongAcquire(first, address);
        }
        Bank bank = bank(address);
        return SharedWords.getLongAcquire(bank.memory, address - bank.base);
    }

    boolean replace(long address, long expected, long value) {
        if (Long.compareUnsigned(address, firstBytes) < 0) {
            return SharedWords.compareAndSetLong(first, address, expected, value);
        }
        Bank bank = bank(address);
        return SharedWords.compareAndSetLong(bank.memory, address - bank.base, expected, value);
    }

    long exchange(long address, long value) {
        if (Long.compareUnsigned(address, firstBytes) < 0) {
            return SharedWords.getAndSetLong(first, address, value);
        }
        Bank bank = bank(address);
        return SharedWords.getAndSetLong(bank.memory, address - bank.base, value);
    }

    /**
     * How large a naturally aligned range round an address may be to lie within one bank.
     *
     * @param sizeLg2 at most
     * @return log2 of its bytes, 12 or more; -1 if there is no memory at the address
     */
    int reachLg2(long address, int sizeLg2) {
        long base = 0;
        long bytes = firstBytes;
        if (Long.compareUnsigned(address, firstBytes) >= 0) {
            Bank bank = find(address);
            if (bank == null) {
                return -1;
            }
            base = bank.base;
            bytes = bank.bytes;
        }
        int size = sizeLg2;
        while (size > Translation.PAGE_SHIFT) {
            long start = address & -(1L << size);
            if (start >= base && start - base <= bytes - (1L << size)) {
                break;
            }
            size--;
        }
        return size;
    }

    /** The memory from an address on, to the end of its bank; null if there is none. */
    public @Nullable MemorySegment from(long address) {
        if (Long.compareUnsigned(address, firstBytes) < 0) {
            return first.asSlice(address);
        }
        Bank bank = find(address);
        return bank == null ? null : bank.memory.asSlice(address - bank.base);
    }

    /** A byte, read to have its line at hand; throws what {@link #read} throws. */
    public byte fetch(long address) {
        if (Long.compareUnsigned(address, firstBytes) < 0) {
            return first.get(ValueLayout.JAVA_BYTE, address);
        }
        Bank bank = bank(address);
        return bank.memory.get(ValueLayout.JAVA_BYTE, address - bank.base);
    }

    /** Copies out. The range lies within one page. */
    public void read(long address, MemorySegment into, long offset, long bytes) {
        if (Long.compareUnsigned(address, firstBytes) < 0) {
            MemorySegment.copy(first, address, into, offset, bytes);
        } else {
            Bank bank = bank(address);
            MemorySegment.copy(bank.memory, address - bank.base, into, offset, bytes);
        }
    }

    /** Copies in. The range lies within one page. */
    public void write(long address, MemorySegment from, long offset, long bytes) {
        if (Long.compareUnsigned(address, firstBytes) < 0) {
            MemorySegment.copy(from, offset, first, address, bytes);
        } else {
            Bank bank = bank(address);
            MemorySegment.copy(from, offset, bank.memory, address - bank.base, bytes);
        }
    }

    /** Makes a frame all zeroes. */
    public void zero(long frame) {
        if (Long.compareUnsigned(frame, firstBytes) < 0) {
            MemorySegment.copy(ZEROES, 0, first, frame, PAGE_BYTES);
        } else {
            Bank bank = bank(frame);
            MemorySegment.copy(ZEROES, 0, bank.memory, frame - bank.base, PAGE_BYTES);
        }
    }

    private Bank bank(long address) {
        Bank bank = find(address);
        if (bank == null) {
            throw new IllegalStateException("no memory at 0x" + Long.toHexString(address));
        }
        return bank;
    }

    private @Nullable Bank find(long address) {
        Bank[] all = others;
        int low = 0;
        int high = all.length - 1;
        while (low <= high) {
            int middle = (low + high) >>> 1;
            Bank bank = all[middle];
            if (address < bank.base) {
                high = middle - 1;
            } else if (address - bank.base >= bank.bytes) {
                low = middle + 1;
            } else {
                return bank;
            }
        }
        return null;
    }
}
