package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.table.Translation;
import dev.faultline.iommu.table.Walk;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/**
 * A device remembers where a guest's last tables lie in the host's memory. Here a guest changes its tables at every level and says so, and a host moves, protects
 * and takes away the pages they and the data lie in; whatever the device reads is compared with the walk that remembers nothing.
 */
class NestedTablesChangeTest {
    private static final long PAGE = Frames.BYTES;
    private static final long REGION = 2L << 20;
    private static final int REGIONS = 4;
    private static final int ENTRIES = 6;
    /** Guest pages: the root, one of level 2, two of level 1, those of level 0, and data. */
    private static final int ROOT = 0;

    private static final int LEVEL_2 = 1;
    private static final int LEVEL_1 = 2;
    private static final int LEVEL_0 = 4;
    private static final int TABLES = 4;
    private static final int DATA = LEVEL_0 + TABLES;
    private static final int GUEST_PAGES = DATA + 16;
    private static final long USABLE = 0b111;
    private static final long READABLE = 0b101;
    private static final int STEPS = 4000;
    private static final int READS = 12;

    private final Arena arena = Arena.ofShared();
    private final MemorySegment buffer = arena.allocate(8);
    private final MemorySegment copy = arena.allocate(PAGE, 8);
    private final Iommu iommu = Iommu.open(IommuConfig.small().withFrames(512).withIotlbEntries(4));
    private final AddressSpace host = iommu.addressSpace(TableFormat.VTD_SECOND_4_LEVEL, null);
    private final Random random = Seeds.random("NestedTablesChangeTest");
    private final boolean[] present = new boolean[GUEST_PAGES];

    private long physical(long guest) {
        long word = host.table().walk().walk(guest, Translation.READ);
        assertTrue(word > 0);
        return Translation.page(word);
    }

    private void put(int guestPage, int index, long entry) {
        if (present[guestPage]) {
            iommu.frames().segment(physical(guestPage * PAGE)).set(ValueLayout.JAVA_LONG, index * 8L, entry);
        }
    }

    private void give(int guestPage, int rights) {
        assertTrue(host.map(guestPage * PAGE, copy, rights));
        present[guestPage] = true;
    }

    private void take(int guestPage) {
        copy.copyFrom(iommu.frames().segment(physical(guestPage * PAGE)).asSlice(0, PAGE));
        assertTrue(host.unmap(guestPage * PAGE, PAGE));
        present[guestPage] = false;
    }

    private long table(int index) {
        return (LEVEL_0 + index) * PAGE | (random.nextInt(4) == 0 ? READABLE : USABLE);
    }

    private long data() {
        return (DATA + random.nextInt(GUEST_PAGES - DATA)) * PAGE | (random.nextInt(4) == 0 ? READABLE : USABLE);
    }

    private void step(PageTable nested) {
        switch (random.nextInt(6)) {
            case 0 -> {
                put(LEVEL_0 + random.nextInt(TABLES), random.nextInt(ENTRIES), random.nextInt(4) == 0 ? 0 : data());
                nested.invalidate(0, Long.MAX_VALUE);
            }
            case 1 -> {
                int region = random.nextInt(REGIONS);
                put(LEVEL_1, region, random.nextInt(4) == 0 ? 0 : table(random.nextInt(TABLES)));
                nested.invalidate(region * REGION, REGION);
            }
            case 2 -> {
                put(LEVEL_2, 0, (LEVEL_1 + random.nextInt(2)) * PAGE | USABLE);
                nested.invalidate(0, Long.MAX_VALUE);
            }
            default -> {
                int page = random.nextInt(GUEST_PAGES);
                if (present[page]) {
                    take(page);
                }
                if (page < DATA || random.nextInt(3) > 0) {
                    if (page >= DATA) {
                        copy.fill((byte) 0);
                        copy.set(ValueLayout.JAVA_LONG, 0, random.nextLong());
                    }
                    give(page, random.nextInt(3) == 0 ? Translation.READ : Translation.READ | Translation.WRITE);
                }
            }
        }
    }

    private static AccessResult access(Device device, Access access, long address, MemorySegment buffer) {
        assertEquals(Result.OK, device.start(access, address, buffer, 0, 8, FaultProducer.NO_PASID, 0));
        List<AccessResult> seen = new ArrayList<>();
        while (device.poll((tag, result) -> seen.add(result)) == 0) {
            var _ = device.step();
        }
        return seen.getFirst();
    }

    @Test
    void whatIsRememberedIsWhatAWholeWalkSays() {
        try (arena;
                iommu;
                host;
                PageTable nested = iommu.nested(host.table(), TableFormat.X86_4_LEVEL, ROOT * PAGE, null);
                Device device = iommu.device(DeviceConfig.pri("device"))) {
            for (int page = 0; page < GUEST_PAGES; page++) {
                copy.fill((byte) 0);
                copy.set(ValueLayout.JAVA_LONG, 0, page < DATA ? 0 : random.nextLong());
                give(page, Translation.READ | Translation.WRITE);
            }
            put(ROOT, 0, LEVEL_2 * PAGE | USABLE);
            put(LEVEL_2, 0, LEVEL_1 * PAGE | USABLE);
            for (int region = 0; region < REGIONS; region++) {
                put(LEVEL_1, region, table(region % TABLES));
                put(LEVEL_1 + 1, region, table((region + 1) % TABLES));
            }
            for (int table = 0; table < TABLES; table++) {
                for (int index = 0; index < ENTRIES; index++) {
                    put(LEVEL_0 + table, index, data());
                }
            }
            var _ = device.attach(nested);
            device.ats().disable();
            assertTrue(device.enter());
            Walk whole = nested.walk();
            int done = 0;
            for (int step = 0; step < STEPS; step++) {
                step(nested);
                for (int i = 0; i < READS; i++) {
                    long address = random.nextInt(REGIONS) * REGION + random.nextInt(ENTRIES) * PAGE;
                    Access access = random.nextInt(4) == 0 ? Access.WRITE : Access.READ;
                    buffer.set(ValueLayout.JAVA_LONG, 0, random.nextLong());
                    AccessResult result = access(device, access, address, buffer);
                    long word = whole.walk(address, access == Access.READ ? Translation.READ : Translation.WRITE);
                    String where = "step " + step + ", " + access + " of 0x" + Long.toHexString(address);
                    if (Translation.isFault(word)) {
                        assertEquals(AccessResult.NO_FAULT_QUEUE, result, where);
                    } else {
                        done++;
                        assertEquals(AccessResult.OK, result, where);
                        assertEquals(
                                iommu.frames().segment(Translation.page(word)).get(ValueLayout.JAVA_LONG, 0),
                                buffer.get(ValueLayout.JAVA_LONG, 0),
                                where);
                    }
                }
            }
            device.leave();
            assertTrue(done > STEPS, "accesses that were done: " + done);
            System.out.println("NestedTablesChangeTest " + done + " accesses done, " + device.counters());
        }
    }
}
