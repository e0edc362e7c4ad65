package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.table.RadixTable;
import dev.faultline.iommu.table.Taken;
import dev.faultline.iommu.table.Translation;
import dev.faultline.iommu.table.Walker;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * A device knows where the last table of its walks is, and takes it from there that nothing is mapped. Here the table leaves its place, nobody has been told yet,
 * and what is mapped instead has to be found.
 */
class TablesReplacedTest {
    private static final long BASE = 0x4000_0000L;
    private static final long TABLE_BYTES = 2L << 20;
    private static final long ABSENT = BASE + 7L * Frames.BYTES;
    private static final long LATER = BASE + 9L * Frames.BYTES;

    private final Arena arena = Arena.ofShared();
    private final MemorySegment buffer = arena.allocate(8);
    private final Iommu iommu = Iommu.open(IommuConfig.small());
    private final AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, null);
    private final Device device = iommu.device(DeviceConfig.pri("reader"));
    private final EngineTable table = (EngineTable) space.table().areas();
    private final RadixTable radix = table.radix();
    private final Taken taken = new Taken();

    @BeforeEach
    void knowsTheTable() {
        var _ = device.attach(space);
        assertTrue(space.zero(BASE));
        assertTrue(device.enter());
        // The first knows the table from now on, the second that it is in its place.
        assertEquals(AccessResult.NO_FAULT_QUEUE, read(ABSENT));
        assertEquals(AccessResult.NO_FAULT_QUEUE, read(ABSENT));
    }

    @AfterEach
    void close() {
        table.release(taken);
        device.leave();
        device.close();
        space.close();
        iommu.close();
        arena.close();
    }

    private AccessResult read(long address) {
        assertEquals(Result.OK, device.start(Access.READ, address, buffer, 0, 8, FaultProducer.NO_PASID, 0));
        List<AccessResult> seen = new ArrayList<>();
        while (device.poll((tag, result) -> seen.add(result)) == 0) {
            var _ = device.step();
        }
        return seen.getFirst();
    }

    @Test
    void aPageInANewTableIsFoundBeforeAnybodyIsTold() {
        Walker walker = (Walker) space.table().walk();
        long old = walker.reach(BASE, 0);
        assertTrue(space.unmap(BASE, Frames.BYTES));
        assertEquals(AccessResult.NO_FAULT_QUEUE, read(ABSENT));
        assertEquals(AccessResult.NO_FAULT_QUEUE, read(ABSENT));
        radix.prune(BASE, BASE + TABLE_BYTES - 1, taken);
        assertEquals(AccessResult.NO_FAULT_QUEUE, read(LATER));
        assertTrue(space.zero(LATER));
        assertNotEquals(old, walker.reach(BASE, 0));
        assertEquals(AccessResult.OK, read(LATER));
        assertEquals(AccessResult.NO_FAULT_QUEUE, read(ABSENT));
    }

    @Test
    void aLargePageInTheTablesPlaceIsFoundBeforeAnybodyIsTold() {
        assertTrue(space.unmap(BASE, Frames.BYTES));
        assertEquals(AccessResult.NO_FAULT_QUEUE, read(ABSENT));
        assertEquals(AccessResult.NO_FAULT_QUEUE, read(ABSENT));
        assertEquals(RadixTable.Outcome.DONE, radix.map(BASE, 0, 21, Translation.RIGHTS, false, taken));
        assertEquals(AccessResult.OK, read(ABSENT));
        assertTrue(space.unmap(BASE, TABLE_BYTES));
    }

    @Test
    void aPageThatComesIntoTheKnownTableIsFound() {
        assertTrue(space.zero(LATER));
        assertEquals(AccessResult.OK, read(LATER));
        assertEquals(AccessResult.NO_FAULT_QUEUE, read(ABSENT));
    }
}
