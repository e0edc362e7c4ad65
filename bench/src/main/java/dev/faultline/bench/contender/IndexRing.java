package dev.faultline.bench.contender;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * A ring of 64-byte entries under a shared index, which the fault queue had before its entries were stamped: kept to be measured against.
 *
 * <pre>{@code
 *  0          128        256
 *  +----------+----------+---------+---------+-- ... --+
 *  | tail     | head     | entry 0 | entry 1 |         |
 *  +----------+----------+---------+---------+-- ... --+
 * }</pre>
 *
 * <p>Tail is written by the writing end with release and read by the reading end with acquire: the entries below it are seen; a stale value
 * costs time. Head is the same the other way round: the entries below it may be written again. Each end keeps a copy of what it has
 * last seen of the other's.
 */
final class IndexRing {
    static final int ENTRY_BYTES = 64;

    private static final long TAIL_OFFSET = 0;
    private static final long HEAD_OFFSET = CacheLine.BYTES;
    private static final long ENTRIES_OFFSET = 2L * CacheLine.BYTES;

    private IndexRing() {}

    static long bytes(int capacity) {
        return CacheLine.alignUp(ENTRIES_OFFSET + (long) capacity * ENTRY_BYTES);
    }

    /** The writing end. Threads: one. */
    abstract static class Writer extends PaddedBefore {
        private final MemorySegment memory;
        private final long base;
        private final int capacity;
        private long tail;
        private long published;
        private long headSeen;

        private Writer(MemorySegment memory, long base, int capacity) {
            this.memory = memory;
            this.base = base;
            this.capacity = capacity;
        }

        static Writer of(MemorySegment memory, long base, int capacity) {
            return new WriterAlone(memory, base, capacity);
        }

        /** Where the next entry is. */
        long claim() {
            long t = tail;
            if (t - headSeen >= capacity) {
                headSeen = SharedWords.getLongAcquire(memory, base + HEAD_OFFSET);
                if (t - headSeen >= capacity) {
                    throw new IllegalStateException("ring full: entries=" + capacity);
                }
            }
            tail = t + 1;
            return base + ENTRIES_OFFSET + (t & capacity - 1) * ENTRY_BYTES;
        }

        int staged() {
            return (int) (tail - published);
        }

        void publish() {
            long t = tail;
            if (t != published) {
                SharedWords.setLongRelease(memory, base + TAIL_OFFSET, t);
                published = t;
            }
        }
    }

    /** The reading end. Threads: one. */
    abstract static class Reader extends PaddedBefore {
        private final MemorySegment memory;
        private final long base;
        private final int capacity;
        private long head;
        private long released;
        private long tailSeen;

        private Reader(MemorySegment memory, long base, int capacity) {
            this.memory = memory;
            this.base = base;
            this.capacity = capacity;
        }

        static Reader of(MemorySegment memory, long base, int capacity) {
            return new ReaderAlone(memory, base, capacity);
        }

        /** Where the next entry is, or -1. */
        long next() {
            long h = head;
            if (h == tailSeen) {
                tailSeen = SharedWords.getLongAcquire(memory, base + TAIL_OFFSET);
                if (h == tailSeen) {
                    return -1;
                }
            }
            return base + ENTRIES_OFFSET + (h & capacity - 1) * ENTRY_BYTES;
        }

        void advance() {
            head++;
        }

        void release() {
            long h = head;
            if (h != released) {
                SharedWords.setLongRelease(memory, base + HEAD_OFFSET, h);
                released = h;
            }
        }
    }

    @SuppressWarnings("unused") // they are there to take room
    private static final class WriterAlone extends Writer {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        WriterAlone(MemorySegment memory, long base, int capacity) {
            super(memory, base, capacity);
        }
    }

    @SuppressWarnings("unused") // they are there to take room
    private static final class ReaderAlone extends Reader {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        ReaderAlone(MemorySegment memory, long base, int capacity) {
            super(memory, base, capacity);
        }
    }
}
