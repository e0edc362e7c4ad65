package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.RadixTable.Outcome.DONE;
import static dev.faultline.iommu.table.RadixTable.Outcome.IN_USE;
import static dev.faultline.iommu.table.RadixTable.Outcome.NO_FRAME;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.SharedWords;
import dev.faultline.iommu.Seeds;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class RadixTableTest {
    private static final int TOTAL = 512;
    private static final long[] REGIONS = {
        0, 0x7000_0000L, 0x7fff_ffff_0000L, 0xffff_8000_0000_0000L, 0xffff_ffff_ffff_0000L, 0x1_0000_0000L
    };

    private static final int PERM_READ = Translation.READ;
    private static final int PERM_WRITE = Translation.WRITE;
    private static final int PERM_EXEC = Translation.EXECUTE;
    private final TestMemory frames = new TestMemory(TOTAL);
    private final MemorySegment memory = frames.region.segment();
    private final PageFormat format = new X86FourLevel();
    private final RadixTable table = Objects.requireNonNull(RadixTable.make(format, frames.physical, frames));

    @AfterEach
    void free() {
        table.close();
        frames.close();
    }

    @Test
    void agreesWithATreeMapWhateverIsMappedAndUnmapped() {
        Random random = Seeds.random("RadixTableTest");
        TreeMap<Long, Long> oracle = new TreeMap<>(Long::compareUnsigned);
        for (int i = 0; i < 50_000; i++) {
            long address = REGIONS[random.nextInt(REGIONS.length)] + (long) random.nextInt(16) * TestMemory.FRAME;
            Long known = oracle.get(address);
            switch (random.nextInt(4)) {
                case 0 -> {
                    long page = frames.allocate();
                    int rights = PERM_READ | random.nextInt(8);
                    boolean installed = page >= 0 && table.install(address, page, rights) == DONE;
                    assertEquals(page >= 0 && known == null, installed);
                    if (installed) {
                        oracle.put(address, page | rights);
                    } else if (page >= 0) {
                        frames.free(page);
                    }
                }
                case 1 -> {
                    long entry = table.remove(address);
                    assertEquals(known == null, entry == 0);
                    if (known != null) {
                        assertEquals(known & Translation.PAGE_MASK, table.page(entry));
                        frames.free(table.page(entry));
                        oracle.remove(address);
                    }
                }
                case 2 -> {
                    boolean write = random.nextBoolean();
                    long walked = walk(address | random.nextInt(4096), write ? PERM_WRITE : PERM_READ);
                    if (known == null) {
                        assertEquals(WalkFault.NOT_PRESENT, Translation.reason(walked));
                    } else if (write && (known & PERM_WRITE) == 0) {
                        assertEquals(WalkFault.NO_WRITE, Translation.reason(walked));
                    } else {
                        assertEquals(known & Translation.PAGE_MASK, walked & Translation.PAGE_MASK);
                        assertEquals(known & (PERM_READ | PERM_EXEC), walked & (PERM_READ | PERM_EXEC));
                        assertEquals(write || table.dirty(table.entry(address)), (walked & PERM_WRITE) != 0);
                    }
                }
                default -> {
                    long last = address + (long) random.nextInt(16) * TestMemory.FRAME;
                    if ((last ^ address) >= 0 && format.canonical(last)) {
                        Long next = oracle.ceilingKey(address);
                        long expected = next == null || Long.compareUnsigned(next, last) > 0 ? -1 : next - address;
                        assertEquals(expected, table.nextMapped(address, last));
                    }
                }
            }
        }
        oracle.forEach((address, page) ->
                assertEquals(page & Translation.PAGE_MASK, walk(address, PERM_READ) & Translation.PAGE_MASK));
    }

    @Test
    void marksWhatAWalkUses() {
        long page = frames.allocate();
        assertEquals(DONE, table.install(0x5000, page, PERM_READ | PERM_WRITE));
        long read = walk(0x5123, PERM_READ);
        assertEquals(page | PERM_READ, read, "write is not granted while the page is clean");
        assertFalse(table.dirty(table.entry(0x5000)));
        assertTrue(table.accessedAndClear(0x5000));
        assertFalse(table.accessedAndClear(0x5000));
        assertEquals(page | PERM_READ | PERM_WRITE, walk(0x5000, PERM_WRITE));
        assertTrue(table.dirty(table.entry(0x5000)));
        assertTrue(table.accessedAndClear(0x5fff));
        assertEquals(page | PERM_READ | PERM_WRITE, walk(0x5000, PERM_READ), "a dirty page can be cached for writing");
    }

    @Test
    void refusesAddressesThatAreNotCanonical() {
        assertEquals(WalkFault.BEYOND_INPUT, Translation.reason(table.walk(0x8000_0000_0000L, PERM_READ)));
        assertEquals(WalkFault.BEYOND_INPUT, Translation.reason(table.walk(0xffff_7fff_ffff_f000L, PERM_READ)));
        assertEquals(WalkFault.NOT_PRESENT, Translation.reason(table.walk(0x7fff_ffff_ffffL, PERM_READ)));
        assertEquals(WalkFault.NOT_PRESENT, Translation.reason(table.walk(0xffff_8000_0000_0000L, PERM_READ)));
    }

    @Test
    void walksLargePagesAndChecksTheirReservedBits() {
        long leaf = X86FourLevel.P | X86FourLevel.RW | X86FourLevel.US | X86FourLevel.PS;
        assertEquals(DONE, table.install(0x20_0000, frames.allocate(), PERM_READ));
        assertEquals(0x20_0000L + 0x12_3000, format.address(leaf | 0x20_0000, 1) + 0x12_3000);
        // Over the table for 2..4 MiB put a page of 2 MiB at physical 0: its low bits come from the address.
        long slot = entryOffset(0x20_0000, 1);
        long below = SharedWords.getLong(memory, slot);
        SharedWords.putLong(memory, slot, leaf);
        assertEquals(0x12_3000 | PERM_READ | PERM_EXEC, walk(0x32_3456, PERM_READ));
        assertEquals(0x12_3000 | Translation.RIGHTS, walk(0x32_3456, PERM_WRITE));
        assertEquals(IN_USE, table.install(0x32_3000, 0, PERM_READ), "occupied by the large page");
        assertEquals(0, table.remove(0x32_3000), "a part of it cannot be unmapped");
        SharedWords.putLong(memory, slot, leaf | 1 << 12);
        assertEquals(0x12_3000, walk(0x32_3456, PERM_READ) & Translation.PAGE_MASK, "bit 12 is PAT");
        SharedWords.putLong(memory, slot, leaf | 1 << 13);
        assertEquals(WalkFault.RESERVED_BITS, Translation.reason(table.walk(0x32_3456, PERM_READ)));
        assertTrue(table.explain(0x32_3456).contains("reserved bits"));
        SharedWords.putLong(memory, slot, leaf | 0x4000_0000L);
        assertEquals(WalkFault.PAGE_OUTSIDE, Translation.reason(table.walk(0x32_3456, PERM_READ)));
        SharedWords.putLong(memory, slot, below);

        long huge = entryOffset(0x20_0000, 2);
        long tableBelow = SharedWords.getLong(memory, huge);
        SharedWords.putLong(memory, huge, leaf);
        assertEquals(0x1f_f000, walk(0x1f_f008, PERM_READ) & Translation.PAGE_MASK);
        SharedWords.putLong(memory, huge, leaf | 1 << 29);
        assertEquals(WalkFault.RESERVED_BITS, Translation.reason(table.walk(0x1f_f008, PERM_READ)));
        SharedWords.putLong(memory, huge, X86FourLevel.P | 0x4000_0000L);
        assertEquals(WalkFault.TABLE_READ, Translation.reason(table.walk(0x1f_f008, PERM_READ)));
        SharedWords.putLong(memory, huge, tableBelow);
    }

    @Test
    void takesTheRightsThatEveryLevelGrants() {
        long page = frames.allocate();
        assertEquals(DONE, table.install(0x7000, page, Translation.RIGHTS));
        long slot = entryOffset(0x7000, 2);
        long entry = SharedWords.getLong(memory, slot);
        SharedWords.putLong(memory, slot, (entry & ~X86FourLevel.RW) | X86FourLevel.XD);
        assertEquals(page | PERM_READ, walk(0x7000, PERM_READ));
        assertEquals(WalkFault.NO_WRITE, Translation.reason(table.walk(0x7000, PERM_WRITE)));
        assertEquals(WalkFault.NO_EXECUTE, Translation.reason(table.walk(0x7000, PERM_READ | PERM_EXEC)));
    }

    @Test
    void losesNoFrameWhenThreadsInstallTheSameTables() throws Exception {
        AtomicInteger installed = new AtomicInteger();
        CyclicBarrier start = new CyclicBarrier(3);
        Thread[] threads = new Thread[3];
        for (int t = 0; t < threads.length; t++) {
            threads[t] = Thread.ofPlatform().start(() -> {
                try {
                    for (int i = 0; i < 60; i++) {
                        start.await();
                        long page = frames.allocate();
                        if (table.install((long) i << 30, page, PERM_READ) == DONE) {
                            installed.incrementAndGet();
                        } else {
                            frames.free(page);
                        }
                    }
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
            });
        }
        for (Thread thread : threads) {
            thread.join();
        }
        assertEquals(60, installed.get());
    }

    @Test
    void saysWhenNoFrameIsLeftForATable() {
        List<Long> taken = new ArrayList<>();
        while (frames.freeCount() > 1) {
            taken.add(frames.allocate());
        }
        assertEquals(NO_FRAME, table.install(0x1000, 0, PERM_READ));
        assertEquals(0, frames.freeCount(), "the table that was made on the way stays, and goes with the others");
        taken.forEach(frames::free);
    }

    @Test
    void explainsAWalk() {
        long page = frames.allocate();
        assertEquals(DONE, table.install(0x7000_1000L, page, PERM_READ | PERM_WRITE));
        long ignored = walk(0x7000_1000L, PERM_WRITE);
        String text = table.explain(0x7000_1234L);
        assertTrue(text.startsWith("0x70001234 in x86-64, 4 levels, root table at 0x"), text);
        assertTrue(text.contains("level 3: table") && text.contains("level 0: table"), text);
        assertTrue(text.contains("allowed: read write, dirty, accessed"), text);
        assertTrue(text.contains("physical address 0x" + Long.toHexString(page + 0x234)), text);
        assertTrue(table.explain(0x7000_2000L).endsWith("not present"), table.explain(0x7000_2000L));
        assertTrue(table.explain(1L << 50).contains("not canonical"));
    }

    /** Page and rights of requests without privilege; faults as they are. */
    private long walk(long address, int needed) {
        long word = table.walk(address, needed);
        return word < 0 ? word : Translation.page(word) | (Translation.rights(word) & Translation.RIGHTS);
    }

    private long entryOffset(long address, int level) {
        long at = 0;
        // The root is the first frame that was allocated: frame 0.
        for (int l = format.levels() - 1; l > level; l--) {
            at = format.address(SharedWords.getLong(memory, at + 8L * format.index(address, l)), l);
        }
        return at + 8L * format.index(address, level);
    }
}
