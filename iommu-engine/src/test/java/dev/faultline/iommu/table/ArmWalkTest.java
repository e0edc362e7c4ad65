package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.ArmFirstStage.PXN;
import static dev.faultline.iommu.table.ArmFirstStage.READ_ONLY;
import static dev.faultline.iommu.table.ArmFirstStage.USER;
import static dev.faultline.iommu.table.ArmFirstStage.UXN;
import static dev.faultline.iommu.table.ArmLongDescriptors.AF;
import static dev.faultline.iommu.table.ArmLongDescriptors.CONTIGUOUS;
import static dev.faultline.iommu.table.ArmLongDescriptors.DBM;
import static dev.faultline.iommu.table.Translation.EXECUTE;
import static dev.faultline.iommu.table.Translation.PRIVILEGED_SHIFT;
import static dev.faultline.iommu.table.Translation.READ;
import static dev.faultline.iommu.table.Translation.WRITE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.table.ArmLongDescriptors.Marks;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The scenarios of the sheets page-tables and smmuv3 that concern a walk, by number. */
class ArmWalkTest {
    @TempDir
    Path folder;

    private static final int TRANSLATION = 0x10;
    private static final int ADDRESS_SIZE = 0x11;
    private static final int ACCESS = 0x12;
    private static final int PERMISSION = 0x13;
    private static final long PAGE = 0b11;
    private static final long BLOCK = 0b01;
    private static final long USABLE = AF | USER;

    private static HandMade firstStage(Marks marks) {
        return new HandMade(new ArmFirstStage(48, 48, marks));
    }

    @Test
    void pageTables1LeavesOfEverySizeToTheirLastByte() {
        try (HandMade t = firstStage(Marks.FAULT)) {
            t.put(0x1000, 0, 0x20_0000 | PAGE | USABLE);
            t.put(0x20_0000, 1, 0x20_0000 | BLOCK | USABLE);
            t.put(0x4000_0000, 2, BLOCK | USABLE);
            check(t, 0x1000, 0x20_0000, 12);
            check(t, 0x1fff, 0x20_0000, 12);
            assertEquals(TRANSLATION, t.smmu(0x2000, READ));
            check(t, 0x20_0000, 0x20_0000, 21);
            check(t, 0x3f_ffff, 0x3f_f000, 21);
            assertEquals(TRANSLATION, t.smmu(0x40_0000, READ));
            // Of the page of 1 GiB at 0 there is memory for 4 MiB: the word holds as far as that goes.
            check(t, 0x4000_0000, 0, 22);
            check(t, 0x403f_ffff, 0x3f_f000, 22);
            assertEquals(WalkFault.PAGE_OUTSIDE, Translation.reason(t.walk(0x7fff_ffff, READ)));
            assertEquals(TRANSLATION, t.smmu(0x8000_0000L, READ));
        }
    }

    @Test
    void pageTables1APageOfOneGigabyteToItsLastByte() throws IOException {
        long bytes = 1L << 30;
        Path path = folder.resolve("memory");
        try (HandMade t = firstStage(Marks.FAULT);
                FileChannel file = FileChannel.open(
                        path, StandardOpenOption.CREATE_NEW, StandardOpenOption.READ, StandardOpenOption.WRITE);
                Arena arena = Arena.ofConfined()) {
            t.memory.physical.add(bytes, file.map(MapMode.READ_WRITE, 0, bytes, arena));
            t.put(0x4000_0000, 2, bytes | BLOCK | USABLE);
            check(t, 0x4000_0000, bytes, 30);
            check(t, 0x7fff_ffff, 2 * bytes - 0x1000, 30);
            assertEquals(TRANSLATION, t.smmu(0x8000_0000L, READ));
        }
    }

    private static void check(HandMade t, long address, long page, int sizeLg2) {
        long word = t.walk(address, READ);
        assertFalse(Translation.isFault(word), () -> t.walker.trail(address).end());
        assertEquals(page, Translation.page(word));
        assertEquals(sizeLg2, Translation.sizeLg2(word));
    }

    @Test
    void pageTables2Level0HasNoBlocks() {
        try (HandMade t = firstStage(Marks.FAULT)) {
            t.put(0x1000, 0, 0x5000 | BLOCK | USABLE);
            assertEquals(TRANSLATION, t.smmu(0x1000, READ));
            t.put(0x20_0000, 1, 0x20_0000 | BLOCK | USABLE);
            check(t, 0x20_0000, 0x20_0000, 21);
        }
    }

    @Test
    void pageTables3NoBlockAtTheTop() {
        try (HandMade t = firstStage(Marks.FAULT)) {
            t.put(0, 3, BLOCK | USABLE);
            assertEquals(TRANSLATION, t.smmu(0, READ));
            assertEquals(3, Translation.level(t.walk(0, READ)));
        }
    }

    @Test
    void pageTables5TablesSideBySide() {
        try (HandMade t = new HandMade(new ArmSecondStage(40, 2, 40, Marks.FAULT))) {
            assertEquals(2, t.format.rootFrames());
            t.put(0, 2, BLOCK | AF | ArmSecondStage.S2_READ);
            t.put(0x80_0000_0000L, 2, BLOCK | AF | ArmSecondStage.S2_READ);
            assertEquals(0, t.slot(0, 2));
            assertEquals(0x1000, t.slot(0x80_0000_0000L, 2), "the second table");
            check(t, 0x1234, 0x1000, 22);
            check(t, 0x80_0000_1234L, 0x1000, 22);
            long beyond = t.walk(0x100_0000_0000L, READ);
            assertEquals(TRANSLATION, SmmuFaults.event(beyond));
            assertTrue(SmmuFaults.secondStage(beyond));
            assertEquals(SmmuFaults.CLASS_INPUT, SmmuFaults.classOf(beyond));
        }
    }

    @Test
    void pageTables6SeventeenTablesAreTooMany() {
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> new ArmSecondStage(44, 2, 44, Marks.FAULT));
        assertEquals(
                "startLevel=2: allowed, with inputBits=44, one that needs 1 to 16 tables side by side", e.getMessage());
        assertEquals(16, new ArmSecondStage(43, 2, 44, Marks.FAULT).rootFrames());
        assertThrows(IllegalArgumentException.class, () -> new ArmSecondStage(25, 2, 44, Marks.FAULT));
        assertThrows(IllegalArgumentException.class, () -> new ArmFirstStage(24, 48, Marks.FAULT));
        assertThrows(IllegalArgumentException.class, () -> new ArmFirstStage(48, 49, Marks.FAULT));
    }

    @Test
    void pageTables7AccessPermissions() {
        try (HandMade t = firstStage(Marks.FAULT)) {
            for (int ap = 0; ap < 4; ap++) {
                boolean user = (ap & 1) != 0;
                boolean write = (ap & 2) == 0;
                t.put(0x1000, 0, 0x5000 | PAGE | AF | UXN | PXN | (long) ap << 6);
                checkRight(t, user, READ);
                checkRight(t, user && write, WRITE);
                checkRight(t, true, READ << PRIVILEGED_SHIFT);
                checkRight(t, write, WRITE << PRIVILEGED_SHIFT);
            }
        }
    }

    private static void checkRight(HandMade t, boolean granted, int needed) {
        long word = t.walk(0x1000, needed);
        assertEquals(granted, Translation.grants(word, needed));
        if (!granted) {
            assertEquals(PERMISSION, SmmuFaults.event(word));
        }
    }

    @Test
    void tablesTakeRightsAway() {
        try (HandMade t = firstStage(Marks.FAULT)) {
            t.put(0x1000, 0, 0x5000 | PAGE | USABLE);
            long all = READ | WRITE | EXECUTE;
            assertEquals(all | all << PRIVILEGED_SHIFT, Translation.rights(t.walk(0x1000, READ)));
            long table = t.get(0, 2);
            t.put(0, 2, table | ArmFirstStage.READ_ONLY_TABLE);
            assertEquals(PERMISSION, t.smmu(0x1000, WRITE));
            t.put(0, 2, table | ArmFirstStage.NO_USER_TABLE);
            assertEquals(WalkFault.NO_READ, Translation.reason(t.walk(0x1000, READ)));
            assertTrue(t.walk(0x1000, WRITE << PRIVILEGED_SHIFT) > 0);
            t.put(0, 2, table | ArmFirstStage.UXN_TABLE | ArmFirstStage.PXN_TABLE);
            assertEquals(WalkFault.NO_EXECUTE, Translation.reason(t.walk(0x1000, READ | EXECUTE)));
            assertEquals(WalkFault.NO_EXECUTE, Translation.reason(t.walk(0x1000, EXECUTE << PRIVILEGED_SHIFT)));
            t.put(0, 2, table);
        }
    }

    @Test
    void pageTables8AccessFlag() {
        try (HandMade t = firstStage(Marks.FAULT)) {
            t.put(0x1000, 0, 0x5000 | PAGE | USER);
            assertEquals(ACCESS, t.smmu(0x1000, READ));
        }
        try (HandMade t = firstStage(Marks.ACCESSED)) {
            t.put(0x1000, 0, 0x5000 | PAGE | USER);
            check(t, 0x1000, 0x5000, 12);
            assertEquals(0x5000 | PAGE | USABLE, t.get(0x1000, 0));
        }
        try (HandMade t = firstStage(Marks.IGNORED)) {
            t.put(0x1000, 0, 0x5000 | PAGE | USER);
            check(t, 0x1000, 0x5000, 12);
            assertEquals(0x5000 | PAGE | USER, t.get(0x1000, 0));
        }
    }

    @Test
    void pageTables9DirtyMarks() {
        try (HandMade t = firstStage(Marks.ACCESSED_AND_DIRTY)) {
            long clean = 0x5000 | PAGE | USABLE | DBM | READ_ONLY;
            t.put(0x1000, 0, clean);
            assertEquals(
                    READ, Translation.rights(t.walk(0x1000, READ)) & (READ | WRITE), "clean: no write in the word");
            assertEquals(clean, t.get(0x1000, 0), "a read changes nothing");
            assertTrue(Translation.grants(t.walk(0x1000, WRITE), READ | WRITE));
            assertEquals(clean & ~READ_ONLY, t.get(0x1000, 0), "AP[2] is cleared");
        }
        HandMade second = new HandMade(new ArmSecondStage(48, 3, 48, Marks.ACCESSED_AND_DIRTY));
        try (second) {
            long clean = 0x5000 | PAGE | AF | DBM | ArmSecondStage.S2_READ;
            second.put(0x1000, 0, clean);
            assertTrue(second.walk(0x1000, READ) > 0);
            assertEquals(clean, second.get(0x1000, 0));
            assertTrue(second.walk(0x1000, WRITE) > 0);
            assertEquals(clean | ArmSecondStage.S2_WRITE, second.get(0x1000, 0), "S2AP[1] is set");
        }
        try (HandMade t = firstStage(Marks.ACCESSED)) {
            t.put(0x1000, 0, 0x5000 | PAGE | USABLE | DBM | READ_ONLY);
            assertEquals(PERMISSION, t.smmu(0x1000, WRITE), "without HD it is read-only");
        }
    }

    @Test
    void pageTables10ContiguousGroup() {
        try (HandMade t = firstStage(Marks.FAULT)) {
            for (int i = 0; i < 16; i++) {
                t.put(0x1_0000 + i * 0x1000L, 0, (0x2_0000 + i * 0x1000L) | PAGE | USABLE | CONTIGUOUS);
            }
            check(t, 0x1_7123, 0x2_7000, 16);
            // One item of another group's page, and one that lies as no group would have it: each is taken as it says.
            t.put(0x1_5000, 0, 0x3_5000 | PAGE | USABLE | CONTIGUOUS);
            check(t, 0x1_5000, 0x3_5000, 16);
            t.put(0x1_6000, 0, 0x3_9000 | PAGE | USABLE | CONTIGUOUS);
            check(t, 0x1_6000, 0x3_9000, 12);
            t.put(0x200_0000, 1, 0x20_0000 | BLOCK | USABLE | CONTIGUOUS);
            assertEquals(21, Translation.sizeLg2(t.walk(0x200_0000, READ)), "2 MiB: not the first of 32 MiB");
        }
    }

    @Test
    void pageTables11ContiguousDirty() {
        TestMemory memory = new TestMemory(1024);
        try (memory) {
            RadixTable table = memory.table(Formats.ARM_1);
            long leaf = 0x2_0000 | PAGE | USABLE | DBM | READ_ONLY | CONTIGUOUS;
            Taken taken = new Taken();
            for (int i = 0; i < 16; i++) {
                assertEquals(
                        RadixTable.Outcome.DONE, table.map(0x1_0000 + i * 0x1000L, 0, 12, READ | WRITE, false, taken));
                long made = table.entry(0x1_0000 + i * 0x1000L);
                assertTrue(table.remove(0x1_0000 + i * 0x1000L, made));
                assertTrue(table.restore(0x1_0000 + i * 0x1000L, leaf + i * 0x1000L));
            }
            assertTrue(Translation.grants(table.walk(0x1_7000, WRITE), WRITE));
            assertTrue(Translation.grants(table.walk(0x1_3000, WRITE), WRITE));
            assertTrue(table.dirtyAndClear(0x1_0000), "any item's mark is the group's");
            for (int i = 0; i < 16; i++) {
                assertFalse(Formats.ARM_1.dirty(table.entry(0x1_0000 + i * 0x1000L)));
            }
            assertFalse(table.dirtyAndClear(0x1_f000));
            table.close();
        }
    }

    @Test
    void addressesBeyondTheOutputWidth() {
        try (HandMade t = new HandMade(new ArmFirstStage(48, 40, Marks.FAULT))) {
            t.put(0x1000, 0, 1L << 40 | PAGE | USABLE);
            assertEquals(ADDRESS_SIZE, t.smmu(0x1000, READ));
            t.put(0x1000, 0, 1L << 40 | PAGE | READ_ONLY);
            assertEquals(ADDRESS_SIZE, t.smmu(0x1000, WRITE), "before the access flag and the permission");
            t.put(0x4000_0000, 2, 1L << 47 | PAGE);
            assertEquals(ADDRESS_SIZE, t.smmu(0x4000_0000, READ), "of a table too");
            assertEquals(2, Translation.level(t.walk(0x4000_0000, READ)));
            t.put(0x8000_0000L, 2, 1L << 39 | PAGE);
            assertEquals(0x0b, t.smmu(0x8000_0000L, READ), "within the width, and no memory is there");
            assertEquals(SmmuFaults.CLASS_TABLE, SmmuFaults.classOf(t.walk(0x8000_0000L, READ)));
        }
    }

    @Test
    void smmu10BeyondTheInputRange() {
        try (HandMade t = firstStage(Marks.FAULT)) {
            long fault = t.walk(0x0001_0000_0000_0000L, READ);
            assertEquals(TRANSLATION, SmmuFaults.event(fault));
            assertFalse(SmmuFaults.secondStage(fault));
            assertEquals(TRANSLATION, t.smmu(-1, READ));
        }
    }

    @Test
    void smmu12AccessBeforePermission() {
        try (HandMade t = firstStage(Marks.FAULT)) {
            t.put(0x1000, 0, 0x5000 | PAGE | USER | READ_ONLY);
            assertEquals(ACCESS, t.smmu(0x1000, WRITE));
        }
        try (HandMade t = firstStage(Marks.ACCESSED)) {
            t.put(0x1000, 0, 0x5000 | PAGE | USER | READ_ONLY);
            assertEquals(PERMISSION, t.smmu(0x1000, WRITE));
            assertEquals(0x5000 | PAGE | USER | READ_ONLY, t.get(0x1000, 0), "AF stays: the access was not done");
        }
    }

    @Test
    void executeNeverByPrivilege() {
        try (HandMade t = firstStage(Marks.FAULT)) {
            t.put(0x1000, 0, 0x5000 | PAGE | USABLE | UXN);
            assertEquals(WalkFault.NO_EXECUTE, Translation.reason(t.walk(0x1000, READ | EXECUTE)));
            assertTrue(t.walk(0x1000, EXECUTE << PRIVILEGED_SHIFT) > 0);
            t.put(0x1000, 0, 0x5000 | PAGE | USABLE | PXN);
            assertTrue(t.walk(0x1000, READ | EXECUTE) > 0);
            assertEquals(WalkFault.NO_EXECUTE, Translation.reason(t.walk(0x1000, EXECUTE << PRIVILEGED_SHIFT)));
        }
    }
}
