package dev.faultline.ffm;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * The memory an io_uring shares with the kernel: both rings in one mapping, the submission entries in another.
 *
 * <p>Threads: any; closed once, when nobody uses the segments any more.
 */
final class IoUringMemory {
    final MemorySegment ring;
    final MemorySegment sqes;
    final int sqEntries;
    final int cqEntries;
    final long sqTailAt;
    final long sqFlagsAt;
    final long cqHeadAt;
    final long cqTailAt;
    final long cqOverflowAt;
    final long cqesAt;

    private final Arena arena = Arena.ofShared();

    private IoUringMemory(MemorySegment params, long ringAddress, long ringBytes, long sqesAddress, long sqesBytes) {
        ring = MemoryCalls.mapped(ringAddress, ringBytes, arena);
        sqes = MemoryCalls.mapped(sqesAddress, sqesBytes, arena);
        sqEntries = SharedWords.getInt(params, IoUringLayout.PARAMS_SQ_ENTRIES);
        cqEntries = SharedWords.getInt(params, IoUringLayout.PARAMS_CQ_ENTRIES);
        sqTailAt = sqOffset(params, IoUringLayout.SQ_OFF_TAIL);
        sqFlagsAt = sqOffset(params, IoUringLayout.SQ_OFF_FLAGS);
        cqHeadAt = cqOffset(params, IoUringLayout.CQ_OFF_HEAD);
        cqTailAt = cqOffset(params, IoUringLayout.CQ_OFF_TAIL);
        cqOverflowAt = cqOffset(params, IoUringLayout.CQ_OFF_OVERFLOW);
        cqesAt = cqOffset(params, IoUringLayout.CQ_OFF_CQES);
    }

    /**
     * Maps the memory of a ring that was made.
     *
     * @throws UnsupportedOperationException with the reason and its remedy; nothing is mapped then
     */
    static IoUringMemory map(MemoryCalls calls, IoUringSetup.Made made) {
        MemorySegment params = made.params();
        int submissions = SharedWords.getInt(params, IoUringLayout.PARAMS_SQ_ENTRIES);
        int completions = SharedWords.getInt(params, IoUringLayout.PARAMS_CQ_ENTRIES);
        long sqesBytes = (long) submissions * IoUringLayout.SQE_BYTES;
        boolean indirect = (made.flags() & IoUringLayout.SETUP_NO_SQARRAY) == 0;
        long array = sqOffset(params, IoUringLayout.SQ_OFF_ARRAY);
        long ringBytes = Math.max(
                indirect ? array + (long) submissions * Integer.BYTES : 0,
                cqOffset(params, IoUringLayout.CQ_OFF_CQES) + (long) completions * IoUringLayout.CQE_BYTES);
        long ring = calls.map(made.fd(), IoUringLayout.OFF_SQ_RING, ringBytes);
        long sqes = ring < 0 ? ring : calls.map(made.fd(), IoUringLayout.OFF_SQES, sqesBytes);
        if (sqes < 0) {
            if (ring >= 0) {
                int _ = calls.unmap(ring, ringBytes);
            }
            throw new UnsupportedOperationException("mmap of an io_uring: " + Errno.name((int) -sqes)
                    + ": no memory, or more than may be locked; raise the limit with ulimit -l");
        }
        // A child that does not exec would keep the ring, and with it the files of its requests, open behind our close.
        int _ = calls.advise(ring, ringBytes, MemoryCalls.DONT_FORK);
        int _ = calls.advise(sqes, sqesBytes, MemoryCalls.DONT_FORK);
        IoUringMemory memory = new IoUringMemory(params, ring, ringBytes, sqes, sqesBytes);
        if (indirect) {
            // Which entry is taken first: the first. Written once, before anything is submitted.
            for (int i = 0; i < submissions; i++) {
                SharedWords.putInt(memory.ring, array + (long) i * Integer.BYTES, i);
            }
        }
        return memory;
    }

    private static long sqOffset(MemorySegment params, int which) {
        return SharedWords.getInt(params, IoUringLayout.PARAMS_SQ_OFF + which);
    }

    private static long cqOffset(MemorySegment params, int which) {
        return SharedWords.getInt(params, IoUringLayout.PARAMS_CQ_OFF + which);
    }

    /** Ends the segments, so that a late use throws, and unmaps. */
    void unmap(MemoryCalls calls) {
        arena.close();
        int _ = calls.unmap(ring.address(), ring.byteSize());
        int _ = calls.unmap(sqes.address(), sqes.byteSize());
    }
}
