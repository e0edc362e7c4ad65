package dev.faultline.ring;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The memory of whoever reads and writes a {@link FaultFile}: segments at addresses, with nothing between them.
 *
 * <p>Threads: any. Ownership and lifetime: the segments stay the caller's; one whose memory was freed, or which the calling
 * thread may not access, is as good as unmapped. Progress: a look-up takes no lock; a copy waits only for memory that was put here to {@linkplain
 * #map(long, MemorySegment, boolean, Runnable) come late}. Units: bytes; addresses are user addresses
 * of Linux on x86-64, below 0x7ffffffff000. Errors: {@link #map} throws for what it refuses; an address where nothing is mapped
 * is found out by the call that uses it, which then says {@code -EFAULT} or stops short.
 */
public final class UserMemory {
    /** Where the user address range ends; {@code TASK_SIZE_MAX} of Linux on x86-64. */
    public static final long END = 0x7fff_ffff_f000L;

    /** Up to where a call takes an address for a user's: {@code USER_PTR_MAX}, where linear address masking is on. */
    static final long POINTER_END = 0x7fff_ffff_ffff_f000L;

    private static final long PAGE = 4096;

    /** Where {@link #of} puts its one segment. */
    static final long BASE = 0x1_0000;

    private record Mapping(
            long address,
            MemorySegment segment,
            boolean writable,
            @Nullable Runnable touched) {
        long end() {
            return address + segment.byteSize();
        }

        @Override
        public String toString() {
            return hex(address) + " to " + hex(end() - 1);
        }
    }

    /** In the order of their addresses; replaced as a whole. */
    private volatile Mapping[] mappings;

    /** Memory with nothing mapped. */
    public UserMemory() {
        this(new Mapping[0]);
    }

    private UserMemory(Mapping[] mappings) {
        this.mappings = mappings;
    }

    /** A segment by itself, at {@link #BASE}. */
    static UserMemory of(MemorySegment segment) {
        return new UserMemory(new Mapping[] {new Mapping(BASE, segment, !segment.isReadOnly(), null)});
    }

    /**
     * Puts a segment at an address.
     *
     * @param address of its first byte, 0 to 0x7ffffffff000 less the segment's size
     * @param segment the memory, 1 byte or more
     * @param writable whether a read may write there; false is a read-only page
     * @throws IllegalArgumentException if the address is outside its range, the segment is empty, or read-only where {@code
     *     writable} is asked for, or something is mapped there
     */
    public void map(long address, MemorySegment segment, boolean writable) {
        put(address, segment, writable, null);
    }

    /**
     * Puts a segment at an address, whose pages come when they are needed, as the kernel's userfaultfd lets a program do it. Whoever
     * copies waits for them, and so does whoever needs what that thread holds: for a fault queue's read, other reads and writes of the
     * queue, and a detach that answers its groups, but not who reports a fault.
     *
     * @param address as for {@link #map(long, MemorySegment, boolean)}
     * @param segment as there
     * @param writable as there
     * @param touched returns once the pages are there; called by each copy, on its thread, and when the memory is looked up for a device
     * @throws IllegalArgumentException as there
     */
    public void map(long address, MemorySegment segment, boolean writable, Runnable touched) {
        put(address, segment, writable, touched);
    }

    private synchronized void put(long address, MemorySegment segment, boolean writable, @Nullable Runnable touched) {
        long size = segment.byteSize();
        if (size == 0) {
            throw new IllegalArgumentException("segment=0 bytes: allowed 1 or more");
        }
        if (address < 0 || address > END - size) {
            throw new IllegalArgumentException(
                    "address=" + hex(address) + ": allowed 0 to " + hex(END - size) + " for " + size + " bytes");
        }
        if (writable && segment.isReadOnly()) {
            throw new IllegalArgumentException("writable=true: allowed false for a read-only segment");
        }
        Mapping[] now = mappings;
        int place = 0;
        while (place < now.length && now[place].end() <= address) {
            place++;
        }
        if (place < now.length && now[place].address < address + size) {
            throw new IllegalArgumentException("address=" + hex(address) + " to " + hex(address + size - 1)
                    + ": allowed is what does not overlap " + now[place] + ", which is mapped");
        }
        Mapping[] next = Arrays.copyOf(now, now.length + 1);
        System.arraycopy(now, place, next, place + 1, now.length - place);
        next[place] = new Mapping(address, segment, writable, touched);
        mappings = next;
    }

    /**
     * Puts a segment at the lowest free address.
     *
     * @param from no address below this, a multiple of 4096
     * @param segment the memory, 1 byte or more
     * @param writable whether a read may write there
     * @return its address, a multiple of 4096; -1 if there is no room for it
     * @throws IllegalArgumentException as {@link #map} does, but for what is mapped already
     */
    public synchronized long place(long from, MemorySegment segment, boolean writable) {
        long size = segment.byteSize();
        long address = from;
        for (Mapping each : mappings) {
            if (each.address - address >= size) {
                break;
            }
            address = Math.max(address, (each.end() + PAGE - 1) & -PAGE);
        }
        if (address > END - size) {
            return -1;
        }
        map(address, segment, writable);
        return address;
    }

    /**
     * Takes a segment away. A copy that is under way may still use it.
     *
     * @param address where it was {@linkplain #map put}
     * @throws IllegalArgumentException if nothing was put there
     */
    public synchronized void unmap(long address) {
        Mapping[] now = mappings;
        Mapping[] next =
                Arrays.stream(now).filter(mapping -> mapping.address != address).toArray(Mapping[]::new);
        if (next.length == now.length) {
            throw new IllegalArgumentException("address=" + hex(address) + ": allowed where a segment begins");
        }
        mappings = next;
    }

    /**
     * Whether a range reaches outside what can be a user's address, which is asked before anything else: up to
     * 0x7ffffffffffff000, also where no memory can be mapped.
     *
     * @param address of its first byte
     * @param count its bytes
     * @return true also if the count, as a signed number, is negative
     */
    public static boolean isOutside(long address, long count) {
        return count < 0 || address < 0 || address > POINTER_END - count;
    }

    /**
     * Writes to the memory, up to the first byte that cannot be written.
     *
     * @param from what
     * @param address where
     * @return how many bytes were written
     */
    public long copyOut(MemorySegment from, long address) {
        return copy(from, from.byteSize(), address, true);
    }

    /** {@link #copyOut(MemorySegment, long)} of the first bytes. */
    long copyOut(MemorySegment from, long size, long address) {
        return copy(from, size, address, true);
    }

    /**
     * Reads from the memory, up to the first byte that cannot be read.
     *
     * @param address where
     * @param to filled
     * @return how many bytes were read
     */
    public long copyIn(long address, MemorySegment to) {
        return copy(to, to.byteSize(), address, false);
    }

    /**
     * The memory at an address, for who keeps using it after it was looked up.
     *
     * @param address any
     * @param writable whether it has to be writable
     * @return from there to the end of the segment that was put there; null if there is none, or it is read-only or freed
     */
    public @Nullable MemorySegment piece(long address, boolean writable) {
        Mapping there = find(address);
        if (there == null
                || (writable && !there.writable)
                || !there.segment.scope().isAlive()) {
            return null;
        }
        await(there);
        return there.segment.asSlice(address - there.address);
    }

    private long copy(MemorySegment own, long size, long address, boolean out) {
        long done = 0;
        while (done < size) {
            Mapping there = find(address + done);
            if (there == null
                    || (out && !there.writable)
                    || !there.segment.isAccessibleBy(Thread.currentThread())
                    || !there.segment.scope().isAlive()) {
                return done;
            }
            await(there);
            long at = address + done - there.address;
            long n = Math.min(size - done, there.segment.byteSize() - at);
            try {
                if (!out && n == Long.BYTES) {
                    own.set(
                            ValueLayout.JAVA_LONG_UNALIGNED,
                            done,
                            there.segment.get(ValueLayout.JAVA_LONG_UNALIGNED, at));
                } else if (out) {
                    MemorySegment.copy(own, done, there.segment, at, n);
                } else {
                    MemorySegment.copy(there.segment, at, own, done, n);
                }
            } catch (IllegalStateException e) {
                return done; // freed this moment, by another thread
            }
            done += n;
        }
        return done;
    }

    private static void await(Mapping touched) {
        if (touched.touched != null) {
            touched.touched.run();
        }
    }

    private @Nullable Mapping find(long address) {
        Mapping[] now = mappings;
        int low = 0;
        int high = now.length - 1;
        while (low <= high) {
            int middle = (low + high) >>> 1;
            Mapping mapping = now[middle];
            if (address < mapping.address) {
                high = middle - 1;
            } else if (address >= mapping.end()) {
                low = middle + 1;
            } else {
                return mapping;
            }
        }
        return null;
    }

    private static String hex(long address) {
        return "0x" + Long.toHexString(address);
    }

    @Override
    public String toString() {
        return "UserMemory" + Arrays.toString(mappings);
    }
}
