package dev.faultline.iommu;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.SharedWords;
import dev.faultline.iommu.table.Allocator;
import dev.faultline.iommu.table.InterruptWindow;
import dev.faultline.iommu.table.PhysicalMemory;
import java.lang.foreign.MemorySegment;

/**
 * The physical memory of an {@link Iommu}, handed out in frames of 4 KiB for pages and page tables alike.
 *
 * <p>Threads: any. Ownership: who allocates a frame frees it, once; the memory itself goes with the {@link Iommu}. Progress:
 * lock-free. Units: bytes; a physical address is an offset into the memory, a frame's address a multiple of {@link #BYTES}. Where the
 * messages of interrupts go, 0xFEE00000 to 0xFEEFFFFF, no frame is handed out.
 *
 * <p>The free frames form a stack. Its head is one word, {@code tag << 32 | frame + 1}, replaced by compare-and-set; the tag
 * grows with each step, so a head read before others popped and pushed the same frame no longer compares equal (the tag
 * would have to wrap, 2^32 steps, between a read and its compare-and-set). A frame's link is {@link #TAKEN} while it is
 * allocated, which catches a frame that is freed twice.
 */
public final class Frames {
    /** Size of a frame, and of the smallest page. */
    public static final int BYTES = 4096;

    static final int SHIFT = 12;
    /** Of an address: the page it lies in. */
    static final long PAGE = -BYTES;

    private static final long MASK = BYTES - 1;

    /** The stack's head: written by every allocate and free. */
    private static final long HEAD_OFFSET = 0;
    /** One int for each frame: the frame below it in the stack plus 1, 0 at the bottom, or {@link #TAKEN}. */
    private static final long LINKS_OFFSET = CacheLine.BYTES;

    private static final int TAKEN = -1;
    /** What a freed frame is filled with for tests: as a table's entry it is present and has reserved bits. */
    private static final byte POISON = (byte) 0xdb;

    private final MemorySegment memory;
    private final MemorySegment words;
    private final int total;
    private volatile boolean poisonsFreed;
    private final PhysicalMemory physical;
    private Allocator allocator = new Allocator() {
        @Override
        public long allocate() {
            return Frames.this.allocate();
        }

        @Override
        public void free(long address) {
            Frames.this.free(address);
        }
    };

    Frames(MemorySegment memory, MemorySegment words) {
        this.memory = memory;
        this.words = words;
        this.physical = new PhysicalMemory(memory);
        int frames = (int) (memory.byteSize() >>> SHIFT);
        int count = 0;
        int below = 0;
        for (int frame = frames - 1; frame >= 0; frame--) {
            long address = (long) frame << SHIFT;
            if (address < InterruptWindow.FIRST || address > InterruptWindow.LAST) {
                SharedWords.putInt(words, link(frame), below);
                below = frame + 1;
                count++;
            }
        }
        this.total = count;
        SharedWords.setLongVolatile(words, HEAD_OFFSET, below);
    }

    static long wordsBytes(long frames) {
        return LINKS_OFFSET + CacheLine.alignUp(frames * Integer.BYTES);
    }

    /**
     * Takes a frame. What it contains is left over from its last use.
     *
     * @return its physical address, or -1 if none is free
     */
    public long allocate() {
        while (true) {
            long head = SharedWords.getLongAcquire(words, HEAD_OFFSET);
            int frame = (int) head - 1;
            if (frame < 0) {
                return -1;
            }
            // Another thread may pop this frame meanwhile and write TAKEN here; then the tag has moved and the step
            // fails.
            int below = SharedWords.getIntOpaque(words, link(frame));
            if (SharedWords.compareAndSetLong(words, HEAD_OFFSET, head, next(head, below))) {
                SharedWords.setIntOpaque(words, link(frame), TAKEN);
                return (long) frame << SHIFT;
            }
        }
    }

    /**
     * Gives a frame back.
     *
     * @param address its physical address
     * @throws IllegalArgumentException if this is not the address of a frame
     * @throws IllegalStateException if the frame is free
     */
    public void free(long address) {
        if (!contains(address) || (address & MASK) != 0) {
            throw new IllegalArgumentException("address=0x" + Long.toHexString(address)
                    + ": allowed multiples of 4096 below 0x" + Long.toHexString(memory.byteSize()));
        }
        int frame = (int) (address >>> SHIFT);
        if (!SharedWords.compareAndSetInt(words, link(frame), TAKEN, 0)) {
            throw new IllegalStateException("frame 0x" + Long.toHexString(address) + " is free already");
        }
        if (poisonsFreed) {
            memory.asSlice(address, BYTES).fill(POISON);
        }
        while (true) {
            long head = SharedWords.getLongAcquire(words, HEAD_OFFSET);
            SharedWords.setIntOpaque(words, link(frame), (int) head);
            if (SharedWords.compareAndSetLong(words, HEAD_OFFSET, head, next(head, frame + 1))) {
                return;
            }
        }
    }

    /** From now on a frame that is freed loses its content, so that who uses it afterwards shows. For tests. */
    void poisonFreed(boolean now) {
        poisonsFreed = now;
    }

    /**
     * How many frames are free. They are counted one by one.
     *
     * @return a count that is exact while nobody allocates or frees
     */
    public long freeCount() {
        long count = 0;
        int frame = (int) SharedWords.getLongAcquire(words, HEAD_OFFSET);
        while (frame > 0 && count < total) {
            count++;
            frame = SharedWords.getIntOpaque(words, link(frame - 1));
        }
        return count;
    }

    /**
     * How many frames there are.
     *
     * @return the size of the memory in frames
     */
    public long total() {
        return total;
    }

    /**
     * The frame at an address, for inspection.
     *
     * @param address physical, anywhere in the frame
     * @return the 4096 bytes of the frame
     * @throws IllegalArgumentException if the memory ends before it
     */
    public MemorySegment segment(long address) {
        if (!contains(address)) {
            throw new IllegalArgumentException("address=0x" + Long.toHexString(address) + ": allowed 0 to 0x"
                    + Long.toHexString(memory.byteSize() - 1));
        }
        return memory.asSlice(address & ~MASK, BYTES);
    }

    MemorySegment memory() {
        return memory;
    }

    PhysicalMemory physical() {
        return physical;
    }

    /** Tables made from now on take their frames elsewhere. For tests. */
    void allocator(Allocator next) {
        allocator = next;
    }

    /** For tables, and for the pages that are filled in them. */
    Allocator allocator() {
        return allocator;
    }

    OutOfFrames none(String wantedFor) {
        return new OutOfFrames(wantedFor, total, freeCount());
    }

    boolean contains(long address) {
        return address >= 0 && address < memory.byteSize();
    }

    private static long link(int frame) {
        return LINKS_OFFSET + ((long) frame << 2);
    }

    private static long next(long head, int frame) {
        return (((head >>> 32) + 1) << 32) | (frame & 0xffff_ffffL);
    }
}
