package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.Translation.EXECUTE;
import static dev.faultline.iommu.table.Translation.PRIVILEGED_SHIFT;
import static dev.faultline.iommu.table.Translation.READ;
import static dev.faultline.iommu.table.Translation.WRITE;
import static dev.faultline.iommu.table.X86FirstStage.A;
import static dev.faultline.iommu.table.X86FirstStage.D;
import static dev.faultline.iommu.table.X86FirstStage.P;
import static dev.faultline.iommu.table.X86FirstStage.PS;
import static dev.faultline.iommu.table.X86FirstStage.RW;
import static dev.faultline.iommu.table.X86FirstStage.US;
import static dev.faultline.iommu.table.X86FirstStage.XD;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The scenarios of the sheets page-tables and vt-d that concern a walk, by number. */
class VtdWalkTest {
    private static final long ALL = P | RW | US;

    private static HandMade first() {
        return new HandMade(Formats.X86);
    }

    private static HandMade second(boolean marks, boolean executes, boolean snoops) {
        return new HandMade(new VtdSecondStage(48, 52, marks, executes, snoops));
    }

    @Test
    void vtd1MarksOfTheFirstStage() {
        try (HandMade t = first()) {
            t.put(0x1000, 0, 0x5000 | ALL);
            assertTrue(t.walk(0x1000, READ) > 0);
            for (int level = 0; level < 4; level++) {
                assertEquals(A, t.get(0x1000, level) & (A | D), "level " + level);
            }
            assertTrue(t.walk(0x1000, WRITE) > 0);
            assertEquals(A | D, t.get(0x1000, 0) & (A | D));
            assertEquals(A, t.get(0x1000, 1) & (A | D), "D is the leaf's");
        }
    }

    @Test
    void vtd2ReadOnlyLeaf() {
        try (HandMade t = first()) {
            t.put(0x1000, 0, 0x5000 | P | US);
            assertTrue(t.walk(0x1000, READ) > 0);
            assertEquals(0x85, t.vtd(0x1000, WRITE));
            assertEquals(0, t.get(0x1000, 0) & D);
        }
    }

    @Test
    void vtd3NotPresent() {
        try (HandMade t = first()) {
            t.put(0x1000, 2, 0x5000 | RW);
            assertEquals(0x71, t.vtd(0x1000, READ));
            assertEquals(2, Translation.level(t.walk(0x1000, READ)));
        }
        try (HandMade t = second(true, false, false)) {
            t.put(0x1000, 2, 0x5000);
            assertEquals(0x79, t.vtd(0x1000, READ));
            assertEquals(2, Translation.stage(t.walk(0x1000, READ)));
        }
    }

    @Test
    void vtd4NotCanonicalReadsNothing() {
        TestMemory memory = new TestMemory(1);
        try (memory) {
            // No memory where the root is: a read would be a fault of its own.
            Walker walker = new Walker(Formats.X86, memory.physical, 1L << 40);
            assertEquals(0x80, VtdFaults.code(walker.walk(0x0000_8000_0000_0000L, READ), 3, 3));
            assertEquals(0x73, VtdFaults.code(walker.walk(0, READ), 3, 3));
        }
    }

    @Test
    void vtd5AndPageTables20ReservedBits() {
        try (HandMade t = first()) {
            t.put(0x20_0000, 1, ALL | PS | 1 << 13);
            assertEquals(0x72, t.vtd(0x20_0000, READ));
            t.put(0x20_0000, 1, ALL | PS | 1 << 12);
            assertTrue(t.walk(0x20_0000, READ) > 0, "bit 12 is PAT");
            t.put(0x4000_0000, 2, ALL | PS | 1 << 29);
            assertEquals(0x72, t.vtd(0x4000_0000, READ));
            t.put(1L << 39, 3, ALL | PS);
            assertEquals(0x72, t.vtd(1L << 39, READ), "no page of 512 GiB");
        }
        try (HandMade t = second(true, false, false)) {
            t.put(0x20_0000, 1, 0b11 | PS | 1 << 12);
            assertEquals(0x7a, t.vtd(0x20_0000, READ));
            t.put(0x20_0000, 1, 0b11 | PS);
            assertTrue(t.walk(0x20_0000, READ) > 0);
            t.put(0x4000_0000, 2, 0b11 | PS | 1 << 29);
            assertEquals(0x7a, t.vtd(0x4000_0000, READ));
            t.put(1L << 39, 3, 0b11 | PS);
            assertEquals(0x7a, t.vtd(1L << 39, READ));
        }
    }

    @Test
    void snoopIsReservedWithoutSnoopControl() {
        for (boolean snoops : new boolean[] {false, true}) {
            try (HandMade t = second(true, false, snoops)) {
                t.put(0x1000, 0, 0x5000 | 0b11 | VtdSecondStage.SNP);
                assertEquals(snoops ? 0 : 0x7a, t.walk(0x1000, READ) > 0 ? 0 : t.vtd(0x1000, READ));
            }
        }
    }

    @Test
    void addressesAboveTheHostAddressWidth() {
        try (HandMade t = new HandMade(new X86FirstStage(46))) {
            t.put(0x1000, 0, 1L << 46 | ALL);
            assertEquals(0x72, t.vtd(0x1000, READ));
            t.put(0x4000_0000, 2, 1L << 51 | ALL | A);
            assertEquals(0x72, t.vtd(0x4000_0000, READ), "of a table too");
            t.put(0x8000_0000L, 2, 1L << 45 | ALL);
            assertEquals(0x70, t.vtd(0x8000_0000L, READ), "within the width, and no memory is there");
        }
        try (HandMade t = new HandMade(new VtdSecondStage(48, 46, false, false, false))) {
            t.put(0x1000, 0, 1L << 46 | 0b11);
            assertEquals(0x7a, t.vtd(0x1000, READ));
            t.put(0x8000_0000L, 2, 1L << 45 | 0b11);
            assertEquals(0x78, t.vtd(0x8000_0000L, READ));
        }
    }

    @Test
    void reservedBitsComeBeforePermissions() {
        try (HandMade t = first()) {
            t.put(0x20_0000, 1, P | PS | 1 << 13);
            assertEquals(0x72, t.vtd(0x20_0000, WRITE));
        }
    }

    @Test
    void rightsOfEveryLevelCount() {
        try (HandMade t = first()) {
            t.put(0x1000, 0, 0x5000 | ALL);
            long table = t.get(0, 2);
            t.put(0, 2, table & ~US);
            assertEquals(0x81, t.vtd(0x1000, READ));
            assertTrue(t.walk(0x1000, WRITE << PRIVILEGED_SHIFT) > 0);
            t.put(0, 2, table | XD);
            assertEquals(0x82, t.vtd(0x1000, READ | EXECUTE));
            t.put(0, 2, table & ~RW);
            assertEquals(0x85, t.vtd(0x1000, WRITE));
            assertEquals(READ | EXECUTE, Translation.rights(t.walk(0x1000, READ)) & Translation.RIGHTS);
            t.put(0, 2, table);
        }
    }

    @Test
    void pageTables19SecondStageHasNoPresentBit() {
        try (HandMade t = second(true, false, false)) {
            t.put(0x1000, 0, 0x5000);
            assertEquals(0x79, t.vtd(0x1000, READ), "an address alone is not present");
            t.put(0x1000, 0, 0x5000 | 0b10);
            assertTrue(t.walk(0x1000, WRITE) > 0);
            assertEquals(0x86, t.vtd(0x1000, READ));
            t.put(0x1000, 0, 0x5000 | 0b01);
            assertEquals(0x85, t.vtd(0x1000, WRITE));
        }
    }

    @Test
    void secondStageExecutesWithSseeOnly() {
        try (HandMade t = second(true, true, false)) {
            t.put(0x1000, 0, 0x5000 | 0b011);
            assertEquals(0x82, t.vtd(0x1000, READ | EXECUTE));
            t.put(0x1000, 0, 0x5000 | 0b111);
            assertTrue(t.walk(0x1000, READ | EXECUTE) > 0);
        }
        try (HandMade t = second(true, false, false)) {
            t.put(0x1000, 0, 0x5000 | 0b011);
            assertTrue(t.walk(0x1000, READ | EXECUTE) > 0);
        }
    }

    @Test
    void secondStageMarksWithSsadeOnly() {
        try (HandMade t = second(false, false, false)) {
            t.put(0x1000, 0, 0x5000 | 0b11);
            assertTrue(Translation.grants(t.walk(0x1000, WRITE), READ | WRITE));
            assertEquals(0x5000 | 0b11, t.get(0x1000, 0));
        }
        try (HandMade t = second(true, false, false)) {
            t.put(0x1000, 0, 0x5000 | 0b11);
            assertEquals(READ, Translation.rights(t.walk(0x1000, READ)) & (READ | WRITE));
            assertEquals(0x5000 | 0b11 | VtdSecondStage.A, t.get(0x1000, 0));
            assertEquals(VtdSecondStage.A, t.get(0x1000, 3) & VtdSecondStage.A);
            assertTrue(Translation.grants(t.walk(0x1000, WRITE), READ | WRITE));
            assertEquals(0x5000 | 0b11 | VtdSecondStage.A | VtdSecondStage.D, t.get(0x1000, 0));
        }
    }

    @Test
    void pageTables21SignExtension() {
        try (HandMade t = first()) {
            t.put(0xffff_8000_0000_0000L, 0, 0x5000 | ALL);
            assertTrue(t.walk(0xffff_8000_0000_0000L, READ) > 0);
            assertEquals(0x80, t.vtd(0x0000_8000_0000_0000L, READ));
        }
        try (HandMade t = second(true, false, false)) {
            assertEquals(0x84, t.vtd(0xffff_8000_0000_0000L, READ));
            assertEquals(0x79, t.vtd(0x0000_8000_0000_0000L, READ), "below 2^48 it is an address as any other");
        }
    }

    @Test
    void widthsAreChecked() {
        assertEquals(
                "outputBits=53: allowed 32 to 52",
                assertThrows(IllegalArgumentException.class, () -> new X86FirstStage(53))
                        .getMessage());
        assertThrows(IllegalArgumentException.class, () -> new VtdSecondStage(58, 52, true, true, true));
        assertEquals("VT-d second stage, 3 levels", new VtdSecondStage(39, 52, true, true, true).title());
        assertEquals("VT-d second stage, 5 levels", new VtdSecondStage(57, 52, true, true, true).title());
    }

    @Test
    void aWalkGoesOnFromTheTableItReaches() {
        try (HandMade t = first()) {
            t.put(0x1000, 0, 0x5000 | ALL);
            t.put(0x20_0000, 1, ALL | PS);
            for (int level = 0; level < 3; level++) {
                long reached = t.walker.reach(0x1000, level);
                assertEquals(t.slot(0, level) & -4096, Translation.page(reached));
                assertEquals(t.walk(0x1000, READ), t.walker.walkFrom(reached, level, 0x1000, READ));
            }
            assertEquals(0, t.walker.reach(0x20_0000, 0), "a page of 2 MiB has no table of level 0");
            assertEquals(WalkFault.NOT_PRESENT, Translation.reason(t.walker.reach(1L << 39, 0)));
            long table = t.get(0, 2);
            t.put(0, 2, table & ~RW);
            long reached = t.walker.reach(0x1000, 0);
            assertEquals(
                    0x85, VtdFaults.code(t.walker.walkFrom(reached, 0, 0x1000, WRITE), 3, 3), "rights are inherited");
            t.put(0, 2, table);
        }
    }

    @Test
    void vtd30InterruptWindow() {
        for (HandMade made : List.of(first(), second(true, false, false))) {
            try (HandMade t = made;
                    Arena arena = Arena.ofConfined()) {
                long bank = 0xfe00_0000L;
                t.memory.physical.add(bank, arena.allocate(32L << 20, 4096));
                long[] inside = {0xfee0_0000L, 0xfee0_1000L, 0xfeef_f000L};
                long[] beside = {0xfedf_f000L, 0xfef0_0000L};
                for (long page : inside) {
                    t.put(0x1000, 0, t.format.leaf(page, 0, READ, false));
                    assertEquals(0x87, t.vtd(0x1000, READ));
                }
                for (long page : beside) {
                    t.put(0x1000, 0, t.format.leaf(page, 0, READ, false));
                    assertEquals(page, Translation.page(t.walk(0x1000, READ)));
                }
                t.put(0x20_0000, 1, t.format.leaf(0xfee0_0000L, 1, READ, false));
                assertEquals(0x87, t.vtd(0x2f_f000, READ));
                long word = t.walk(0x30_0000, READ);
                assertEquals(0xfef0_0000L, Translation.page(word));
                assertEquals(20, Translation.sizeLg2(word), "no cache may know the window by a page beside it");
                t.put(0x40_0000, 1, t.format.leaf(0xfec0_0000L, 1, READ, false));
                assertEquals(21, Translation.sizeLg2(t.walk(0x40_1000, READ)));
            }
        }
    }
}
