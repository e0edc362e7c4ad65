package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Region;
import dev.faultline.ring.FaultProducer;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Devices that translate through each kind of page table, and what an address space does with ranges. */
class PageTableTest {
    private static final int PAGE = Frames.BYTES;
    private static final long LARGE = 2L << 20;

    static List<TableFormat> formats() {
        return List.of(
                TableFormat.X86_4_LEVEL,
                TableFormat.VTD_SECOND_4_LEVEL,
                TableFormat.ARM_4K_STAGE_1,
                TableFormat.ARM_4K_STAGE_2);
    }

    private static long read(Device device, long address) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment into = arena.allocate(8, 8);
            device.read(address, into);
            return into.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    private static void write(Device device, long address, long value) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment from = arena.allocate(8, 8);
            from.set(ValueLayout.JAVA_LONG, 0, value);
            device.write(address, from);
        }
    }

    private static AccessResult fault(Device device, long address) {
        return assertThrows(AccessFault.class, () -> read(device, address)).reason();
    }

    @ParameterizedTest
    @MethodSource("formats")
    void devicesUseEveryFormat(TableFormat format) {
        try (Iommu iommu = Iommu.open(IommuConfig.small());
                AddressSpace space = iommu.addressSpace(format, null);
                Device device = iommu.device(DeviceConfig.pri("d"))) {
            device.attach(space);
            assertTrue(space.zero(0x7000_1000L));
            write(device, 0x7000_1008L, 42);
            assertEquals(42, read(device, 0x7000_1008L));
            assertEquals(AccessResult.NO_FAULT_QUEUE, fault(device, 0x7000_2000L));
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment into = arena.allocate(PAGE);
                assertEquals(Eviction.DIRTY, space.evict(0x7000_1000L, into));
                assertEquals(42, into.get(ValueLayout.JAVA_LONG, 8));
            }
            assertEquals(AccessResult.NO_FAULT_QUEUE, fault(device, 0x7000_1000L));
        }
    }

    @ParameterizedTest
    @MethodSource("formats")
    void rangesOfTheCallersMemory(TableFormat format) {
        try (Region guest = Region.allocate(3 * LARGE);
                Iommu iommu = Iommu.open(IommuConfig.small());
                AddressSpace space = iommu.addressSpace(format, null);
                Device device = iommu.device(DeviceConfig.pri("d"))) {
            long base = 1L << 40;
            iommu.addMemory(base, guest.segment());
            assertTrue(space.map(LARGE - PAGE, base + LARGE - PAGE, LARGE + 2 * PAGE, PERM_READ | PERM_WRITE));
            assertEquals((LARGE + 2 * PAGE) / PAGE, space.mappedPages());
            assertEquals(LARGE, space.explain(LARGE).bytes());
            device.attach(space);
            write(device, LARGE + 0x1000, 7);
            assertEquals(7, guest.segment().get(ValueLayout.JAVA_LONG, LARGE + 0x1000), "in the memory added");
            assertFalse(space.map(0, base, 2 * LARGE, PERM_READ), "something is in the way");
            assertFalse(space.isMapped(0), "nothing is left of it");
            IllegalArgumentException cut =
                    assertThrows(IllegalArgumentException.class, () -> space.unmap(LARGE + PAGE, PAGE));
            assertEquals(
                    "address: 0x201000 lies inside the page of 2097152 bytes at 0x200000: allowed ranges of whole"
                            + " pages as they were mapped",
                    cut.getMessage());
            assertThrows(IllegalArgumentException.class, () -> space.unmap(LARGE, PAGE));
            assertTrue(space.protect(LARGE, PAGE, PERM_READ));
            assertFalse(space.protect(LARGE, PAGE, PERM_READ), "nothing changed");
            assertThrows(AccessFault.class, () -> write(device, LARGE, 1));
            write(device, LARGE + 2 * PAGE, 1);
            assertEquals(PAGE, space.explain(LARGE).bytes(), "it was split");
            assertTrue(space.unmap(0, 4 * LARGE));
            assertEquals(0, space.mappedPages());
            assertEquals(AccessResult.NO_FAULT_QUEUE, fault(device, LARGE + 0x1000));
            assertEquals(7, guest.segment().get(ValueLayout.JAVA_LONG, LARGE + 0x1000), "the caller's memory stays");
        }
    }

    @Test
    void pageTables28BadRangesAreNamed() {
        try (Iommu iommu = Iommu.open(IommuConfig.small());
                AddressSpace space = iommu.addressSpace(TableFormat.armStage2(40, 2, 40), null)) {
            assertBad("bytes=0: allowed positive multiples of 4096", () -> space.map(0, 0, 0, 1));
            assertBad("bytes=100: allowed positive multiples of 4096", () -> space.unmap(0, 100));
            assertBad("address=0x1: allowed multiples of 4096", () -> space.map(1, 0, PAGE, 1));
            assertBad("physical=0x1: allowed multiples of 4096", () -> space.map(0, 1, PAGE, 1));
            assertBad(
                    "physical=0x10000000000: allowed where there are 4096 bytes of memory, below 2^40",
                    () -> space.map(0, 1L << 40, PAGE, 1));
            assertBad("address=0x10000000000: allowed 0 to 0xffffffffff", () -> space.zero(1L << 40));
            assertBad(
                    "bytes=8192: 0xfffffff000 and so many bytes leave the input range, allowed 0 to 0xffffffffff",
                    () -> space.map((1L << 40) - PAGE, 0, 2 * PAGE, 1));
            assertBad(
                    "access=0: allowed 1 (read) or 2 (write) or both, and with either 4 (execute)",
                    () -> space.map(0, 0, PAGE, 0));
            assertThrows(IllegalArgumentException.class, () -> space.protect(0, PAGE, 4));
            assertEquals(0, space.mappedPages());
            assertFalse(space.unmap(0, 1L << 40), "nothing is there");
        }
        try (Iommu iommu = Iommu.open(IommuConfig.small());
                AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, null)) {
            assertBad(
                    "bytes=8192: 0xfffffffffffff000 and so many bytes leave the input range, allowed "
                            + space.table().walk().canonicalRule(),
                    () -> space.map(-PAGE, 0, 2 * PAGE, 1));
            assertThrows(IllegalArgumentException.class, () -> space.map(0, 0, Long.MAX_VALUE - PAGE + 1, 1));
            assertThrows(IllegalArgumentException.class, () -> space.map(0, 0, PAGE, 8), "what no page grants");
            assertEquals(0, space.mappedPages());
        }
    }

    private static void assertBad(String message, Executable call) {
        assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
    }

    @Test
    void identityAndBlocked() {
        try (Iommu iommu = Iommu.open(IommuConfig.small());
                PageTable identity = iommu.identity();
                PageTable blocked = iommu.blocked();
                Device device = iommu.device(DeviceConfig.pri("d"))) {
            long frame = iommu.frames().allocate();
            Attachment attachment = device.attach(identity);
            write(device, frame + 8, 9);
            assertEquals(9, iommu.frames().segment(frame).get(ValueLayout.JAVA_LONG, 8));
            assertEquals(AccessResult.TABLE_ERROR, fault(device, 1L << 40), "no memory is there");
            attachment = attachment.replace(blocked);
            assertSame(blocked, attachment.table());
            assertEquals(AccessResult.BLOCKED, fault(device, frame));
            assertEquals(PageTable.Kind.BLOCKED, blocked.kind());
            assertTrue(identity.domain() != blocked.domain());
            assertEquals("blocked", blocked.explain(0).title());
            assertThrows(IllegalStateException.class, () -> blocked.invalidate(0, PAGE));
            iommu.frames().free(frame);
        }
    }

    /** A guest writes its tables through a device that is attached to the parent, and another device uses them. */
    @Test
    void nestedTablesAreTheGuests() {
        try (Iommu iommu = Iommu.open(IommuConfig.small().withFrames(1024));
                AddressSpace host = iommu.addressSpace(TableFormat.VTD_SECOND_4_LEVEL, null);
                Device guest = iommu.device(DeviceConfig.pri("guest"));
                Device device = iommu.device(DeviceConfig.pri("device"))) {
            guest.attach(host);
            for (long page = 0; page < 16; page++) {
                assertTrue(host.zero(page * PAGE));
            }
            long usable = 0b111;
            write(guest, 0, PAGE | usable);
            write(guest, PAGE, 2 * PAGE | usable);
            write(guest, 2 * PAGE, 3 * PAGE | usable);
            write(guest, 3 * PAGE + 5 * 8, 8 * PAGE | usable);
            write(guest, 8 * PAGE, 88);
            write(guest, 9 * PAGE, 99);
            try (PageTable nested = iommu.nested(host.table(), TableFormat.X86_4_LEVEL, 0, null)) {
                assertSame(host.table(), nested.parent());
                assertNull(nested.space());
                device.attach(nested);
                assertEquals(88, read(device, 5 * PAGE));
                assertEquals(AccessResult.NO_FAULT_QUEUE, fault(device, 6 * PAGE));
                write(device, 5 * PAGE + 8, 1);
                assertEquals(1, read(guest, 8 * PAGE + 8));
                assertEquals(0x60, read(guest, 3 * PAGE + 5 * 8) & 0x60, "accessed and dirty in the guest's own entry");
                assertEquals(24, nested.explain(5 * PAGE).steps().size());
                // The guest changes its mind, and says so.
                write(guest, 3 * PAGE + 5 * 8, 9 * PAGE | usable);
                assertEquals(88, read(device, 5 * PAGE), "until it is told, the device may use the old one");
                nested.invalidate(5 * PAGE, PAGE);
                assertEquals(99, read(device, 5 * PAGE));
                // The host takes the page away: the nested translation goes with it.
                assertTrue(host.unmap(9 * PAGE, PAGE));
                assertEquals(AccessResult.NO_FAULT_QUEUE, fault(device, 5 * PAGE));
                assertThrows(IllegalStateException.class, host::close, "it has a nested page table");
                assertBad("address=0x1: allowed multiples of 4096", () -> nested.invalidate(1, PAGE));
            }
            assertEquals(AccessResult.NOT_ATTACHED, fault(device, 5 * PAGE));
        }
    }

    /** By PASID, by range and as a whole; the parent is one that shows a program's memory, and the guest's tables lie in that. */
    @Test
    void aNestedTableIsInvalidatedByRangePasidAndWhole() {
        try (Iommu iommu = Iommu.open(IommuConfig.small().withFrames(1024));
                Arena arena = Arena.ofShared();
                PageTable parent = iommu.pageTable(TableFormat.VTD_SECOND_4_LEVEL, null);
                PageTable nested = iommu.nested(parent, TableFormat.X86_4_LEVEL, 0, null);
                Device device = iommu.device(DeviceConfig.pri("device"))) {
            MemorySegment memory = arena.allocate(16 * PAGE, PAGE);
            Areas areas = new Areas();
            assertEquals(AreaResult.DONE, areas.join(parent.areas()));
            assertEquals(
                    AreaResult.DONE,
                    areas.map(new SegmentBacking(memory), 0, 16 * PAGE, PERM_READ | PERM_WRITE, 0)
                            .result());
            long usable = 0b111;
            memory.set(JAVA_LONG, 0, PAGE | usable);
            memory.set(JAVA_LONG, PAGE, 2 * PAGE | usable);
            memory.set(JAVA_LONG, 2 * PAGE, 3 * PAGE | usable);
            for (long page = 8; page < 16; page++) {
                memory.set(JAVA_LONG, page * PAGE, page);
            }
            Attachment _ = device.attach(nested);
            Attachment _ = device.attach(nested, 7);
            Invalidations invalidations = iommu.invalidations();
            List<Runnable> ways = List.of(
                    () -> invalidations.range(nested, 5 * PAGE, PAGE),
                    () -> {
                        invalidations.pasid(nested, 7);
                        invalidations.pasid(nested, FaultProducer.NO_PASID);
                    },
                    () -> invalidations.table(nested),
                    () -> {
                        invalidations.range(nested, 7, 5 * PAGE, 8);
                        invalidations.range(nested, FaultProducer.NO_PASID, 5 * PAGE, 8);
                    },
                    () -> invalidations.table(parent),
                    invalidations::everything);
            for (int i = 0; i < ways.size(); i++) {
                memory.set(JAVA_LONG, 3 * PAGE + 5 * 8, (8L + i) * PAGE | usable);
                if (i > 0) {
                    assertEquals(7L + i, read(device, 5 * PAGE, FaultProducer.NO_PASID), "it may use the old one");
                    assertEquals(7L + i, read(device, 5 * PAGE, 7), "it may use the old one");
                }
                ways.get(i).run();
                assertEquals(8L + i, read(device, 5 * PAGE, FaultProducer.NO_PASID), "way " + i);
                assertEquals(8L + i, read(device, 5 * PAGE, 7), "way " + i);
            }
            assertEquals(new Areas.Unmapped(AreaResult.DONE, 16 * PAGE), areas.unmapAll());
            assertEquals(AccessResult.NO_FAULT_QUEUE, fault(device, 5 * PAGE));
            areas.leave(parent.areas());
        }
    }

    private static long read(Device device, long address, int pasid) {
        MemorySegment eight = MemorySegment.ofArray(new long[1]);
        device.read(address, eight, pasid);
        return eight.get(JAVA_LONG, 0);
    }

    @Test
    void whatCannotBeNested() {
        try (Iommu iommu = Iommu.open(IommuConfig.small());
                AddressSpace host = iommu.addressSpace(TableFormat.ARM_4K_STAGE_2, null);
                AddressSpace first = iommu.addressSpace(TableFormat.ARM_4K_STAGE_1, null);
                PageTable identity = iommu.identity()) {
            assertBad(
                    "second=Arm first stage 4K, 4 levels: allowed formats of a second stage",
                    () -> iommu.nested(first.table(), TableFormat.X86_4_LEVEL, 0, null));
            assertBad(
                    "first=Arm second stage 4K, 4 levels: allowed formats of a first stage",
                    () -> iommu.nested(host.table(), TableFormat.ARM_4K_STAGE_2, 0, null));
            assertBad(
                    "parent=IDENTITY: allowed PAGING", () -> iommu.nested(identity, TableFormat.X86_4_LEVEL, 0, null));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> iommu.nested(host.table(), TableFormat.X86_4_LEVEL, 1L << 48, null));
            assertThrows(IllegalStateException.class, host.table()::close);
        }
    }

    /** Each allocation of a frame fails once: nothing is lost, and all is back at close. */
    @ParameterizedTest
    @MethodSource("formats")
    void everyAllocationMayFail(TableFormat format) {
        for (int frames = 1; ; frames++) {
            boolean whole = false;
            try (Region added = Region.allocate(2 * LARGE);
                    Iommu iommu = Iommu.open(IommuConfig.small().withFrames(frames))) {
                iommu.addMemory(1L << 40, added.segment());
                AddressSpace space;
                try {
                    space = iommu.addressSpace(format, null);
                } catch (OutOfFrames e) {
                    continue;
                }
                try {
                    assertTrue(space.map(0, 1L << 40, 2 * LARGE, PERM_READ | PERM_WRITE));
                    assertTrue(space.protect(PAGE, PAGE, PERM_READ));
                    assertTrue(space.zero(1L << 30));
                    assertTrue(space.map(LARGE * 8 - PAGE, 1L << 40, PAGE, PERM_READ));
                    whole = true;
                } catch (OutOfFrames e) {
                    long pages = space.mappedPages();
                    assertTrue(pages == 0 || pages == 1024 || pages == 1025, "whole steps only: " + pages);
                }
                assertEquals(space.mappedPages() > 0, space.unmap(0, 2L << 30));
                assertEquals(0, space.mappedPages());
                assertTrue(space.explain(0).physical() < 0);
            }
            if (whole) {
                return;
            }
        }
    }
}
