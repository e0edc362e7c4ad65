package dev.faultline.examples.replay;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * What the memory of one device must hold: a copy of every page touched, kept beside the emulated memory and never
 * paged out.
 *
 * <p>Threads: one. Ownership: closing frees the copies. Memory: 4 KiB for each page touched. Accesses lie in one page;
 * sizes are in bytes.
 */
final class ShadowMemory implements AutoCloseable {
    private static final int RECENT = 64;
    private static final long LAST_LONG = TraceAccess.PAGE_BYTES - Long.BYTES;

    private final long deviceSeed;
    private final PageStore store = new PageStore(1024);
    private final long[] recentPages = new long[RECENT];
    private final @Nullable MemorySegment[] recent = new MemorySegment[RECENT];

    ShadowMemory(long deviceSeed) {
        this.deviceSeed = deviceSeed;
        Arrays.fill(recentPages, -1);
    }

    /** How many pages were touched. */
    int pages() {
        return store.size();
    }

    /**
     * Whether bytes that were read are what must be there.
     *
     * @param read has eight bytes or more from {@code offset} on
     */
    boolean matches(long address, int bytes, MemorySegment read, long offset) {
        MemorySegment page = page(address);
        long at = address & TraceAccess.PAGE_BYTES - 1;
        if (bytes > Long.BYTES) {
            return MemorySegment.mismatch(page, at, at + bytes, read, offset, offset + bytes) < 0;
        }
        // Nearly every access: one load on each side, and the bytes beyond the access do not count.
        long expected = at <= LAST_LONG
                ? page.get(ValueLayout.JAVA_LONG_UNALIGNED, at)
                : page.get(ValueLayout.JAVA_LONG_UNALIGNED, LAST_LONG) >>> ((at - LAST_LONG) * Byte.SIZE);
        long difference = expected ^ read.get(ValueLayout.JAVA_LONG_UNALIGNED, offset);
        return difference << (Long.SIZE - bytes * Byte.SIZE) == 0;
    }

    /** Stores a value, repeated or cut to size, here and into the buffer that goes to the device. */
    void store(long address, int bytes, long value, MemorySegment buffer, long offset) {
        MemorySegment page = page(address);
        put(page, address & TraceAccess.PAGE_BYTES - 1, bytes, value);
        put(buffer, offset, bytes, value);
    }

    /** The bytes that must be there. */
    byte[] expected(long address, int bytes) {
        return page(address)
                .asSlice(address & TraceAccess.PAGE_BYTES - 1, bytes)
                .toArray(ValueLayout.JAVA_BYTE);
    }

    private static void put(MemorySegment to, long at, int bytes, long value) {
        int done = 0;
        for (; bytes - done >= Long.BYTES; done += Long.BYTES) {
            to.set(ValueLayout.JAVA_LONG_UNALIGNED, at + done, value);
        }
        long rest = value;
        if (bytes - done >= Integer.BYTES) {
            to.set(ValueLayout.JAVA_INT_UNALIGNED, at + done, (int) rest);
            rest >>>= Integer.SIZE;
            done += Integer.BYTES;
        }
        for (; done < bytes; done++) {
            to.set(ValueLayout.JAVA_BYTE, at + done, (byte) rest);
            rest >>>= Byte.SIZE;
        }
    }

    private MemorySegment page(long address) {
        long number = address / TraceAccess.PAGE_BYTES;
        int at = (int) number & RECENT - 1;
        MemorySegment page = recent[at];
        return page != null && recentPages[at] == number ? page : lookUp(number, at);
    }

    private MemorySegment lookUp(long number, int at) {
        int found = store.find(number);
        if (found == PageIndex.NONE) {
            found = store.add(number);
            Scramble.fillPage(deviceSeed, number, store.page(found), 0);
        }
        MemorySegment page = store.page(found);
        recentPages[at] = number;
        recent[at] = page;
        return page;
    }

    @Override
    public void close() {
        store.close();
    }
}
