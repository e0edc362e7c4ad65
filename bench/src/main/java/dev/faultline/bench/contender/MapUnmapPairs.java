package dev.faultline.bench.contender;

import dev.faultline.ffm.Region;
import dev.faultline.iommu.table.Allocator;
import dev.faultline.iommu.table.PhysicalMemory;
import dev.faultline.iommu.table.RadixTable;
import dev.faultline.iommu.table.Taken;
import dev.faultline.iommu.table.Translation;
import dev.faultline.iommu.table.X86FirstStage;

/** Maps a page of 4 KiB and unmaps it again, with its tables there and nobody to be told: time of the pair. */
final class MapUnmapPairs implements Gauge.Sampler {
    private static final int FRAMES = 16;
    private static final int PAGE_SHIFT = 12;
    private static final int OUTPUT_BITS = 52;
    private static final int PAGES = 256;
    private static final long PAGE_BYTES = 1L << PAGE_SHIFT;
    private static final long FIRST_ADDRESS = 0x7000_0000L;
    /** Beside the others in their table, so that it is never empty. */
    private static final long KEPT = FIRST_ADDRESS + PAGES * PAGE_BYTES;

    private final Taken taken = new Taken();
    private final RadixTable table;
    private int nextFrame;

    MapUnmapPairs() {
        Region region = Region.allocate(FRAMES * PAGE_BYTES);
        RadixTable made =
                RadixTable.make(new X86FirstStage(OUTPUT_BITS), new PhysicalMemory(region.segment()), new Allocator() {
                    @Override
                    public long allocate() {
                        return nextFrame < FRAMES ? nextFrame++ * PAGE_BYTES : -1;
                    }

                    @Override
                    public void free(long address) {
                        throw new IllegalStateException("address=" + address + ": no table goes");
                    }
                });
        if (made == null) {
            throw new IllegalStateException("no frame for a root");
        }
        table = made;
        map(KEPT);
    }

    private void map(long address) {
        if (table.map(address, 0, PAGE_SHIFT, Translation.RIGHTS, false, taken) != RadixTable.Outcome.DONE) {
            throw new IllegalStateException("address=" + address + ": not mapped");
        }
    }

    private void pairs() {
        for (int page = 0; page < PAGES; page++) {
            long address = FIRST_ADDRESS + page * PAGE_BYTES;
            map(address);
            long next = table.unmap(address, address + PAGE_BYTES - 1, taken, 1);
            if (taken.pages() != 1) {
                throw new IllegalStateException("address=" + address + ": not unmapped, next=" + next);
            }
            taken.clear();
        }
    }

    @Override
    public double sample(long ns) {
        for (long begun = System.nanoTime(); System.nanoTime() - begun < ns; ) {
            pairs();
        }
        long rounds = 0;
        long begun = System.nanoTime();
        long took;
        do {
            pairs();
            rounds++;
            took = System.nanoTime() - begun;
        } while (took < ns);
        return (double) took / (rounds * PAGES);
    }
}
