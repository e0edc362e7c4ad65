package dev.faultline.examples.replay;

import dev.faultline.ffm.Region;
import java.lang.foreign.MemorySegment;

/**
 * Where pages are when they have no frame: those that were written back as they were, all others as the program's file
 * would give them.
 *
 * <p>Threads: one. Ownership: closing frees the pages. Memory: 4 KiB for each page ever written back. Keys are those of
 * {@link PageKey}.
 */
class BackingStore implements AutoCloseable {
    private final long seed;
    private final PageStore writtenBack = new PageStore(1024);
    private final Region unwritten = Region.allocate(TraceAccess.PAGE_BYTES);
    private final Region incoming = Region.allocate(TraceAccess.PAGE_BYTES);

    BackingStore(long seed) {
        this.seed = seed;
    }

    /** Whether the page was written back before. */
    final boolean holds(long key) {
        return writtenBack.find(key) != PageIndex.NONE;
    }

    /** How many different pages were written back. */
    final int pages() {
        return writtenBack.size();
    }

    /** The contents of a page; valid until the next call. */
    MemorySegment read(long key) {
        int number = writtenBack.find(key);
        if (number != PageIndex.NONE) {
            return writtenBack.page(number);
        }
        Scramble.fillPage(Scramble.deviceSeed(seed, PageKey.number(key)), PageKey.page(key), unwritten.segment(), 0);
        return unwritten.segment();
    }

    /** A page to fill before {@link #write}. */
    final MemorySegment incoming() {
        return incoming.segment();
    }

    /** Keeps what {@link #incoming} holds as the contents of a page. */
    void write(long key) {
        int number = writtenBack.find(key);
        if (number == PageIndex.NONE) {
            number = writtenBack.add(key);
        }
        MemorySegment.copy(incoming.segment(), 0, writtenBack.page(number), 0, TraceAccess.PAGE_BYTES);
    }

    @Override
    public void close() {
        writtenBack.close();
        unwritten.close();
        incoming.close();
    }
}
