package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.Translation.READ;
import static dev.faultline.iommu.table.Translation.WRITE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.Seeds;
import dev.faultline.iommu.table.ArmLongDescriptors.Marks;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Two stages: what the first stage's tables say lies where the second puts it. */
class NestedWalkTest {
    @TempDir
    Path folder;

    private static final long SMALL = 4096;
    private static final int GUEST_FRAMES = 1024;
    /** Where the guest's memory lies in the host's, page for page upside down, so that nothing is where it seems. */
    private static final int HOST_FIRST = 1024;

    private static final int HOST_FRAMES = 2048;

    /** A guest whose memory is a part of the host's, seen through a second stage. */
    private static final class Guest implements AutoCloseable {
        final TestMemory host = new TestMemory(HOST_FRAMES);
        final RadixTable second;
        final PageFormat first;
        final NestedWalker nested;
        /** The guest's tables are made in memory of its own, and then lie in the host's. */
        final HandMade tables;

        Guest(PageFormat first, PageFormat secondFormat) {
            this.first = first;
            second = host.table(secondFormat);
            tables = new HandMade(first, new TestMemory(GUEST_FRAMES), 0);
            nested = new NestedWalker(first, 0, second.walker());
        }

        static long hostOf(long guestPage) {
            return (HOST_FIRST + GUEST_FRAMES - 1) * SMALL - guestPage;
        }

        /** Copies what the guest wrote to where the second stage finds it, and maps all of the guest's memory. */
        void start() {
            Taken taken = new Taken();
            for (long page = 0; page < GUEST_FRAMES * SMALL; page += SMALL) {
                second.map(page, hostOf(page), 12, Translation.RIGHTS, false, taken);
            }
            sync();
        }

        void sync() {
            for (long at = 0; at < GUEST_FRAMES * SMALL; at += 8) {
                host.physical.exchange(hostOf(at & -SMALL) | (at & (SMALL - 1)), tables.memory.physical.entry(at));
            }
        }

        long entry(long address, int level) {
            long at = tables.slot(address, level);
            return host.physical.entry(hostOf(at & -SMALL) | (at & (SMALL - 1)));
        }

        void secondRights(long guestAddress, int rights) {
            long page = guestAddress & -SMALL;
            Taken taken = new Taken();
            assertEquals(RadixTable.Outcome.DONE, second.protect(page, page + SMALL - 1, rights, taken));
        }

        void secondUnmaps(long guestAddress) {
            long page = guestAddress & -SMALL;
            assertEquals(0, second.unmap(page, page + SMALL - 1, new Taken(), 1));
        }

        int vtd(long address, int needed) {
            return VtdFaults.code(nested.walk(address, needed), first.topLevel, second.format().topLevel);
        }

        @Override
        public void close() {
            second.close();
            tables.close();
            host.close();
        }
    }

    static Stream<Arguments> pairs() {
        return Stream.of(
                        Formats.X86,
                        Formats.ARM_1,
                        new ArmFirstStage(39, 40, Marks.ACCESSED),
                        new ArmFirstStage(48, 48, Marks.IGNORED))
                .flatMap(first -> Stream.of(
                                Formats.VTD_SECOND,
                                Formats.ARM_2,
                                new VtdSecondStage(39, 46, false, false, true),
                                new ArmSecondStage(40, 2, 40, Marks.IGNORED))
                        .map(second -> Arguments.of(first, second)));
    }

    /** Every pairing, against one picture of each stage, composed. */
    @ParameterizedTest
    @MethodSource("pairs")
    void composes(PageFormat first, PageFormat second) {
        Random random = Seeds.random("NestedWalkTest " + first.title() + " over " + second.title());
        int pages = 256;
        int tablesEnd = 64;
        try (Guest guest = new Guest(first, second)) {
            long[] to = new long[pages];
            int[] rights = new int[pages];
            int[] secondRights = new int[GUEST_FRAMES];
            Arrays.fill(secondRights, Translation.RIGHTS);
            for (int i = 0; i < pages; i++) {
                to[i] = -1;
                if (random.nextInt(4) > 0) {
                    to[i] = (tablesEnd + random.nextInt(GUEST_FRAMES - tablesEnd)) * SMALL;
                    rights[i] = READ | (random.nextBoolean() ? WRITE : 0);
                    guest.tables.put(i * SMALL, 0, first.leaf(to[i], 0, rights[i], false));
                }
            }
            guest.start();
            for (int n = 0; n < 50_000; n++) {
                int i = random.nextInt(pages);
                if (random.nextInt(8) == 0) {
                    int page = tablesEnd + random.nextInt(GUEST_FRAMES - tablesEnd);
                    if (random.nextInt(3) == 0) {
                        guest.secondUnmaps(page * SMALL);
                        secondRights[page] = 0;
                    } else {
                        secondRights[page] = READ | (random.nextBoolean() ? WRITE : 0);
                        guest.secondUnmaps(page * SMALL);
                        guest.second.map(
                                page * SMALL, Guest.hostOf(page * SMALL), 12, secondRights[page], false, new Taken());
                    }
                }
                int needed = random.nextBoolean() ? WRITE : READ;
                long word = guest.nested.walk(i * SMALL + random.nextInt(4096), needed);
                if (to[i] < 0) {
                    assertEquals(WalkFault.NOT_PRESENT, Translation.reason(word));
                    assertEquals(1, Translation.stage(word));
                } else if ((rights[i] & needed) == 0) {
                    assertEquals(WalkFault.NO_WRITE, Translation.reason(word));
                    assertEquals(1, Translation.stage(word));
                } else if ((secondRights[(int) (to[i] / SMALL)] & needed) == 0) {
                    int there = secondRights[(int) (to[i] / SMALL)];
                    assertEquals(there == 0 ? WalkFault.NOT_PRESENT : WalkFault.NO_WRITE, Translation.reason(word));
                    assertEquals(2, Translation.stage(word));
                    assertEquals(Translation.Step.DATA, Translation.step(word));
                    assertEquals(to[i], Translation.address(word) & -SMALL);
                } else {
                    assertTrue(Translation.grants(word, needed));
                    assertEquals(Guest.hostOf(to[i]), Translation.page(word));
                    assertEquals(12, Translation.sizeLg2(word));
                    int both = rights[i] & secondRights[(int) (to[i] / SMALL)];
                    assertEquals(0, Translation.rights(word) & (READ | WRITE) & ~both);
                }
            }
        }
    }

    /** Small pages over large ones and large over small, in every pairing: the size is the smaller one's, and no page too much. */
    @ParameterizedTest
    @MethodSource("pairs")
    void composesPagesOfTwoSizes(PageFormat first, PageFormat second) throws IOException {
        Random random = Seeds.random("NestedWalkTest sizes " + first.title() + " over " + second.title());
        int regions = 8;
        long large = 1L << 21;
        long between = 1L << 30;
        long hostBase = 1L << 38;
        try (FileChannel file = FileChannel.open(
                        folder.resolve("memory"),
                        StandardOpenOption.CREATE_NEW,
                        StandardOpenOption.READ,
                        StandardOpenOption.WRITE);
                Arena arena = Arena.ofConfined();
                Guest guest = new Guest(first, second)) {
            guest.host.physical.add(hostBase, file.map(FileChannel.MapMode.READ_WRITE, 0, regions * large, arena));
            // The first stage: regions of 2 MiB of input, each one page or many; the second: the same of what lies
            // between.
            long[] to = new long[regions * 512];
            int[] size = new int[regions * 512];
            for (int region = 0; region < regions; region++) {
                boolean whole = random.nextBoolean();
                long target = between + random.nextInt(regions) * large;
                for (int i = region * 512; i < region * 512 + 512; i++) {
                    size[i] = whole ? 21 : 12;
                    to[i] = whole ? target + i % 512 * SMALL : between + random.nextInt(to.length) * SMALL;
                    if (!whole) {
                        guest.tables.put(i * SMALL, 0, first.leaf(to[i], 0, READ | WRITE, false));
                    }
                }
                if (whole) {
                    guest.tables.put(region * large, 1, first.leaf(target, 1, READ | WRITE, false));
                }
            }
            long[] hostOf = new long[to.length];
            int[] hostSize = new int[to.length];
            Taken taken = new Taken();
            for (int region = 0; region < regions; region++) {
                boolean whole = random.nextBoolean();
                long target = hostBase + random.nextInt(regions) * large;
                for (int i = region * 512; i < region * 512 + 512; i++) {
                    hostSize[i] = whole ? 21 : 12;
                    hostOf[i] = whole ? target + i % 512 * SMALL : hostBase + random.nextInt(to.length) * SMALL;
                    if (!whole) {
                        long at = between + i * SMALL;
                        assertEquals(
                                RadixTable.Outcome.DONE,
                                guest.second.map(at, hostOf[i], 12, READ | WRITE, false, taken));
                    }
                }
                if (whole) {
                    assertEquals(
                            RadixTable.Outcome.DONE,
                            guest.second.map(between + region * large, target, 21, READ | WRITE, false, taken));
                }
            }
            guest.start();
            for (int n = 0; n < 20_000; n++) {
                int i = random.nextInt(to.length);
                long inside = random.nextInt(4096);
                long word = guest.nested.walk(i * SMALL + inside, random.nextBoolean() ? WRITE : READ);
                int middle = (int) ((to[i] - between) / SMALL);
                int expected = Math.min(size[i], hostSize[middle]);
                assertEquals(expected, Translation.sizeLg2(word));
                assertEquals(hostOf[middle], Translation.page(word) & -SMALL);
            }
        }
    }

    @Test
    void vtd10NestedPermissions() {
        try (Guest guest = new Guest(Formats.X86, Formats.VTD_SECOND)) {
            guest.tables.put(0x1000, 0, Formats.X86.leaf(0x10_0000, 0, Translation.RIGHTS, false));
            guest.start();
            guest.secondRights(0x10_0000, READ);
            assertTrue(guest.nested.walk(0x1000, READ) > 0);
            assertEquals(0x85, guest.vtd(0x1000, WRITE));
            long leafTable = guest.tables.slot(0x1000, 0);
            guest.secondRights(leafTable, WRITE);
            assertEquals(0x76, guest.vtd(0x1000, READ));
            guest.secondRights(leafTable, READ | WRITE);
            guest.secondRights(0, WRITE);
            assertEquals(0x75, guest.vtd(0x1000, READ), "the root");
            guest.secondRights(0, READ | WRITE);
            guest.secondUnmaps(0x10_0000);
            assertEquals(0x79, guest.vtd(0x1000, READ));
        }
        try (Guest guest = new Guest(Formats.X86, Formats.VTD_SECOND)) {
            guest.tables.put(0x1000, 0, Formats.X86.leaf(0x10_0000, 0, Translation.RIGHTS, false));
            guest.start();
            long leafTable = guest.tables.slot(0x1000, 0);
            guest.secondRights(leafTable, READ);
            long fault = guest.nested.walk(0x1000, READ);
            assertEquals(0x77, guest.vtd(0x1000, READ), "A has to be set, and cannot be");
            assertEquals(Translation.Step.MARK, Translation.step(fault));
            assertEquals(leafTable, Translation.address(fault));
            assertEquals(0, Translation.fetchedLevel(fault));
            assertEquals(0, guest.entry(0x1000, 0) & X86FirstStage.A);
        }
    }

    @Test
    void tablesBeyondTheSecondStagesInput() {
        PageFormat narrow = new VtdSecondStage(39, 52, true, false, false);
        try (Guest guest = new Guest(Formats.X86, narrow)) {
            guest.tables.put(1L << 39, 3, Formats.X86.table(1L << 40));
            guest.tables.put(0x1000, 0, Formats.X86.leaf(1L << 41, 0, READ, false));
            guest.start();
            assertEquals(0x74, guest.vtd(1L << 39, READ));
            assertEquals(0x84, guest.vtd(0x1000, READ));
        }
    }

    @Test
    void vtd11NestedSizes() {
        try (Guest guest = new Guest(Formats.X86, Formats.VTD_SECOND)) {
            guest.tables.put(0x20_0000, 1, Formats.X86.leaf(0x20_0000, 1, READ, false));
            guest.tables.put(0x1000, 0, Formats.X86.leaf(0x1000, 0, READ, false));
            guest.start();
            long word = guest.nested.walk(0x20_5123, READ);
            assertEquals(Guest.hostOf(0x20_5000), Translation.page(word));
            assertEquals(12, Translation.sizeLg2(word), "2 MiB over 4 KiB");
        }
    }

    @Test
    void smmu13ClassOfANestedFault() {
        try (Guest guest = new Guest(Formats.ARM_1, Formats.ARM_2)) {
            guest.tables.put(0x1000, 0, Formats.ARM_1.leaf(0x10_0000, 0, READ | WRITE, false));
            guest.start();
            long leafSlot = guest.tables.slot(0x1000, 0);
            guest.secondUnmaps(leafSlot);
            long fault = guest.nested.walk(0x1000, READ);
            assertEquals(0x10, SmmuFaults.event(fault));
            assertTrue(SmmuFaults.secondStage(fault));
            assertEquals(SmmuFaults.CLASS_TABLE, SmmuFaults.classOf(fault));
            assertTrue(SmmuFaults.tableRead(fault));
            assertEquals(leafSlot, Translation.address(fault), "the descriptor's address");
        }
        try (Guest guest = new Guest(Formats.ARM_1, Formats.ARM_2)) {
            guest.tables.put(0x1000, 0, Formats.ARM_1.leaf(0x10_0000, 0, READ | WRITE, false));
            guest.start();
            guest.secondUnmaps(0x10_0000);
            long fault = guest.nested.walk(0x1008, READ);
            assertEquals(SmmuFaults.CLASS_INPUT, SmmuFaults.classOf(fault));
            assertEquals(0x10_0008, Translation.address(fault), "what the first stage gave");
            guest.tables.put(0x2000, 0, Formats.ARM_1.leaf(0x10_0000, 0, READ | WRITE, false));
            guest.sync();
            guest.secondRights(guest.tables.slot(0x2000, 0), READ);
            fault = guest.nested.walk(0x2000, READ);
            assertEquals(0x13, SmmuFaults.event(fault));
            assertEquals(false, SmmuFaults.tableRead(fault), "AF could not be written");
        }
    }

    @Test
    void smmu14WalkAbort() {
        try (Guest guest = new Guest(Formats.ARM_1, Formats.ARM_2)) {
            guest.tables.put(0x4000_0000, 2, Formats.ARM_1.table(0x10_0000));
            guest.start();
            guest.secondUnmaps(0x10_0000);
            guest.second.map(0x10_0000, 1L << 40, 12, Translation.RIGHTS, false, new Taken());
            long fault = guest.nested.walk(0x4000_0000, READ);
            assertEquals(0x0b, SmmuFaults.event(fault));
            assertEquals(false, SmmuFaults.secondStage(fault));
            assertEquals(SmmuFaults.CLASS_TABLE, SmmuFaults.classOf(fault));
            assertEquals(0x10_0000, Translation.address(fault));
        }
    }

    @Test
    void tellsTheWholeWay() {
        try (Guest guest = new Guest(Formats.X86, Formats.VTD_SECOND)) {
            guest.tables.put(0x1000, 0, Formats.X86.leaf(0x10_0000, 0, READ, false));
            guest.start();
            long before = guest.entry(0x1000, 0);
            WalkTrail trail = guest.nested.trail(0x1234);
            assertEquals(24, trail.steps().size(), "four times four and one, and four more for the address");
            assertEquals(Guest.hostOf(0x10_0000) + 0x234, trail.physical());
            assertEquals(before, guest.entry(0x1000, 0), "nothing is marked");
            guest.secondUnmaps(0x10_0000);
            trail = guest.nested.trail(0x1234);
            assertEquals("not present", trail.end());
            assertEquals(-1, trail.physical());
        }
    }

    @Test
    void stagesAreWhereTheyBelong() {
        try (TestMemory memory = new TestMemory(4)) {
            Walker second = new Walker(Formats.VTD_SECOND, memory.physical, 0);
            Walker first = new Walker(Formats.X86, memory.physical, 0);
            assertThrows(IllegalArgumentException.class, () -> new NestedWalker(Formats.ARM_2, 0, second));
            assertThrows(IllegalArgumentException.class, () -> new NestedWalker(Formats.X86, 0, first));
            assertThrows(IllegalArgumentException.class, () -> new NestedWalker(Formats.X86, 8, second));
            assertThrows(IllegalArgumentException.class, () -> new NestedWalker(Formats.X86, 1L << 48, second));
        }
    }

    @Test
    void withoutTables() {
        try (TestMemory memory = new TestMemory(4)) {
            PlainWalk identity = PlainWalk.identity(memory.physical);
            long word = identity.walk(0x1234, WRITE);
            assertEquals(0x1000, Translation.page(word));
            assertEquals(14, Translation.sizeLg2(word));
            assertEquals(WalkFault.PAGE_OUTSIDE, Translation.reason(identity.walk(0x4000, READ)));
            assertEquals(WalkFault.BEYOND_INPUT, Translation.reason(identity.walk(1L << 48, READ)));
            assertEquals(0x3000, identity.trail(0x3000).physical());
            PlainWalk blocked = PlainWalk.blocked(memory.physical);
            assertEquals(WalkFault.BLOCKED, Translation.reason(blocked.walk(0, READ)));
            assertEquals("all translation is blocked", blocked.trail(0).end());
        }
    }
}
