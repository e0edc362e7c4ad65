package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Accesses that are translated together, some of which come to what can not be read, or was never to be reached. */
class BatchOfAccessesTest {
    private static final long PAGE = Frames.BYTES;
    private static final long BANK = 1L << 40;

    /** Reads 8 bytes of each address, all in one step. */
    private static List<AccessResult> read(Device device, Arena arena, long... addresses) {
        AccessResult[] results = new AccessResult[addresses.length];
        MemorySegment buffer = arena.allocate(Long.BYTES, Long.BYTES);
        assertTrue(device.enter());
        try {
            for (int i = 0; i < addresses.length; i++) {
                assertEquals(
                        Result.OK,
                        device.start(Access.READ, addresses[i], buffer, 0, Long.BYTES, FaultProducer.NO_PASID, i));
            }
            int left = addresses.length;
            while (left > 0) {
                boolean _ = device.step();
                left -= device.poll((tag, result) -> results[(int) tag] = result);
            }
        } finally {
            device.leave();
        }
        return List.of(results);
    }

    @Test
    void memoryThatIsNotAlignedIsReadLikeOther() {
        try (Rig rig = Rig.open()) {
            rig.iommu.addMemory(BANK, MemorySegment.ofArray(new byte[(int) PAGE]));
            Device device = rig.iommu.device(DeviceConfig.pri("of bytes"));
            Attachment _ = device.attach(rig.iommu.identity());
            assertEquals(List.of(AccessResult.OK, AccessResult.OK), read(device, rig.arena, BANK, BANK + 64));
        }
    }

    @Test
    void anAccessToMemoryThatWasFreedFailsAloneAmongOthers() {
        try (Rig rig = Rig.open()) {
            Arena own = Arena.ofShared();
            rig.iommu.addMemory(BANK, own.allocate(PAGE, PAGE));
            rig.iommu.addMemory(BANK + PAGE, rig.arena.allocate(PAGE, PAGE));
            Device device = rig.iommu.device(DeviceConfig.pri("freed"));
            Attachment _ = device.attach(rig.iommu.identity());
            own.close();
            assertEquals(
                    List.of(AccessResult.OK, AccessResult.BAD_BUFFER, AccessResult.OK),
                    read(device, rig.arena, BANK + PAGE, BANK, BANK + PAGE + 64));
        }
    }

    @Test
    void anAddressBeyondTheSecondStageIsNoAliasOfOneWithin() {
        try (Rig rig = Rig.open();
                AddressSpace host = rig.iommu.addressSpace(TableFormat.VTD_SECOND_4_LEVEL, null)) {
            MemorySegment page = rig.arena.allocate(PAGE, PAGE);
            List<Long> tables = new ArrayList<>(List.of(0x1007L, 0x2007L, 0x3007L));
            for (long at = 0; at < 6 * PAGE; at += PAGE) {
                page.fill((byte) 0);
                if (!tables.isEmpty()) {
                    page.set(ValueLayout.JAVA_LONG, 0, tables.removeFirst());
                } else if (at == 0x3000) {
                    page.set(ValueLayout.JAVA_LONG, 0, 0x4067);
                    page.set(ValueLayout.JAVA_LONG, 8, (1L << 48) | 0x4067);
                    page.set(ValueLayout.JAVA_LONG, 16, 0x5067);
                }
                assertTrue(host.map(at, page, 3));
            }
            PageTable guest = rig.iommu.nested(host.table(), TableFormat.X86_4_LEVEL, 0, null);
            Device device = rig.iommu.device(DeviceConfig.pri("guest's"));
            Attachment attached = device.attach(guest);
            device.ats().disable();
            AccessResult cold = read(device, rig.arena, 0x1000).getFirst();
            assertEquals(AccessResult.NOT_CANONICAL, cold);
            for (int i = 0; i < 3; i++) {
                assertEquals(List.of(AccessResult.OK, AccessResult.OK), read(device, rig.arena, 0, 0x2000));
                assertEquals(List.of(cold), read(device, rig.arena, 0x1000));
                rig.iommu.invalidations().range(guest, 0, PAGE);
            }
            attached.detach();
            guest.close();
        }
    }
}
