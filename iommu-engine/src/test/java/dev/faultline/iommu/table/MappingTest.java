package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.RadixTable.Outcome.DONE;
import static dev.faultline.iommu.table.RadixTable.Outcome.IN_USE;
import static dev.faultline.iommu.table.RadixTable.Outcome.NO_FRAME;
import static dev.faultline.iommu.table.Translation.EXECUTE;
import static dev.faultline.iommu.table.Translation.READ;
import static dev.faultline.iommu.table.Translation.WRITE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Region;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Mapping and unmapping: the scenarios of the sheet page-tables, by number, and what they leave of tables. */
class MappingTest {
    private static final long SMALL = 1L << 12;
    private static final long LARGE = 1L << 21;
    private static final int ALL = READ | WRITE | EXECUTE;

    static Stream<PageFormat> formats() {
        return Formats.all();
    }

    private static void free(RadixTable table, Taken taken) {
        table.free(taken);
        taken.clear();
    }

    @ParameterizedTest
    @MethodSource("formats")
    void pageTables23RoundTrip(PageFormat format) {
        for (int level = 0; level <= 2; level++) {
            for (int rights = READ; rights <= ALL; rights += 2) {
                for (boolean owned : new boolean[] {false, true}) {
                    long entry = format.leaf(0x4000_0000, level, rights, owned);
                    assertEquals(PageFormat.LEAF, format.classify(entry, level));
                    assertEquals(0x4000_0000, format.leafAddress(entry, level));
                    assertEquals(rights, format.rightsOf(entry));
                    assertEquals(owned, format.owned(entry));
                    assertEquals(entry, format.leaf(0x4000_0000, level, format.rightsOf(entry), format.owned(entry)));
                    assertEquals(entry, format.withRights(entry, level, rights));
                    for (int other = READ; other <= ALL; other += 2) {
                        long used = format.marked(entry, level, true, (rights & WRITE) != 0);
                        long changed = format.withRights(used, level, other);
                        assertEquals(other, format.rightsOf(changed));
                        if (marks(format)) {
                            assertEquals(format.dirty(used), format.dirty(changed), "the mark outlives other rights");
                        }
                    }
                    if (level > 0) {
                        long part = format.split(entry, level, 1L << format.shift(level - 1));
                        assertEquals(
                                format.leaf(0x4000_0000 + (1L << format.shift(level - 1)), level - 1, rights, owned),
                                part);
                    }
                }
            }
        }
        assertEquals(PageFormat.TABLE, format.classify(format.table(0x5000), 1));
        assertEquals(0x5000, format.tableAddress(format.table(0x5000)));
    }

    private static boolean marks(PageFormat format) {
        long leaf = format.leaf(0, 0, ALL, false);
        return !format.dirty(leaf);
    }

    @ParameterizedTest
    @MethodSource("formats")
    void pageTables24MapSplitsIntoTheLargestPages(PageFormat format) {
        try (TestMemory memory = new TestMemory(64)) {
            RadixTable table = memory.table(format);
            Taken taken = new Taken();
            assertEquals(2 * LARGE, table.mapPages(SMALL, SMALL, 2 * LARGE, ALL, SMALL | LARGE, taken));
            assertEquals(12, table.mappedLg2(SMALL));
            assertEquals(12, table.mappedLg2(LARGE - 1));
            assertEquals(21, table.mappedLg2(LARGE));
            assertEquals(12, table.mappedLg2(2 * LARGE));
            assertEquals(0, table.mappedLg2(2 * LARGE + SMALL));
            assertEquals(0, table.unmap(0, 1L << 30, taken, Integer.MAX_VALUE));
            assertEquals(511 + 1 + 1, taken.pages());
            long bytes = 0;
            for (int i = 0; i < taken.pages(); i++) {
                bytes += 1L << taken.sizeLg2(i);
            }
            assertEquals(2 * LARGE, bytes);
            taken.clear();
            table.mapPages(0, 0, 2 * LARGE, ALL, SMALL, taken);
            assertEquals(12, table.mappedLg2(0), "only sizes that are allowed");
            table.close();
        }
    }

    /** Here a large page that a range cuts is left alone; {@code AddressSpace.unmap} refuses such a range. */
    @ParameterizedTest
    @MethodSource("formats")
    void pageTables25UnmapOfAPartOfALargePage(PageFormat format) {
        try (TestMemory memory = new TestMemory(64)) {
            RadixTable table = memory.table(format);
            Taken taken = new Taken();
            assertEquals(DONE, table.map(LARGE, 0, 21, ALL, false, taken));
            assertEquals(0, table.unmap(LARGE, LARGE + SMALL - 1, taken, 10));
            assertEquals(0, table.unmap(LARGE + SMALL, 2 * LARGE - 1, taken, 10));
            assertTrue(taken.isEmpty());
            assertEquals(0, table.unmap(LARGE, 2 * LARGE - 1, taken, 10));
            assertEquals(1, taken.pages());
            table.close();
        }
    }

    @ParameterizedTest
    @MethodSource("formats")
    void pageTables26Hole(PageFormat format) {
        try (TestMemory memory = new TestMemory(64)) {
            RadixTable table = memory.table(format);
            Taken taken = new Taken();
            assertEquals(DONE, table.map(0, 0, 12, ALL, false, taken));
            assertEquals(DONE, table.map(2 * SMALL, 0, 12, ALL, false, taken));
            assertEquals(0, table.unmap(0, 3 * SMALL - 1, taken, 10), "holes are passed over");
            assertEquals(2, taken.pages());
            taken.clear();
            assertEquals(DONE, table.map(0, 0, 12, ALL, false, taken));
            assertEquals(DONE, table.map(2 * SMALL, 0, 12, ALL, false, taken));
            assertEquals(2 * SMALL, table.unmap(0, 3 * SMALL - 1, taken, 1), "as far as there is room");
            table.close();
        }
    }

    @ParameterizedTest
    @MethodSource("formats")
    void pageTables27LargePageOverATable(PageFormat format) {
        try (TestMemory memory = new TestMemory(64)) {
            RadixTable table = memory.table(format);
            Taken taken = new Taken();
            assertEquals(DONE, table.map(LARGE + SMALL, 0, 12, ALL, false, taken));
            int free = memory.freeCount();
            assertEquals(IN_USE, table.map(LARGE, 0, 21, ALL, false, taken));
            assertEquals(12, table.mappedLg2(LARGE + SMALL), "nothing changed");
            assertTrue(taken.isEmpty());
            assertEquals(0, table.unmap(LARGE, 2 * LARGE - 1, taken, 10));
            taken.clear();
            assertEquals(DONE, table.map(LARGE, 0, 21, ALL, false, taken));
            assertEquals(1, taken.tables());
            assertEquals(free, memory.freeCount(), "not freed before the invalidation");
            free(table, taken);
            assertEquals(free + 1, memory.freeCount());
            assertEquals(IN_USE, table.map(LARGE + SMALL, 0, 12, ALL, false, taken));
            assertEquals(IN_USE, table.map(LARGE, 0, 21, ALL, false, taken));
            // A page of 1 GiB over a tree of empty tables.
            assertEquals(0, table.unmap(0, (1L << 30) - 1, taken, 10));
            assertEquals(DONE, table.map(3 * LARGE, 0, 12, ALL, false, taken));
            assertEquals(0, table.unmap(3 * LARGE, 3 * LARGE + SMALL - 1, taken, 10));
            taken.clear();
            assertEquals(DONE, table.map(0, 0, 30, ALL, false, taken));
            assertEquals(2, taken.tables());
            free(table, taken);
            assertEquals(30, table.mappedLg2(5 * LARGE));
            table.close();
        }
    }

    @ParameterizedTest
    @MethodSource("formats")
    void unmappingAWholeTableFreesIt(PageFormat format) {
        try (TestMemory memory = new TestMemory(64)) {
            RadixTable table = memory.table(format);
            int free = memory.freeCount();
            Taken taken = new Taken();
            assertEquals(DONE, table.map(3 * LARGE, 0, 12, ALL, false, taken));
            assertEquals(DONE, table.map(1L << 30, 0, 12, ALL, false, taken));
            assertTrue(memory.freeCount() < free);
            assertEquals(0, table.unmap(3 * LARGE, 4 * LARGE - 1, taken, 10));
            table.prune(3 * LARGE, 4 * LARGE - 1, taken);
            assertEquals(1, taken.tables());
            assertEquals(1, taken.pages());
            free(table, taken);
            // Tables that hold a page stay.
            table.prune(0, (2L << 30) - 1, taken);
            assertEquals(0, taken.pages());
            assertEquals(1, taken.tables());
            free(table, taken);
            assertEquals(12, table.mappedLg2(1L << 30));
            assertEquals(0, table.unmap(1L << 30, (2L << 30) - 1, taken, 10));
            table.prune(0, (2L << 30) - 1, taken);
            free(table, taken);
            assertEquals(format.topLevel > 2 ? free - 1 : free, memory.freeCount(), "but the one that goes on beyond");
            assertEquals(0, table.mappedLg2(1L << 30));
            table.close();
        }
    }

    /** What was mapped as part of a range is changed as part of a range, and pages by themselves as such, in one table. */
    @ParameterizedTest
    @MethodSource("formats")
    void rangesAndPagesLeaveEachOtherAlone(PageFormat format) {
        try (TestMemory memory = new TestMemory(1024)) {
            RadixTable table = memory.table(format);
            Taken taken = new Taken();
            Leaf leaf = new Leaf();
            assertEquals(LARGE + SMALL, table.mapRange(0, 0, LARGE + SMALL, ALL, -1, taken));
            assertEquals(SMALL, table.mapPages(LARGE + SMALL, 0, SMALL, ALL, -1, taken));
            assertEquals(0, table.mapRange(LARGE + SMALL, 0, SMALL, ALL, -1, taken));
            assertEquals(IN_USE, taken.outcome());
            assertTrue(table.look(0, leaf) && leaf.isOfRange());
            assertTrue(table.look(LARGE + SMALL, leaf) && !leaf.isOfRange());
            assertTrue(table.walk(SMALL, WRITE) > 0, "the hardware does not see it");

            assertEquals(DONE, table.protect(0, 2 * LARGE - 1, READ, taken));
            assertEquals(1, taken.pages());
            assertEquals(LARGE + SMALL, taken.address(0));
            assertTrue(table.walk(SMALL, WRITE) > 0);
            taken.clear();
            assertEquals(0, table.unmap(0, 2 * LARGE - 1, taken, 10));
            assertEquals(1, taken.pages());
            assertEquals(0, table.mappedLg2(LARGE + SMALL));
            assertEquals(SMALL, table.mapPages(LARGE + SMALL, 0, SMALL, ALL, -1, taken));
            taken.clear();
            assertEquals(0, table.unmapRange(0, 2 * LARGE - 1, taken, 10));
            assertEquals(2, taken.pages());
            table.prune(0, (1L << 30) - 1, taken);
            assertEquals(0, taken.tables(), "a page is in it");
            assertEquals(12, table.mappedLg2(LARGE + SMALL));
            assertEquals(0, table.mappedLg2(0));
            table.close();
        }
    }

    @ParameterizedTest
    @MethodSource("formats")
    void protectSplitsWhatItCuts(PageFormat format) {
        try (TestMemory memory = new TestMemory(1024)) {
            RadixTable table = memory.table(format);
            Taken taken = new Taken();
            assertEquals(DONE, table.map(0, 0, 30, READ | WRITE, false, taken));
            assertTrue(table.walk(0x1000, WRITE) > 0);
            assertEquals(DONE, table.protect(LARGE, LARGE + SMALL - 1, READ, taken));
            assertEquals(1, taken.pages());
            assertEquals(12, table.mappedLg2(LARGE));
            assertEquals(12, table.mappedLg2(2 * LARGE - 1));
            assertEquals(21, table.mappedLg2(0));
            assertEquals(21, table.mappedLg2((1L << 30) - 1));
            assertEquals(WalkFault.NO_WRITE, Translation.reason(table.walk(LARGE, WRITE)));
            assertEquals(LARGE, Translation.page(table.walk(LARGE, READ)));
            long word = table.walk(LARGE + SMALL, WRITE);
            assertEquals(LARGE + SMALL, Translation.page(word));
            assertEquals(12, Translation.sizeLg2(word));
            assertTrue(format.dirty(table.entry(LARGE)), "the parts are dirty as the whole was");
            taken.clear();
            assertEquals(DONE, table.protect(0, (1L << 30) - 1, READ | WRITE, taken));
            assertEquals(1, taken.pages(), "only what changed");
            table.close();
        }
    }

    /** Each allocation fails once: nothing is lost, and everything is freed. */
    @ParameterizedTest
    @MethodSource("formats")
    void everyAllocationMayFail(PageFormat format) {
        for (int fails = 0; ; fails++) {
            try (TestMemory memory = new TestMemory(2048)) {
                memory.failAfter(fails);
                RadixTable table = RadixTable.make(format, memory.physical, memory);
                if (table == null) {
                    continue;
                }
                Taken taken = new Taken();
                long done = table.mapPages(LARGE - 2 * SMALL, LARGE - 2 * SMALL, 2 * LARGE, ALL, -1, taken);
                for (long at = 0; at < 2 * LARGE; at += SMALL) {
                    assertEquals(at < done, table.mappedLg2(LARGE - 2 * SMALL + at) > 0);
                }
                RadixTable.Outcome narrowed = table.protect(LARGE + SMALL, LARGE + 2 * SMALL - 1, READ, taken);
                if (narrowed == NO_FRAME) {
                    assertTrue(table.walk(LARGE + SMALL, WRITE) > 0, "as it was");
                }
                boolean whole = done == 2 * LARGE && narrowed == DONE;
                taken.clear();
                assertEquals(0, table.unmap(0, 4 * LARGE - 1, taken, Integer.MAX_VALUE));
                table.prune(0, (1L << 30) - 1, taken);
                free(table, taken);
                table.close();
                if (whole) {
                    return;
                }
            }
        }
    }

    @Test
    void aRootOfManyTablesNeedsThemSideBySide() {
        ArmSecondStage eight = new ArmSecondStage(42, 2, 42, ArmLongDescriptors.Marks.FAULT);
        try (TestMemory memory = new TestMemory(32)) {
            long first = memory.allocate();
            RadixTable table = memory.table(eight);
            assertEquals(0, table.root() % (8 * SMALL));
            Taken taken = new Taken();
            assertEquals(DONE, table.map((1L << 42) - SMALL, 0x3000, 12, ALL, false, taken));
            assertEquals(0x3000, Translation.page(table.walk((1L << 42) - 1, READ)));
            table.close();
            memory.free(first);
        }
        try (TestMemory memory = new TestMemory(4)) {
            assertNull(RadixTable.make(eight, memory.physical, memory));
        }
    }

    @Test
    void ownedPagesGoWithTheTable() {
        try (TestMemory memory = new TestMemory(64)) {
            RadixTable table = memory.table(Formats.X86);
            Taken taken = new Taken();
            long page = memory.allocate();
            assertEquals(DONE, table.map(0x5000, page, 12, ALL, true, taken));
            assertEquals(DONE, table.map(0x6000, 0, 12, ALL, false, taken));
            assertFalse(table.remove(0x5000, 1));
            long entry = table.entry(0x5000);
            assertEquals(page, table.page(entry));
            assertTrue(table.remove(0x5000, entry));
            assertTrue(table.restore(0x5000, entry));
            assertFalse(table.restore(0x5000, entry));
            table.close();
        }
    }

    @Test
    void marksCanBeReadAndCleared() {
        try (TestMemory memory = new TestMemory(1024)) {
            RadixTable table = memory.table(Formats.VTD_SECOND);
            Taken taken = new Taken();
            assertEquals(DONE, table.map(LARGE, 0, 21, ALL, false, taken));
            assertFalse(table.accessedAndClear(LARGE + SMALL));
            assertTrue(table.walk(LARGE, WRITE) > 0);
            assertTrue(table.accessedAndClear(LARGE + SMALL));
            assertFalse(table.accessedAndClear(LARGE + SMALL));
            assertTrue(table.dirtyAndClear(LARGE + SMALL));
            assertFalse(table.dirtyAndClear(LARGE));
            assertFalse(table.accessedAndClear(0));
            assertFalse(table.dirtyAndClear(0));
            table.close();
        }
    }

    @Test
    void banksLieAnywhereBelow2To52() {
        try (TestMemory memory = new TestMemory(64);
                Region far = Region.allocate(4 * SMALL)) {
            long base = (1L << 52) - 4 * SMALL;
            memory.physical.add(base, far.segment());
            RadixTable table = memory.table(Formats.X86);
            Taken taken = new Taken();
            assertEquals(DONE, table.map(0, base, 12, ALL, false, taken));
            assertEquals(base, Translation.page(table.walk(5, WRITE)));
            assertEquals(DONE, table.map(SMALL, base - SMALL, 12, ALL, false, taken));
            assertEquals(WalkFault.PAGE_OUTSIDE, Translation.reason(table.walk(SMALL, READ)), "between the banks");
            assertEquals(-1, memory.physical.reachLg2(1L << 30, 12));
            assertEquals(14, memory.physical.reachLg2(base, 30));
            // Tables in such a bank as well.
            Walker there = new Walker(Formats.X86, memory.physical, base + SMALL);
            memory.physical.exchange(base + SMALL, Formats.X86.table(base + 2 * SMALL));
            memory.physical.exchange(base + 2 * SMALL, Formats.X86.table(base - SMALL));
            long fault = there.walk(0, READ);
            assertEquals(WalkFault.TABLE_READ, Translation.reason(fault));
            assertEquals(1, Translation.level(fault));
            assertEquals(base - SMALL, Translation.address(fault));
            memory.physical.remove(base);
            assertEquals(WalkFault.PAGE_OUTSIDE, Translation.reason(table.walk(0, READ)));
            for (long bad : new long[] {-SMALL, 1, 63 * SMALL, (1L << 52) - SMALL}) {
                assertThrows(IllegalArgumentException.class, () -> memory.physical.add(bad, far.segment()));
            }
            table.close();
        }
    }
}
