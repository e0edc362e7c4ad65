package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.table.RadixTable;
import dev.faultline.iommu.tlb.TlbTag;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What an invalidation reaches, and what it leaves: the scenarios of VT-d and SMMUv3, by sheet and number. */
class InvalidationScopesTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGE = Frames.BYTES;

    @Test
    void smmu27ScopesOfTheIotlb() {
        try (Rig rig = Rig.open();
                AddressSpace other = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, null)) {
            Device device = rig.iommu.device(DeviceConfig.plain("d"));
            device.ats().disable();
            assertTrue(rig.space.zero(BASE));
            assertTrue(other.zero(BASE));
            try (Attachment one = device.attach(rig.space, 1);
                    Attachment two = device.attach(rig.space, 2);
                    Attachment three = device.attach(other, 3)) {
                assertTrue(one.isAttached() && two.isAttached() && three.isAttached());
                fill(rig, device);
                assertEquals(List.of(true, true, true), cached(rig, other));
                rig.iommu.invalidations().pasid(rig.space.table(), 1);
                assertEquals(List.of(false, true, true), cached(rig, other));
                fill(rig, device);
                rig.iommu.invalidations().range(rig.space.table(), 2, BASE, PAGE);
                assertEquals(List.of(true, false, true), cached(rig, other));
                rig.iommu.invalidations().range(rig.space.table(), BASE - 8 * PAGE, 8L * PAGE);
                assertEquals(List.of(true, false, true), cached(rig, other), "the pages before");
                fill(rig, device);
                rig.iommu.invalidations().range(rig.space.table(), BASE - 3 * PAGE, 3L * PAGE + 1);
                assertEquals(List.of(false, false, true), cached(rig, other));
                fill(rig, device);
                rig.iommu.invalidations().table(other.table());
                assertEquals(List.of(true, true, false), cached(rig, other));
                rig.iommu.invalidations().everything();
                assertEquals(List.of(false, false, false), cached(rig, other));
            }
        }
    }

    private static void fill(Rig rig, Device device) {
        for (int pasid = 1; pasid <= 3; pasid++) {
            device.read(BASE, rig.arena.allocate(1), pasid);
        }
    }

    private static List<Boolean> cached(Rig rig, AddressSpace other) {
        return List.of(
                rig.iommu.iotlb().lookup(TlbTag.of(rig.space.number(), 1), BASE) != 0,
                rig.iommu.iotlb().lookup(TlbTag.of(rig.space.number(), 2), BASE) != 0,
                rig.iommu.iotlb().lookup(TlbTag.of(other.number(), 3), BASE) != 0);
    }

    @Test
    void refusesRangesThatCannotBe() {
        try (Rig rig = Rig.open()) {
            Invalidations all = rig.iommu.invalidations();
            assertThrows(IllegalArgumentException.class, () -> all.range(rig.space.table(), BASE, 0));
            assertThrows(IllegalArgumentException.class, () -> all.range(rig.space.table(), -1L, 2));
            assertThrows(IllegalArgumentException.class, () -> all.range(rig.space.table(), 1 << 20, BASE, 1));
            assertThrows(IllegalArgumentException.class, () -> all.pasid(rig.space.table(), -2));
            all.range(rig.space.table(), -1L, 1);
            all.range(rig.space.table(), 0, Long.MAX_VALUE);
        }
    }

    @Test
    void smmu28ARangeIsForgottenToItsLastPage() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.plain("d").withTlbEntries(64));
            // NUM=3, SCALE=1: (3 + 1) * 2^1 pages, not aligned to its size.
            long first = BASE + 3 * PAGE;
            for (int i = 0; i < 16; i++) {
                assertTrue(rig.space.map(BASE + (long) i * PAGE, rig.page(i), 1));
                assertEquals(i, rig.read(device, BASE + (long) i * PAGE));
            }
            for (int i = 0; i < 8; i++) {
                swap(rig, BASE + (long) i * PAGE, BASE + (15L - i) * PAGE);
            }
            rig.iommu.invalidations().range(rig.space.table(), first, 8L * PAGE);
            for (int i = 0; i < 16; i++) {
                int expected = i >= 3 && i < 11 ? 15 - i : i;
                assertEquals(expected, rig.read(device, BASE + (long) i * PAGE), "page " + i);
            }
            assertThrows(
                    IllegalArgumentException.class,
                    () -> rig.iommu.invalidations().range(rig.space.table(), BASE, 0),
                    "NUM=SCALE=0 without TTL is no range");
            device.leave();
        }
    }

    private static void swap(Rig rig, long a, long b) {
        RadixTable table = rig.space.radix();
        long atA = table.entry(a);
        long atB = table.entry(b);
        assertTrue(table.remove(a, atA));
        assertTrue(table.remove(b, atB));
        assertTrue(table.restore(a, atB));
        assertTrue(table.restore(b, atA));
    }

    /** A guest whose page at 0 is the host's page {@code leaf}, in tables it keeps in the host's pages 1 to 4. */
    private static void guestMaps(AddressSpace host, Device guest, long leaf) {
        for (long page = 0; page < 16; page++) {
            assertTrue(host.zero(page * PAGE));
        }
        for (int level = 1; level <= 4; level++) {
            put(guest, level * (long) PAGE, (level == 4 ? leaf * PAGE : (level + 1L) * PAGE) | 0b111);
        }
    }

    private static void put(Device guest, long address, long value) {
        guest.write(address, MemorySegment.ofArray(new long[] {value}));
    }

    @Test
    void smmu29AChangeOfTheSecondStageTakesWhatIsNestedWithIt() {
        try (Rig rig = Rig.open();
                AddressSpace host = rig.iommu.addressSpace(TableFormat.ARM_4K_STAGE_2, null);
                Device guest = rig.iommu.device(DeviceConfig.plain("guest"));
                Device device = rig.iommu.device(DeviceConfig.plain("device"))) {
            var _ = guest.attach(host);
            guestMaps(host, guest, 8);
            put(guest, 8L * PAGE, 88);
            try (PageTable nested = rig.iommu.nested(host.table(), TableFormat.X86_4_LEVEL, PAGE, null)) {
                var _ = device.attach(nested);
                assertEquals(88, rig.read(device, 0));
                // The combined entry may survive an invalidation by intermediate address alone. Here it does not: unmap
                // tells everything that is nested, so no page is read after it is gone.
                assertTrue(host.unmap(8L * PAGE, PAGE));
                AccessFault gone = assertThrows(AccessFault.class, () -> rig.read(device, 0));
                assertEquals(AccessResult.NO_FAULT_QUEUE, gone.reason());
                assertTrue(host.zero(8L * PAGE));
                put(guest, 8L * PAGE, 77);
                assertEquals(77, rig.read(device, 0));
            }
        }
    }

    @Test
    void aGuestsTableIsForgottenByRangeByPasidAndWithItsParent() {
        try (Rig rig = Rig.open();
                AddressSpace host = rig.iommu.addressSpace(TableFormat.VTD_SECOND_4_LEVEL, null);
                Device guest = rig.iommu.device(DeviceConfig.plain("guest"));
                Device device = rig.iommu.device(DeviceConfig.plain("device").withPasidBits(4))) {
            var _ = guest.attach(host);
            guestMaps(host, guest, 8);
            for (int page = 8; page < 16; page++) {
                put(guest, page * (long) PAGE, page);
            }
            try (PageTable nested = rig.iommu.nested(host.table(), TableFormat.X86_4_LEVEL, PAGE, null)) {
                var _ = device.attach(nested, 3);
                Invalidations told = rig.iommu.invalidations();
                List<Runnable> ways = List.of(
                        () -> told.range(nested, 0, PAGE),
                        () -> told.range(nested, 3, 0, PAGE),
                        () -> told.pasid(nested, 3),
                        () -> told.table(nested),
                        () -> told.table(host.table()),
                        told::everything);
                int now = 8;
                for (Runnable way : ways) {
                    assertEquals(now, readAs(device, 3));
                    put(guest, 4L * PAGE, (now + 1L) * PAGE | 0b111);
                    assertEquals(now, readAs(device, 3), "until it is told");
                    told.pasid(nested, 4);
                    told.range(nested, 3, PAGE, PAGE);
                    assertEquals(now, readAs(device, 3), "nor by what concerns others");
                    way.run();
                    now++;
                    assertEquals(now, readAs(device, 3));
                }
            }
        }
    }

    private static byte readAs(Device device, int pasid) {
        MemorySegment into = MemorySegment.ofArray(new byte[1]);
        device.read(0, into, pasid);
        return into.get(ValueLayout.JAVA_BYTE, 0);
    }

    @Test
    void vtd11ALargePageOverSmallOnesIsCachedInSmallOnes() {
        try (Rig rig = Rig.open();
                AddressSpace host = rig.iommu.addressSpace(TableFormat.VTD_SECOND_4_LEVEL, null);
                Device guest = rig.iommu.device(DeviceConfig.plain("guest"));
                Device device = rig.iommu.device(DeviceConfig.plain("device"))) {
            var _ = guest.attach(host);
            guestMaps(host, guest, 8);
            long large = 2L << 20;
            for (int page = 0; page < 4; page++) {
                assertTrue(host.zero(large + (long) page * PAGE));
                put(guest, large + (long) page * PAGE, 20 + page);
            }
            put(guest, 3L * PAGE + Long.BYTES, large | 0b1000_0111);
            try (PageTable nested = rig.iommu.nested(host.table(), TableFormat.X86_4_LEVEL, PAGE, null)) {
                var _ = device.attach(nested);
                for (int round = 0; round < 2; round++) {
                    for (int page = 0; page < 4; page++) {
                        assertEquals(20 + page, rig.read(device, large + (long) page * PAGE));
                    }
                }
                assertEquals(4, device.counters().iotlbMisses(), "an entry for each page of the second stage");
                assertEquals(4, device.counters().deviceTlbHits());
            }
        }
    }
}
