package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.table.Allocator;
import dev.faultline.iommu.table.Leaf;
import dev.faultline.iommu.table.RadixTable;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/**
 * A course of changes of an address space, again and again: each time another allocation fails, the first, the second, and so on until
 * there are no more. A change that fails leaves what is mapped as it was, in every table; at the end every frame is back.
 */
class FailNthTest {
    private static final int READ = 1;
    private static final int WRITE = 2;
    private static final long PAGE = Frames.BYTES;
    private static final long LARGE = 2L << 20;
    private static final long BASE = 1L << 32;
    private static final long FAR = 1L << 41;
    private static final int PAGES = 3 * 512;

    /** Fails once. */
    static final class FailingOnce implements Allocator {
        private final Allocator real;
        private int left;

        FailingOnce(Allocator real, int successes) {
            this.real = real;
            this.left = successes;
        }

        Allocator real() {
            return real;
        }

        boolean hasFailed() {
            return left < 0;
        }

        @Override
        public long allocate() {
            return left-- == 0 ? -1 : real.allocate();
        }

        @Override
        public void free(long address) {
            real.free(address);
        }
    }

    private final List<RadixTable> tables = new ArrayList<>();

    /** What the tables say of the pages that the course is about. */
    private static long[] picture(RadixTable table) {
        long[] picture = new long[PAGES + 4];
        Leaf leaf = new Leaf();
        for (int i = 0; i < picture.length; i++) {
            long at = i < PAGES ? BASE + i * PAGE : FAR + (i - PAGES) * PAGE;
            picture[i] = table.look(at, leaf) ? leaf.physical() + (at - leaf.address()) | (leaf.rights() & 3) : -1;
        }
        return picture;
    }

    private void assertSame(String at) {
        long[] first = picture(tables.getFirst());
        for (RadixTable table : tables) {
            assertTrue(Arrays.equals(first, picture(table)), () -> at + ": tables differ");
        }
    }

    /** Makes a change: true if it was made. One that fails changes nothing, and is made again. */
    private void change(String at, boolean keepsPart, BooleanSupplier change) {
        long[] before = picture(tables.getFirst());
        boolean done;
        try {
            done = change.getAsBoolean();
        } catch (OutOfFrames e) {
            done = false;
        }
        assertSame(at);
        if (!done) {
            if (!keepsPart) {
                assertTrue(Arrays.equals(before, picture(tables.getFirst())), () -> at + " changed something");
            }
            assertTrue(change.getAsBoolean(), at + ", again");
            assertSame(at + ", again");
        }
    }

    @Test
    void whicheverAllocationFailsNothingIsLostAndNothingLeaks() {
        int n = 0;
        while (course(n)) {
            n++;
        }
        assertTrue(n > 30, n + " allocations");
    }

    /** Whether an allocation failed. */
    private boolean course(int n) {
        tables.clear();
        try (Iommu iommu = Iommu.open(IommuConfig.small().withFrames(2048))) {
            Frames frames = iommu.frames();
            long free = frames.freeCount();
            // A large page of memory of one's own.
            MemorySegment own = Arena.ofAuto().allocate(LARGE, LARGE);
            iommu.addMemory(1L << 39, own);
            FailingOnce failing = new FailingOnce(frames.allocator(), n);
            frames.allocator(failing);
            AddressSpace space = make(() -> iommu.addressSpace(TableFormat.X86_4_LEVEL, null));
            tables.add(space.radix());
            PageTable second = make(() -> space.addTable(TableFormat.ARM_4K_STAGE_2, null));
            tables.add(((EngineTable) second.areas()).radix());
            change(n + " zero", false, () -> space.zero(BASE));
            change(n + " zero far", false, () -> space.zero(FAR));
            change(n + " large", false, () -> space.map(BASE + LARGE, 1L << 39, LARGE, READ | WRITE));
            PageTable third = make(() -> space.addTable(TableFormat.VTD_SECOND_4_LEVEL, null));
            tables.add(((EngineTable) third.areas()).radix());
            assertSame(n + " third");
            change(n + " protect", true, () -> space.protect(BASE + LARGE, 3 * PAGE, READ));
            Backing memory = iommu.memory(1L << 39, LARGE);
            Areas areas = space.areas();
            change(
                    n + " area",
                    false,
                    () -> areas.map(memory, 0, LARGE, READ | WRITE, BASE + 2 * LARGE)
                                    .result()
                            == AreaResult.DONE);
            change(
                    n + " copy",
                    false,
                    () -> areas.copy(BASE + 2 * LARGE + PAGE, 2 * PAGE)
                                    .map(areas, READ, FAR + 2 * PAGE)
                                    .result()
                            == AreaResult.DONE);
            PageTable alone = make(() -> iommu.pageTable(TableFormat.ARM_4K_STAGE_1, null));
            AreaResult joined = areas.join(alone.areas());
            if (joined != AreaResult.DONE) {
                assertEquals(AreaResult.NO_MEMORY, joined);
                assertEquals(-1, ((EngineTable) alone.areas()).radix().nextMapped(0, FAR + LARGE), "nothing is shown");
                assertEquals(AreaResult.DONE, areas.join(alone.areas()));
            }
            areas.leave(alone.areas());
            alone.close();
            change(n + " unmap", false, () -> space.unmap(BASE, PAGE));
            assertEquals(AreaResult.DONE, areas.unmapAll().result());
            assertSame(n + " unmapped");
            second.close();
            space.close();
            assertEquals(free, frames.freeCount(), "frames, " + n);
            return failing.hasFailed();
        }
    }

    private static <T> T make(Supplier<T> making) {
        try {
            return making.get();
        } catch (OutOfFrames e) {
            return making.get();
        }
    }
}
