package dev.faultline.ffm;

import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * The completion half of an {@link IoUring}, which its owner reads.
 *
 * <p>Threads, words and their order: as {@link IoUring} says. What the owner writes all the time lies here, on cache lines without
 * neighbours of other threads before it.
 */
abstract class IoUringCompletions extends PaddedBefore {
    /** Completions given back so far, and the last tail that was read. */
    private int head;

    private int seen;
    private long overflows;

    private final MemorySegment ring;
    private final int entries;
    private final long flagsAt;
    private final long headAt;
    private final long tailAt;
    private final long overflowAt;
    private final long cqesAt;

    IoUringCompletions(IoUringMemory memory) {
        ring = memory.ring;
        entries = memory.cqEntries;
        flagsAt = memory.sqFlagsAt;
        headAt = memory.cqHeadAt;
        tailAt = memory.cqTailAt;
        overflowAt = memory.cqOverflowAt;
        cqesAt = memory.cqesAt;
    }

    /**
     * The size of the completion ring.
     *
     * @return completions
     */
    public int completions() {
        return entries;
    }

    /**
     * How many completions can be looked at.
     *
     * @return completions; the first has index 0
     */
    public int ready() {
        // Acquire: the kernel wrote the completions before this tail, and they are read after it.
        seen = SharedWords.getIntAcquire(ring, tailAt);
        return seen - head;
    }

    /**
     * Whether {@link IoUring#submitAndWait} would find something without waiting: completions that are ready, or kept back, or work the
     * kernel has put off until then. No system call is made.
     *
     * @return whether there is something
     */
    public boolean hasNews() {
        // Opaque: a hint about what the kernel does itself in the enter that follows.
        return ready() > 0
                || (SharedWords.getIntOpaque(ring, flagsAt) & (IoUringLayout.SQ_CQ_OVERFLOW | IoUringLayout.SQ_TASKRUN))
                        != 0;
    }

    /**
     * The user data of a completion's entry.
     *
     * @param i which of the completions that the last {@link #ready} told of
     * @return what the entry was prepared with
     * @throws IndexOutOfBoundsException if there is no such completion
     */
    public long userData(int i) {
        return SharedWords.getLong(ring, place(i) + IoUringLayout.CQE_USER_DATA);
    }

    /**
     * The result of a completion's entry.
     *
     * @param i which of the completions that the last {@link #ready} told of
     * @return what its call would have returned, or a negative errno
     * @throws IndexOutOfBoundsException if there is no such completion
     */
    public int result(int i) {
        return SharedWords.getInt(ring, place(i) + IoUringLayout.CQE_RES);
    }

    /**
     * The flags of a completion, {@link IoUring#SOCKET_NOT_EMPTY} and what else the kernel says.
     *
     * @param i which of the completions that the last {@link #ready} told of
     * @return the flags
     * @throws IndexOutOfBoundsException if there is no such completion
     */
    public int flags(int i) {
        return SharedWords.getInt(ring, place(i) + IoUringLayout.CQE_FLAGS);
    }

    private long place(int i) {
        Objects.checkIndex(i, seen - head);
        return cqesAt + (long) ((head + i) & (entries - 1)) * IoUringLayout.CQE_BYTES;
    }

    /**
     * Gives completions back to the kernel, which may overwrite them.
     *
     * @param n how many of those that the last {@link #ready} told of
     * @throws IndexOutOfBoundsException if it told of fewer
     */
    public void advance(int n) {
        Objects.checkFromIndexSize(0, n, seen - head);
        head += n;
        // Release: the kernel overwrites them only after it has read this head, so after they were looked at.
        SharedWords.setIntRelease(ring, headAt, head);
    }

    /**
     * Looks at which the completion ring was found full, with completions that the kernel had to keep back. None of them is
     * lost; {@link IoUring#submitAndWait} fetches them as there is room.
     *
     * @return looks
     */
    public long overflows() {
        return overflows;
    }

    /**
     * Completions the kernel has lost because it had no memory to keep them in.
     *
     * @return completions
     */
    public int lost() {
        return SharedWords.getIntOpaque(ring, overflowAt);
    }

    /** Called before each look by the kernel: counts whether it keeps completions back. */
    final void noteOverflow() {
        if ((SharedWords.getIntOpaque(ring, flagsAt) & IoUringLayout.SQ_CQ_OVERFLOW) != 0) {
            overflows++;
        }
    }
}
