package dev.faultline.examples.replay;

import dev.faultline.ffm.Region;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Pages of memory by key, added as they are touched.
 *
 * <p>Threads: one. Ownership: closing frees every page. Memory: 4 KiB for each key ever added, taken 64 pages at a time
 * so that only every 64th addition allocates.
 */
final class PageStore implements AutoCloseable {
    private static final int CHUNK_PAGES = 64;

    private final PageIndex index;
    private final List<Region> chunks = new ArrayList<>();
    private MemorySegment[] pages = new MemorySegment[CHUNK_PAGES];

    PageStore(int expected) {
        index = new PageIndex(expected);
    }

    /** How many pages there are. */
    int size() {
        return index.size();
    }

    /**
     * Finds a page.
     *
     * @param key 0 or more
     * @return its number for {@link #page}, or {@link PageIndex#NONE}
     */
    int find(long key) {
        return index.get(key);
    }

    /**
     * Adds a zeroed page for a key that has none.
     *
     * @param key 0 or more
     * @return its number for {@link #page}
     */
    int add(long key) {
        int number = index.size();
        if (number % CHUNK_PAGES == 0) {
            addChunk();
        }
        index.add(key, number);
        return number;
    }

    MemorySegment page(int number) {
        return pages[number];
    }

    private void addChunk() {
        Region chunk = Region.allocate((long) CHUNK_PAGES * TraceAccess.PAGE_BYTES);
        chunks.add(chunk);
        int first = (chunks.size() - 1) * CHUNK_PAGES;
        if (first == pages.length) {
            pages = Arrays.copyOf(pages, pages.length * 2);
        }
        for (int i = 0; i < CHUNK_PAGES; i++) {
            pages[first + i] = chunk.segment().asSlice((long) i * TraceAccess.PAGE_BYTES, TraceAccess.PAGE_BYTES);
        }
    }

    @Override
    public void close() {
        chunks.forEach(Region::close);
    }
}
