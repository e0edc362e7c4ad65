package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.table.Leaf;
import dev.faultline.iommu.table.RadixTable;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

/** Page tables of the engine's that are kept the same: by areas, and by an address space whose pages a handler gives. */
class SeveralTablesTest {
    private static final int READ = 1;
    private static final int WRITE = 2;
    private static final long PAGE = Frames.BYTES;
    private static final long BASE = 0x4000_0000L;

    private static RadixTable radix(PageTable table) {
        return ((EngineTable) table.areas()).radix();
    }

    /** That a table says of every page what another says. */
    private static void assertSame(RadixTable as, PageTable table, long first, long pages, String at) {
        Leaf expected = new Leaf();
        Leaf actual = new Leaf();
        for (long i = 0; i < pages; i++) {
            long address = first + i * PAGE;
            boolean there = as.look(address, expected);
            assertEquals(there, radix(table).look(address, actual), at + " page " + i);
            if (there) {
                assertEquals(
                        expected.physical() + (address - expected.address()),
                        actual.physical() + (address - actual.address()),
                        at + " page " + i);
                assertEquals(expected.rights(), actual.rights(), at + " page " + i);
            }
        }
    }

    @Test
    void aProgramsMemoryIsReachedThroughEachTableThatJoined() {
        try (Rig rig = Rig.open()) {
            Areas areas = new Areas();
            MemorySegment own = rig.arena.allocate(16 * PAGE, PAGE);
            SegmentBacking memory = new SegmentBacking(own);
            PageTable vtd = rig.iommu.pageTable(TableFormat.VTD_SECOND_4_LEVEL, null);
            PageTable arm = rig.iommu.pageTable(TableFormat.ARM_4K_STAGE_2, null);
            assertEquals(AreaResult.DONE, areas.join(vtd.areas()));
            assertEquals(
                    AreaResult.DONE,
                    areas.map(memory, 0, 4 * PAGE, READ | WRITE, BASE).result());
            assertEquals(AreaResult.DONE, areas.join(arm.areas()));
            assertEquals(
                    AreaResult.DONE,
                    areas.map(memory, 8 * PAGE, 4 * PAGE, READ, 2 * BASE).result());
            assertSame(radix(vtd), arm, BASE, 4, "joined later");
            assertSame(radix(vtd), arm, 2 * BASE, 4, "mapped in both");

            Device first = rig.iommu.device(DeviceConfig.plain("first"));
            Device second = rig.iommu.device(DeviceConfig.plain("second"));
            Attachment _ = first.attach(vtd);
            Attachment _ = second.attach(arm);
            first.write(BASE + 100, rig.bytes(8, 1));
            MemorySegment back = rig.arena.allocate(8);
            second.read(BASE + 100, back);
            assertEquals(-1, back.mismatch(rig.bytes(8, 1)));
            assertEquals(1, own.get(ValueLayout.JAVA_BYTE, 100), "the program sees it too");
            assertThrows(AccessFault.class, () -> second.write(2 * BASE, rig.bytes(8, 1)));

            assertEquals(AreaResult.DONE, areas.unmap(BASE, 4 * PAGE).result());
            assertThrows(AccessFault.class, () -> first.read(BASE, back));
            assertThrows(AccessFault.class, () -> second.read(BASE, back));
            first.close();
            second.close();
            areas.leave(vtd.areas());
            vtd.close();
            assertEquals(AreaResult.DONE, areas.unmapAll().result());
            areas.leave(arm.areas());
            arm.close();
            assertEquals(0, memory.held());
        }
    }

    @Test
    void aHandlersPagesAreInEveryTableOfItsSpace() {
        try (Rig rig = Rig.open()) {
            assertTrue(rig.space.zero(BASE));
            PageTable other = rig.space.addTable(TableFormat.ARM_4K_STAGE_1, null);
            assertSame(rig.space.radix(), other, BASE, 4, "joined");
            assertTrue(rig.space.zero(BASE + PAGE));
            assertTrue(rig.space.map(BASE + 2 * PAGE, rig.bytes(4096, 3), READ));
            assertSame(rig.space.radix(), other, BASE, 4, "mapped");
            assertTrue(rig.space.protect(BASE, PAGE, READ));
            assertSame(rig.space.radix(), other, BASE, 4, "protected");

            Device device = rig.iommu.device(DeviceConfig.plain("d"));
            Attachment _ = device.attach(other);
            device.write(BASE + PAGE, rig.bytes(8, 7));
            assertTrue(rig.space.accessedAndClear(BASE + PAGE));
            assertFalse(rig.space.accessedAndClear(BASE + PAGE));
            MemorySegment saved = rig.arena.allocate(4096);
            assertEquals(Eviction.DIRTY, rig.space.evict(BASE + PAGE, saved));
            assertEquals(7, saved.get(ValueLayout.JAVA_BYTE, 0));
            assertThrows(AccessFault.class, () -> device.read(BASE + PAGE, saved));
            assertTrue(rig.space.unmap(BASE, 4 * PAGE));
            assertSame(rig.space.radix(), other, BASE, 4, "unmapped");
            assertEquals(0, rig.space.mappedPages());
            device.close();
            other.close();
            assertTrue(rig.space.zero(BASE));
        }
    }

    @Test
    void theLastPageOfAllAddressesIsInEveryTable() {
        try (Rig rig = Rig.open()) {
            PageTable other = rig.space.addTable(TableFormat.X86_4_LEVEL, null);
            assertTrue(rig.space.zero(-PAGE));
            assertSame(rig.space.radix(), other, -2 * PAGE, 2, "mapped");
            assertSame(rig.space.radix(), other, 0, 4, "and nothing at the first addresses");
            PageTable joined = rig.space.addTable(TableFormat.X86_4_LEVEL, null);
            assertSame(rig.space.radix(), joined, -2 * PAGE, 2, "joined");
            assertTrue(rig.space.unmap(-2 * PAGE, 2 * PAGE));
            assertSame(rig.space.radix(), other, -2 * PAGE, 2, "unmapped");
        }
    }

    @Test
    void rangesAndPagesKeepOutOfEachOthersWay() {
        try (Rig rig = Rig.open()) {
            long frame = rig.iommu.frames().allocate();
            Backing memory = rig.iommu.memory(frame, PAGE);
            PageTable other = rig.space.addTable(TableFormat.VTD_SECOND_4_LEVEL, null);
            Areas areas = rig.space.areas();
            assertTrue(rig.space.zero(BASE));
            assertEquals(
                    AreaResult.TAKEN, areas.map(memory, 0, PAGE, READ, BASE).result());
            assertEquals(
                    AreaResult.DONE,
                    areas.map(memory, 0, PAGE, READ, BASE + PAGE).result());
            assertSame(rig.space.radix(), other, BASE, 4, "a page and a range");
            assertFalse(rig.space.zero(BASE + PAGE));
            assertThrows(IllegalArgumentException.class, () -> rig.space.unmap(BASE, 2 * PAGE));
            assertThrows(IllegalArgumentException.class, () -> rig.space.protect(BASE + PAGE, PAGE, READ));
            MemorySegment into = rig.arena.allocate(4096);
            assertThrows(IllegalArgumentException.class, () -> rig.space.evict(BASE + PAGE, into));
            assertEquals(new Areas.Unmapped(AreaResult.DONE, PAGE), areas.unmap(BASE, 2 * PAGE));
            assertTrue(rig.space.isMapped(BASE));
            assertSame(rig.space.radix(), other, BASE, 4, "the page alone");
            rig.iommu.frames().free(frame);
        }
    }

    @Test
    void aTableThatCanNotBeFilledDoesNotJoinAndAPageThatFitsNotAllIsInNone() {
        try (Rig rig = Rig.open()) {
            Frames frames = rig.iommu.frames();
            for (int i = 0; i < 64; i++) {
                // Each in a table of its own.
                assertTrue(rig.space.zero(BASE + ((long) i << 21)));
            }
            List<Long> taken = new ArrayList<>();
            while (frames.freeCount() > 20) {
                taken.add(frames.allocate());
            }
            long before = frames.freeCount();
            assertThrows(OutOfFrames.class, () -> rig.space.addTable(TableFormat.ARM_4K_STAGE_2, null));
            assertEquals(before, frames.freeCount());
            taken.forEach(frames::free);

            PageTable other = rig.space.addTable(TableFormat.ARM_4K_STAGE_2, null);
            taken.clear();
            while (frames.freeCount() > 4) {
                taken.add(frames.allocate());
            }
            long far = 1L << 40;
            assertThrows(OutOfFrames.class, () -> rig.space.zero(far), "4 frames are a page and three tables");
            assertFalse(rig.space.isMapped(far));
            assertSame(rig.space.radix(), other, far, 1, "nowhere");
            assertSame(rig.space.radix(), other, BASE, 64 * 512, "the rest");
            taken.forEach(frames::free);
            assertTrue(rig.space.zero(far));
            assertSame(rig.space.radix(), other, far, 1, "everywhere");
        }
    }

    @Test
    void mappingUnmappingAndJoiningAtOnceLeavesAllTheSame() throws InterruptedException {
        Random random = Seeds.random("SeveralTables");
        int pages = 24;
        int rounds = 4_000;
        try (Rig rig = Rig.open()) {
            PageTable stays = rig.space.addTable(TableFormat.VTD_SECOND_4_LEVEL, null);
            AtomicReference<Throwable> failed = new AtomicReference<>();
            CountDownLatch running = new CountDownLatch(2);
            List<Thread> threads = new ArrayList<>();
            for (int t = 0; t < 2; t++) {
                long seed = random.nextLong();
                threads.add(Thread.ofPlatform().start(() -> {
                    Random mine = new Random(seed);
                    try {
                        for (int i = 0; i < rounds; i++) {
                            long at = BASE + mine.nextInt(pages) * PAGE;
                            if (mine.nextBoolean()) {
                                var _ = rig.space.zero(at);
                            } else {
                                var _ = rig.space.unmap(at, PAGE);
                            }
                        }
                    } catch (Throwable e) {
                        failed.set(e);
                    } finally {
                        running.countDown();
                    }
                }));
            }
            int joins = 0;
            while (running.getCount() > 0) {
                PageTable joining = rig.space.addTable(TableFormat.ARM_4K_STAGE_1, null);
                joins++;
                if (joins % 2 == 0) {
                    Thread.yield();
                }
                joining.close();
            }
            for (Thread thread : threads) {
                thread.join();
            }
            assertNull(failed.get(), () -> String.valueOf(failed.get()));
            assertSame(rig.space.radix(), stays, BASE, pages, "end, " + joins + " joins");
            PageTable last = rig.space.addTable(TableFormat.ARM_4K_STAGE_1, null);
            assertSame(rig.space.radix(), last, BASE, pages, "joined at the end");
        }
    }
}
