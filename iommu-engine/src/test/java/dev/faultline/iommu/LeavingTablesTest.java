package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.Areas.Unmapped;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** What may still be asked of a map of areas once a table has gone, was refused, or can not be written. */
class LeavingTablesTest {
    private static final int BOTH = 3;
    private static final long PAGE = Frames.BYTES;
    private static final long BASE = 0x4000_0000L;

    @Test
    void aTableThatIsRefusedShowsNoAreaAndKeepsNoneOut() {
        try (Rig rig = Rig.open();
                AddressSpace space = rig.iommu.addressSpace(TableFormat.VTD_SECOND_4_LEVEL, null)) {
            assertTrue(space.zero(1L << 40));
            assertThrows(IllegalArgumentException.class, () -> space.addTable(TableFormat.vtdSecond(39, 48), null));
            try (AddressSpace another = rig.iommu.addressSpace(TableFormat.vtdSecond(39, 48), null)) {
                SegmentBacking memory = new SegmentBacking(rig.arena.allocate(2 * PAGE, PAGE));
                assertEquals(
                        AreaResult.DONE,
                        space.areas().map(memory, 0, PAGE, BOTH, BASE).result());
                assertFalse(another.isMapped(BASE), "shown in tables that are another space's by now");
                assertEquals(
                        AreaResult.DONE,
                        space.areas().map(memory, PAGE, PAGE, BOTH, 1L << 41).result());
                assertEquals(
                        new Unmapped(AreaResult.DONE, 2 * PAGE), space.areas().unmapAll());
            }
        }
    }

    @Test
    void aClosedSpaceShowsNothingAndHoldsNothing() {
        try (Rig rig = Rig.open()) {
            AddressSpace space = rig.iommu.addressSpace(TableFormat.VTD_SECOND_4_LEVEL, null);
            SegmentBacking memory = new SegmentBacking(rig.arena.allocate(2 * PAGE, PAGE));
            assertEquals(
                    AreaResult.DONE,
                    space.areas().map(memory, 0, PAGE, BOTH, BASE).result());
            assertEquals(1, memory.held());
            space.close();
            assertEquals(0, memory.held());
            try (AddressSpace another = rig.iommu.addressSpace(TableFormat.VTD_SECOND_4_LEVEL, null)) {
                assertEquals(
                        AreaResult.DONE,
                        space.areas().map(memory, PAGE, PAGE, BOTH, BASE + PAGE).result());
                assertFalse(another.isMapped(BASE + PAGE));
                assertEquals(0, memory.held());
            }
        }
    }

    @Test
    void aClosedTableThatHasNotLeftRefusesAreas() {
        try (Rig rig = Rig.open()) {
            PageTable table = rig.iommu.pageTable(TableFormat.VTD_SECOND_4_LEVEL, null);
            Areas areas = new Areas();
            SegmentBacking memory = new SegmentBacking(rig.arena.allocate(2 * PAGE, PAGE));
            assertEquals(AreaResult.DONE, areas.map(memory, 0, PAGE, BOTH, BASE).result());
            assertEquals(AreaResult.DONE, areas.join(table.areas()));
            table.close();
            assertEquals(
                    AreaResult.REFUSED,
                    areas.map(memory, PAGE, PAGE, BOTH, BASE + PAGE).result());
            assertEquals(List.of(BASE), areas.all().stream().map(Area::first).toList());
            areas.leave(table.areas());
            assertEquals(
                    AreaResult.DONE,
                    areas.map(memory, PAGE, PAGE, BOTH, BASE + PAGE).result());
            assertEquals(new Unmapped(AreaResult.DONE, 2 * PAGE), areas.unmapAll());
            assertEquals(0, memory.held());
        }
    }

    @Test
    void aPageIsNotEvictedIntoWhatTheThreadCanNotWrite() throws InterruptedException {
        try (Rig rig = Rig.open();
                AddressSpace space = rig.iommu.addressSpace(TableFormat.VTD_SECOND_4_LEVEL, null)) {
            assertTrue(space.zero(BASE));
            AtomicReference<MemorySegment> others = new AtomicReference<>();
            Thread.ofPlatform()
                    .start(() -> others.set(Arena.ofConfined().allocate(PAGE)))
                    .join();
            Arena gone = Arena.ofShared();
            MemorySegment freed = gone.allocate(PAGE);
            gone.close();
            for (MemorySegment into : List.of(others.get(), freed)) {
                assertThrows(IllegalArgumentException.class, () -> space.evict(BASE, into));
                assertTrue(space.isMapped(BASE));
            }
            assertEquals(Eviction.CLEAN, space.evict(BASE, rig.arena.allocate(PAGE)));
        }
    }

    @Test
    void nothingBeyondTheEndOfMemoryIsMapped() {
        try (Rig rig = Rig.open();
                AddressSpace space = rig.iommu.addressSpace(TableFormat.VTD_SECOND_4_LEVEL, null)) {
            rig.iommu.addMemory(1L << 40, rig.arena.allocate(4 * PAGE, PAGE));
            Backing first = rig.iommu.memory(1L << 40, PAGE);
            assertEquals(
                    AreaResult.UNREACHABLE,
                    space.areas().map(first, 0, 3 * PAGE, BOTH, BASE).result());
            assertEquals(
                    AreaResult.UNREACHABLE,
                    space.areas().map(first, PAGE, PAGE, BOTH, BASE).result());
            assertEquals(
                    AreaResult.UNREACHABLE,
                    space.areas().map(first, -PAGE, PAGE, BOTH, BASE).result());
            assertFalse(space.isMapped(BASE));
            assertEquals(
                    AreaResult.DONE,
                    space.areas().map(first, 0, PAGE, BOTH, BASE).result());
        }
    }

    @Test
    void memoryWhoseOwnerThrowsIsNotHeld() {
        try (Rig rig = Rig.open();
                AddressSpace space = rig.iommu.addressSpace(TableFormat.VTD_SECOND_4_LEVEL, null)) {
            MemorySegment old = rig.arena.allocate(2 * PAGE, PAGE);
            MemorySegment now = rig.arena.allocate(2 * PAGE, PAGE);
            MemorySegment[] is = {old};
            Backing memory = new Backing(0, 2 * PAGE, true, null) {
                @Override
                protected @Nullable MemorySegment piece(long offset) {
                    if (offset > 0 && is[0].equals(old)) {
                        throw new IllegalStateException("not now");
                    }
                    return is[0].asSlice(offset, PAGE);
                }
            };
            assertThrows(IllegalStateException.class, () -> space.areas().map(memory, 0, 2 * PAGE, BOTH, BASE));
            assertEquals(0, memory.held());
            is[0] = now;
            assertEquals(
                    AreaResult.DONE,
                    space.areas().map(memory, 0, 2 * PAGE, BOTH, BASE).result());
            MemorySegment held = memory.heldAt(0);
            assertTrue(held != null && held.address() == now.address(), "what was there when it failed is held");
        }
    }

    @Test
    void aDirectRegionThatSomebodyPinnedStaysForTheNext() {
        try (Rig rig = Rig.open();
                AddressSpace space = rig.iommu.addressSpace(TableFormat.VTD_SECOND_4_LEVEL, null)) {
            rig.iommu.addMemory(1L << 40, rig.arena.allocate(PAGE, PAGE));
            Device device = rig.iommu.device(DeviceConfig.plain("with a direct region")
                    .withReserved(new ReservedRegion(1L << 40, (1L << 40) + PAGE - 1, ReservedRegion.Kind.DIRECT)));
            SoftwareAccess other = new SoftwareAccess(space.areas(), true);
            Attachment attachment = device.attach(space);
            assertEquals(AreaResult.DONE, other.pin(1L << 40, PAGE, true));
            attachment.detach();
            attachment = device.attach(space);
            other.unpin(1L << 40, PAGE);
            assertTrue(space.isMapped(1L << 40));
            attachment.detach();
            assertFalse(space.isMapped(1L << 40));
        }
    }
}
