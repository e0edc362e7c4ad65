package dev.faultline.bench.contender;

import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import dev.faultline.iommu.table.PhysicalMemory;
import dev.faultline.iommu.table.Translation;
import dev.faultline.iommu.table.Walker;
import dev.faultline.iommu.table.X86FirstStage;
import java.lang.foreign.MemorySegment;

/**
 * Walks of four levels, no walk begun before the one before has ended, at random addresses of a scene whose every page of 4 KiB is mapped. The tables are
 * written by hand, as {@code walk.h} writes them; the pages are frames of the tables themselves, for nobody looks into them.
 */
final class WalkChain extends OneThread {
    private static final long FIRST_ADDRESS = 1L << 39;
    private static final int ENTRIES = 512;
    private static final int ENTRY_SHIFT = 3;
    private static final int LEVEL_BITS = 9;
    private static final int PAGE_SHIFT = 12;
    private static final int LEVELS = 4;
    private static final long FACTOR = 6364136223846793005L;
    private static final long STEP = 1442695040888963407L;
    private static final int RANDOM_SHIFT = 33;
    /** Present, writable, for users, accessed, dirty. */
    private static final long MARKS = 0x67;

    private final Region region;
    private final Walker walker;
    private final long pageMask;
    private final long frames;
    private long random = 1;
    private long last;

    /**
     * Writes the tables.
     *
     * @param pages mapped: a power of two, 512 or more
     */
    WalkChain(long pages) {
        pageMask = pages - 1;
        long[] tables = new long[LEVELS];
        long all = 0;
        for (int level = 0; level < LEVELS; level++) {
            tables[level] = Math.max(1, pages >>> (LEVEL_BITS * (level + 1)));
            all += tables[level];
        }
        frames = all;
        region = Region.allocate(all << PAGE_SHIFT);
        MemorySegment memory = region.segment();
        walker = new Walker(new X86FirstStage(PhysicalMemory.ADDRESS_BITS), new PhysicalMemory(memory), 0);
        // The root is frame 0; under it, table by table, the levels.
        long first = 1;
        long above = 0;
        for (int level = LEVELS - 1; level >= 0; level--) {
            long entries = level == 0 ? pages : tables[level - 1];
            // Only the root's first entry is not at its start.
            long skip = level == LEVELS - 1 ? FIRST_ADDRESS >>> (PAGE_SHIFT + LEVEL_BITS * level) & (ENTRIES - 1) : 0;
            for (long i = 0; i < entries; i++) {
                long target = level == 0 ? i % frames : first + i;
                SharedWords.putLong(
                        memory, (above << PAGE_SHIFT) + ((i + skip) << ENTRY_SHIFT), target << PAGE_SHIFT | MARKS);
            }
            above = first;
            first += level == 0 ? 0 : entries;
        }
    }

    @Override
    public int request(int roundTrips) {
        Walker walked = walker;
        long mask = pageMask;
        long state = random;
        long word = last;
        for (int i = 0; i < roundTrips; i++) {
            state = state * FACTOR + STEP;
            // The sign of a translation is 0; so the address is only known when the walk before has ended.
            long page = (state >>> RANDOM_SHIFT & mask) + (word >>> (Long.SIZE - 1));
            word = walked.walk(FIRST_ADDRESS + (page << PAGE_SHIFT), Translation.READ);
        }
        random = state;
        last = word;
        return roundTrips;
    }

    @Override
    public void end() {
        if (Translation.isFault(last)) {
            throw new IllegalStateException("fault=" + Translation.reason(last));
        }
    }

    @Override
    public void close() {
        region.close();
    }
}
