package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.table.Leaf;
import dev.faultline.ring.QueueConfig;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** Mapping and unmapping ranges while a thread has entered a device and does not step it, or is about to do something else. */
class UnsteppedDevicesTest {
    private static final int READ = 1;
    private static final int WRITE = 2;
    private static final long PAGE = Frames.BYTES;
    private static final long LARGE = 2L << 20;
    private static final long BASE = 0x4000_0000L;
    private static final long MEMORY = 1L << 36;

    /** A thread that has entered a device, and leaves it when this is closed. */
    private static final class Entered implements AutoCloseable {
        private final CountDownLatch leaves = new CountDownLatch(1);
        private final Thread thread;

        Entered(Device device) throws InterruptedException {
            CountDownLatch in = new CountDownLatch(1);
            thread = Thread.ofPlatform().start(() -> {
                assertTrue(device.enter());
                in.countDown();
                try {
                    leaves.await();
                } catch (InterruptedException e) {
                    throw new AssertionError(e);
                } finally {
                    device.leave();
                }
            });
            in.await();
        }

        @Override
        public void close() {
            leaves.countDown();
            try {
                thread.join();
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        }
    }

    /** A table that only does something when it shows or hides. */
    private static class EmptyTable implements AreaTable {
        @Override
        public long pageSizes() {
            return PAGE;
        }

        @Override
        public long firstAddress() {
            return 0;
        }

        @Override
        public long lastAddress() {
            return -1;
        }

        @Override
        public AreaResult show(Area area) {
            return AreaResult.DONE;
        }

        @Override
        public void hide(Area area) {}
    }

    private static Rig patientFor(long ms) {
        return new Rig(IommuConfig.small().withLimitNs(ms * 1_000_000), QueueConfig.of(4));
    }

    private static Device attached(Rig rig) {
        Device device = rig.iommu.device(DeviceConfig.plain("d"));
        var _ = device.attach(rig.space);
        return device;
    }

    private static boolean says(PageTable table, long address, Leaf into) {
        return ((EngineTable) table.areas()).radix().look(address, into);
    }

    @Test
    void mappingWhereATableIsEmptyWaitsForNobody() throws InterruptedException {
        try (Rig rig = patientFor(30)) {
            rig.iommu.addMemory(MEMORY, rig.arena.allocate(LARGE, LARGE));
            Areas areas = rig.space.areas();
            assertTrue(rig.space.zero(BASE));
            assertTrue(rig.space.unmap(BASE, PAGE));
            Device device = attached(rig);
            try (Entered _ = new Entered(device)) {
                Backing memory = rig.iommu.memory(MEMORY, LARGE);
                assertEquals(
                        AreaResult.DONE,
                        areas.map(memory, 0, LARGE, READ | WRITE, BASE).result());
            }
            device.write(BASE, rig.bytes(8, 1));
            assertEquals(new Areas.Unmapped(AreaResult.DONE, LARGE), areas.unmap(BASE, LARGE));
            assertThrows(AccessFault.class, () -> device.write(BASE, rig.bytes(8, 1)));
        }
    }

    @Test
    void whatIsRefusedIsNotMappedAndHeldUntilNoDeviceUsesIt() throws InterruptedException {
        try (Rig rig = patientFor(30)) {
            SegmentBacking memory = new SegmentBacking(rig.arena.allocate(4 * PAGE, PAGE));
            Areas areas = rig.space.areas();
            assertTrue(rig.space.zero(BASE + 2 * PAGE));
            Device device = attached(rig);
            try (Entered _ = new Entered(device)) {
                assertEquals(
                        AreaResult.TAKEN,
                        areas.map(memory, 0, 4 * PAGE, READ | WRITE, BASE).result());
                assertEquals(1, memory.held(), "a device may use it");
                assertFalse(rig.space.isMapped(BASE));
                assertEquals(List.of(), areas.all());
                assertEquals(new Areas.Unmapped(AreaResult.NOT_MAPPED, 0), areas.unmap(BASE + 8 * PAGE, PAGE));
                assertEquals(1, memory.held());
            }
            assertEquals(new Areas.Unmapped(AreaResult.NOT_MAPPED, 0), areas.unmap(BASE, 4 * PAGE));
            assertEquals(0, memory.held());
            assertTrue(rig.space.isMapped(BASE + 2 * PAGE), "the page that was in the way");
        }
    }

    /** In a table that joins, the second of two ranges does not fit. */
    @Test
    void aTableThatCanNotBeFilledHoldsNothing() throws InterruptedException {
        try (Rig rig = patientFor(30)) {
            SegmentBacking memory = new SegmentBacking(rig.arena.allocate(2 * PAGE, PAGE));
            Areas areas = new Areas();
            assertEquals(AreaResult.DONE, areas.map(memory, 0, PAGE, READ, BASE).result());
            assertEquals(
                    AreaResult.DONE,
                    areas.map(memory, PAGE, PAGE, READ, BASE + PAGE).result());
            assertTrue(rig.space.zero(BASE + PAGE));
            AreaTable table = rig.space.table().areas();
            Device device = attached(rig);
            try (Entered _ = new Entered(device)) {
                assertEquals(AreaResult.TAKEN, areas.join(table));
                assertTrue(memory.held() > 0, "a device may use it");
                assertFalse(rig.space.isMapped(BASE));
            }
            assertEquals(AreaResult.TAKEN, areas.join(table));
            assertEquals(0, memory.held());
            assertTrue(rig.space.unmap(BASE + PAGE, PAGE));
            assertEquals(AreaResult.DONE, areas.join(table));
            areas.leave(table);
            assertEquals(0, memory.held());
            assertEquals(new Areas.Unmapped(AreaResult.DONE, 2 * PAGE), areas.unmapAll());
        }
    }

    @Test
    void unmappingAgainWaitsAgain() throws InterruptedException {
        try (Rig rig = patientFor(30)) {
            SegmentBacking memory = new SegmentBacking(rig.arena.allocate(PAGE, PAGE));
            Areas areas = rig.space.areas();
            assertEquals(
                    AreaResult.DONE,
                    areas.map(memory, 0, PAGE, READ | WRITE, BASE).result());
            Device device = attached(rig);
            try (Entered _ = new Entered(device)) {
                for (int i = 0; i < 3; i++) {
                    assertThrows(QuiescenceTimeout.class, () -> areas.unmap(BASE, PAGE));
                    assertEquals(1, memory.held(), "a device may use it");
                    assertNull(areas.find(BASE));
                }
            }
            assertEquals(new Areas.Unmapped(AreaResult.DONE, PAGE), areas.unmap(BASE, PAGE));
            assertEquals(0, memory.held());
            assertEquals(new Areas.Unmapped(AreaResult.NOT_MAPPED, 0), areas.unmap(BASE, PAGE));
        }
    }

    @Test
    void whatOneUnmapCouldNotWaitForTheNextOneElsewhereGivesBack() throws InterruptedException {
        try (Rig rig = patientFor(30)) {
            SegmentBacking memory = new SegmentBacking(rig.arena.allocate(PAGE, PAGE));
            SegmentBacking next = new SegmentBacking(rig.arena.allocate(PAGE, PAGE));
            Areas areas = rig.space.areas();
            assertEquals(
                    AreaResult.DONE,
                    areas.map(memory, 0, PAGE, READ | WRITE, BASE).result());
            Device device = attached(rig);
            try (Entered _ = new Entered(device)) {
                assertThrows(QuiescenceTimeout.class, areas::unmapAll);
                assertEquals(
                        AreaResult.DONE,
                        areas.map(next, 0, PAGE, READ | WRITE, BASE).result(),
                        "the addresses are free");
                assertEquals(1, memory.held());
            }
            assertEquals(new Areas.Unmapped(AreaResult.NOT_MAPPED, 0), areas.unmap(BASE + PAGE, PAGE));
            assertEquals(0, memory.held());
            device.write(BASE, rig.bytes(8, 1));
            assertEquals(new Areas.Unmapped(AreaResult.DONE, PAGE), areas.unmap(BASE, PAGE));
            assertEquals(0, next.held());
        }
    }

    @Test
    void aTableThatLeavesWaitsAgain() throws InterruptedException {
        try (Rig rig = patientFor(30)) {
            SegmentBacking memory = new SegmentBacking(rig.arena.allocate(PAGE, PAGE));
            PageTable table = rig.iommu.pageTable(TableFormat.VTD_SECOND_4_LEVEL, null);
            Areas areas = new Areas();
            assertEquals(
                    AreaResult.DONE,
                    areas.map(memory, 0, PAGE, READ | WRITE, BASE).result());
            assertEquals(AreaResult.DONE, areas.join(table.areas()));
            Device device = rig.iommu.device(DeviceConfig.plain("d"));
            var _ = device.attach(table);
            try (Entered _ = new Entered(device)) {
                for (int i = 0; i < 3; i++) {
                    assertThrows(QuiescenceTimeout.class, () -> areas.leave(table.areas()));
                    assertEquals(1, memory.held(), "a device may use it");
                }
                assertEquals(
                        AreaResult.DONE,
                        areas.map(memory, 0, PAGE, READ, BASE + PAGE).result());
                assertFalse(says(table, BASE + PAGE, new Leaf()), "it has left");
            }
            areas.leave(table.areas());
            assertEquals(0, memory.held());
            device.close();
            table.close();
        }
    }

    /** Memory, which does something when it is first held: then its range is just being made. */
    private static Backing memory(Rig rig, Runnable first) {
        MemorySegment own = rig.arena.allocate(PAGE, PAGE);
        return new Backing(0, PAGE, true, null) {
            @Override
            protected MemorySegment piece(long offset) {
                first.run();
                return own.asSlice(offset);
            }

            @Override
            protected boolean transfer(long offset, MemorySegment data, boolean write) {
                throw new AssertionError("not used");
            }
        };
    }

    @Test
    void aPageThatKeptARangeOutIsInEveryTable() {
        try (Rig rig = Rig.open()) {
            PageTable other = rig.space.addTable(TableFormat.ARM_4K_STAGE_1, null);
            Backing memory = memory(rig, () -> assertTrue(rig.space.zero(BASE)));
            assertEquals(
                    AreaResult.TAKEN,
                    rig.space.areas().map(memory, 0, PAGE, READ, BASE).result());
            assertSamePage(rig, other);
        }
    }

    @Test
    void aPageIsUnmappedWhileARangeIsMadeThere() {
        try (Rig rig = Rig.open()) {
            assertTrue(rig.space.zero(BASE));
            Backing memory = memory(rig, () -> assertTrue(rig.space.unmap(BASE, PAGE)));
            assertEquals(
                    AreaResult.DONE,
                    rig.space.areas().map(memory, 0, PAGE, READ, BASE).result());
            assertThrows(IllegalArgumentException.class, () -> rig.space.unmap(BASE, PAGE));
        }
    }

    @Test
    void aPageThatFindsNoRoomIsTakenBackWhileARangeIsMadeThere() {
        try (Rig rig = Rig.open()) {
            PageTable other = rig.space.addTable(TableFormat.ARM_4K_STAGE_1, null);
            Frames frames = rig.iommu.frames();
            Backing memory = memory(rig, () -> {
                List<Long> held = new ArrayList<>();
                // Enough for a page and three tables, and not for three more.
                for (long left = frames.freeCount(); left > 4; left--) {
                    held.add(frames.allocate());
                }
                assertThrows(OutOfFrames.class, () -> rig.space.zero(BASE));
                held.forEach(frames::free);
            });
            assertEquals(
                    AreaResult.DONE,
                    rig.space.areas().map(memory, 0, PAGE, READ, BASE).result());
            assertSamePage(rig, other);
        }
    }

    @Test
    void allOfARangeIsUnmappedAlsoWhereADeviceIsWaitedForInVain() throws InterruptedException {
        try (Rig rig = patientFor(30)) {
            int pages = 300;
            for (int i = 0; i < pages; i++) {
                assertTrue(rig.space.zero(BASE + i * PAGE));
            }
            Device device = attached(rig);
            try (Entered _ = new Entered(device)) {
                assertThrows(QuiescenceTimeout.class, () -> rig.space.unmap(BASE, pages * PAGE));
                assertEquals(0, rig.space.mappedPages());
                assertFalse(rig.space.isMapped(BASE + (pages - 1) * PAGE));
            }
        }
    }

    /** Of two tables that leave one has a device that is not stepped. */
    @Test
    void theLastTableToLetGoGivesBack() throws InterruptedException {
        try (Rig rig = patientFor(30)) {
            SegmentBacking memory = new SegmentBacking(rig.arena.allocate(PAGE, PAGE));
            PageTable table = rig.iommu.pageTable(TableFormat.VTD_SECOND_4_LEVEL, null);
            AreaTable other = new EmptyTable();
            Areas areas = new Areas();
            assertEquals(AreaResult.DONE, areas.map(memory, 0, PAGE, READ, BASE).result());
            assertEquals(AreaResult.DONE, areas.join(table.areas()));
            assertEquals(AreaResult.DONE, areas.join(other));
            Device device = rig.iommu.device(DeviceConfig.plain("d"));
            var _ = device.attach(table);
            try (Entered _ = new Entered(device)) {
                assertThrows(QuiescenceTimeout.class, () -> areas.leave(table.areas()));
                areas.leave(other);
                assertEquals(1, memory.held(), "a device may use it");
            }
            areas.leave(table.areas());
            assertEquals(0, memory.held());
            device.close();
            table.close();
        }
    }

    @Test
    void aPageMappedWhileARangeGoesIsInEveryTableOrNone() {
        try (Rig rig = Rig.open()) {
            PageTable other = rig.space.addTable(TableFormat.ARM_4K_STAGE_1, null);
            Areas areas = rig.space.areas();
            int[] mapped = new int[1];
            AreaTable last = new EmptyTable() {
                @Override
                public void hide(Area area) {
                    mapped[0] += rig.space.zero(BASE) ? 1 : 0;
                }

                @Override
                public boolean letGo(Area area, boolean wait) {
                    mapped[0] += rig.space.zero(BASE) ? 1 : 0;
                    return true;
                }
            };
            assertEquals(AreaResult.DONE, areas.join(last));
            SegmentBacking memory = new SegmentBacking(rig.arena.allocate(PAGE, PAGE));
            assertEquals(AreaResult.DONE, areas.map(memory, 0, PAGE, READ, BASE).result());
            assertEquals(new Areas.Unmapped(AreaResult.DONE, PAGE), areas.unmap(BASE, PAGE));
            assertEquals(1, mapped[0], "once the first table shows the range no more");
            assertSamePage(rig, other);
            areas.leave(last);
        }
    }

    private static void assertSamePage(Rig rig, PageTable other) {
        Leaf first = new Leaf();
        Leaf second = new Leaf();
        assertTrue(says(rig.space.table(), BASE, first));
        assertTrue(says(other, BASE, second));
        assertEquals(first.physical(), second.physical());
    }

    @Test
    void whoHasEnteredADeviceMapsWhileATableLeavesThatWaitsForIt() throws InterruptedException {
        try (Rig rig = patientFor(2_000)) {
            Areas areas = rig.space.areas();
            PageTable other = rig.space.addTable(TableFormat.ARM_4K_STAGE_1, null);
            SegmentBacking memory = new SegmentBacking(rig.arena.allocate(PAGE, PAGE));
            assertEquals(AreaResult.DONE, areas.map(memory, 0, PAGE, READ, BASE).result());
            Device device = rig.device(DeviceConfig.plain("d"));
            AtomicReference<@Nullable Throwable> failed = new AtomicReference<>();
            Thread leaving = Thread.ofPlatform().start(() -> {
                try {
                    other.close();
                } catch (Throwable e) {
                    failed.set(e);
                }
            });
            while (leaving.isAlive() && says(other, BASE, new Leaf())) {
                Thread.onSpinWait();
            }
            assertEquals(
                    AreaResult.DONE,
                    areas.map(memory, 0, PAGE, READ, BASE + PAGE).result());
            assertEquals(new Areas.Unmapped(AreaResult.DONE, PAGE), areas.unmap(BASE + PAGE, PAGE));
            device.leave();
            leaving.join();
            assertNull(failed.get(), () -> String.valueOf(failed.get()));
            assertEquals(new Areas.Unmapped(AreaResult.DONE, PAGE), areas.unmapAll());
        }
    }

    @Test
    void aDirectRegionIsMappedAgainWhileTheLastOwnerWaitsForADevice() throws InterruptedException {
        try (Rig rig = patientFor(10_000)) {
            rig.iommu.addMemory(MEMORY, rig.arena.allocate(PAGE, PAGE));
            ReservedRegion region = new ReservedRegion(MEMORY, MEMORY + PAGE - 1, ReservedRegion.Kind.DIRECT);
            DirectRegions direct = new DirectRegions(rig.iommu, rig.space.areas());
            Device device = attached(rig);
            assertTrue(direct.map("first", region));
            Thread leaving;
            try (Entered _ = new Entered(device)) {
                leaving = Thread.ofPlatform().start(() -> direct.unmap("first"));
                while (leaving.isAlive() && rig.space.areas().find(MEMORY) != null) {
                    Thread.onSpinWait();
                }
                assertTrue(direct.map("second", region));
                assertTrue(leaving.isAlive(), "it waits for the device");
                assertNotNull(rig.space.areas().find(MEMORY));
            }
            leaving.join();
            device.write(MEMORY, rig.bytes(8, 1));
            direct.unmap("second");
            assertEquals(List.of(), rig.space.areas().all());
        }
    }

    @Test
    void aDirectRegionIsMappedAgainAfterTheLastOwnerGaveUpWaiting() throws InterruptedException {
        try (Rig rig = patientFor(30)) {
            rig.iommu.addMemory(MEMORY, rig.arena.allocate(PAGE, PAGE));
            ReservedRegion region = new ReservedRegion(MEMORY, MEMORY + PAGE - 1, ReservedRegion.Kind.DIRECT);
            DirectRegions direct = new DirectRegions(rig.iommu, rig.space.areas());
            Device device = attached(rig);
            assertTrue(direct.map("first", region));
            try (Entered _ = new Entered(device)) {
                direct.unmap("first");
                assertNull(rig.space.areas().find(MEMORY));
                assertTrue(direct.map("second", region));
            }
            device.write(MEMORY, rig.bytes(8, 1));
            direct.unmap("second");
            assertEquals(List.of(), rig.space.areas().all());
        }
    }
}
