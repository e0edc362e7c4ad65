package dev.faultline.iommu;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.Areas.Mapped;
import dev.faultline.iommu.Areas.Unmapped;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class AreasTest {
    private static final int READ = 1;
    private static final int WRITE = 2;
    private static final long PAGE = Areas.PAGE_BYTES;
    private static final long BASE = 0x10_0000;

    private final Areas areas = new Areas();
    private final TestBacking memory = new TestBacking(0x4000_0000, 1 << 16, true);

    private Mapped map(long offset, long bytes, long address) {
        return areas.map(memory, offset, bytes, READ | WRITE, address);
    }

    private static Mapped done(long address) {
        return new Mapped(AreaResult.DONE, address);
    }

    @Test
    void anEmptySpaceIsAllAddresses() {
        assertEquals(List.of(new IovaRange(0, -1)), areas.ranges());
        assertEquals(1, areas.alignment());
        assertEquals(new Unmapped(AreaResult.DONE, 0), areas.unmapAll());
        assertEquals(new Unmapped(AreaResult.NOT_MAPPED, 0), areas.unmap(0, PAGE));
    }

    @Test
    void theLastAddressesCanBeMapped() {
        assertEquals(done(-PAGE), map(0, PAGE, -PAGE));
        assertEquals(AreaResult.WRAPS, map(0, 2 * PAGE, -PAGE).result());
        assertEquals(new Unmapped(AreaResult.DONE, PAGE), areas.unmap(-2 * PAGE, 2 * PAGE));
    }

    @Test
    void unmappingStopsAtAnAreaItWouldCut() {
        assertEquals(done(BASE), map(0, PAGE, BASE));
        assertEquals(done(BASE + PAGE), map(0, 2 * PAGE, BASE + PAGE));
        assertEquals(new Unmapped(AreaResult.NOT_MAPPED, PAGE), areas.unmap(BASE, 2 * PAGE));
        assertNull(areas.find(BASE));
        assertNotNull(areas.find(BASE + PAGE));
    }

    @Test
    void aTableRaisesTheAlignmentAndReservesWhatItCanNotTranslate() {
        ListTable table = new ListTable(2048);
        table.firstAddress = 0x100_0000;
        table.lastAddress = 0x7fff_ffff;
        assertEquals(AreaResult.DONE, areas.join(table));
        assertEquals(List.of(new IovaRange(0x100_0000, 0x7fff_ffff)), areas.ranges());
        assertEquals(2048, areas.alignment());
        assertEquals(AreaResult.RESERVED, map(0, PAGE, BASE).result());
        assertEquals(AreaResult.REFUSED, map(0, 1024, 0x100_0000).result());
        assertEquals(done(0x100_0000), areas.place(memory, 0, PAGE, READ));
        areas.leave(table);
        assertEquals(List.of(new IovaRange(0, -1)), areas.ranges());
        assertEquals(1, areas.alignment());
        assertEquals(List.of(), table.shown());
        assertEquals(0, memory.reasons());
    }

    @Test
    void aTableThatDoesNotFitDoesNotJoin() {
        assertEquals(done(BASE), map(0, 1024, BASE));
        assertEquals(AreaResult.IN_USE, areas.join(new ListTable(2048)), "1024 bytes are mapped");
        var _ = areas.unmapAll();
        assertEquals(done(BASE), map(0, PAGE, BASE));
        ListTable above = new ListTable(2048);
        above.firstAddress = 0x100_0000;
        assertEquals(AreaResult.IN_USE, areas.join(above), "mapped below its aperture");
        assertEquals(AreaResult.REFUSED, areas.join(new AreaTable() {
            @Override
            public long pageSizes() {
                return 8192;
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
                throw new AssertionError("shown");
            }

            @Override
            public void hide(Area area) {
                throw new AssertionError("hidden");
            }
        }));
        assertEquals(List.of(new IovaRange(0, -1)), areas.ranges());
        assertEquals(1, areas.alignment());
        assertEquals(0, memory.reasons());
    }

    @Test
    void memoryIsLookedForWhenThereIsATable() {
        memory.missingFrom = PAGE;
        assertEquals(done(BASE), map(0, 2 * PAGE, BASE));
        ListTable table = new ListTable(2048);
        assertEquals(AreaResult.UNREACHABLE, areas.join(table));
        assertEquals(1, areas.alignment());
        assertEquals(new Unmapped(AreaResult.DONE, 2 * PAGE), areas.unmapAll());
        assertEquals(AreaResult.DONE, areas.join(table));
        assertEquals(AreaResult.UNREACHABLE, map(0, 2 * PAGE, BASE).result());
        assertEquals(done(BASE), map(0, PAGE, BASE));
        assertEquals(1, memory.reasons());
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2, 3})
    void allTablesShowAnAreaOrNone(int failing) {
        List<ListTable> tables = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            tables.add(new ListTable(2048));
            assertEquals(AreaResult.DONE, areas.join(tables.get(i)));
        }
        assertEquals(done(BASE), map(0, PAGE, BASE));
        assertEquals(done(BASE + PAGE), map(PAGE, PAGE, BASE + PAGE));
        tables.get(failing).room = 3;
        Mapped copied = areas.copy(BASE, 2 * PAGE).map(areas, READ, 2 * BASE);
        assertEquals(AreaResult.NO_MEMORY, copied.result(), "one of the two parts fits");
        for (ListTable table : tables) {
            assertEquals(areas.all(), table.shown());
        }
        assertEquals(2, areas.all().size());
        assertEquals(2, memory.reasons());
    }

    @Test
    void whoHasPinnedIsToldAndWhoIsLockedIsNot() {
        List<IovaRange> told = new ArrayList<>();
        SoftwareAccess access = new SoftwareAccess(areas, false);
        AreaUser user = new AreaUser() {
            @Override
            public long alignment() {
                return PAGE;
            }

            @Override
            public void unmapping(long first, long last) {
                told.add(new IovaRange(first, last));
                if (told.size() == 3) {
                    access.unpin(BASE, PAGE);
                }
            }
        };
        assertEquals(AreaResult.DONE, areas.add(user));
        assertEquals(PAGE, areas.alignment());
        assertEquals(done(BASE), map(0, 2 * PAGE, BASE));
        assertEquals(AreaResult.DONE, access.pin(BASE, PAGE, true));
        SoftwareAccess locking = new SoftwareAccess(areas, true);
        assertEquals(AreaResult.DONE, locking.pin(BASE + PAGE, PAGE, false));
        assertEquals(2, memory.reasons());
        assertEquals(new Unmapped(AreaResult.BUSY, 0), areas.unmap(BASE, 2 * PAGE));
        locking.unpin(BASE + PAGE, PAGE);
        assertEquals(new Unmapped(AreaResult.DONE, 2 * PAGE), areas.unmap(BASE, 2 * PAGE));
        assertEquals(3, told.size());
        assertEquals(0, memory.reasons());
        areas.remove(user);
        assertEquals(1, areas.alignment());
    }

    @Test
    void whoNeverLetsGoIsGivenUp() {
        SoftwareAccess access = new SoftwareAccess(areas, false);
        AtomicInteger told = new AtomicInteger();
        AreaUser user = new AreaUser() {
            @Override
            public long alignment() {
                return PAGE;
            }

            @Override
            public void unmapping(long first, long last) {
                told.incrementAndGet();
            }
        };
        assertEquals(AreaResult.DONE, areas.add(user));
        assertEquals(done(BASE), map(0, PAGE, BASE));
        assertEquals(AreaResult.DONE, access.pin(BASE, PAGE, false));
        assertEquals(new Unmapped(AreaResult.NOT_LET_GO, 0), areas.unmap(BASE, PAGE));
        assertEquals(101, told.get());
        assertEquals(AreaResult.REFUSED, access.pin(BASE, PAGE, false), "it is about to go");
        access.unpin(BASE, PAGE);
        assertEquals(new Unmapped(AreaResult.DONE, PAGE), areas.unmap(BASE, PAGE));
    }

    @Test
    void softwareReadsAndWritesAcrossAreas() {
        SoftwareAccess access = new SoftwareAccess(areas, false);
        assertEquals(done(BASE), map(5, PAGE, BASE));
        assertEquals(done(BASE + PAGE), map(3 * PAGE, PAGE, BASE + PAGE));
        byte[] text = "across the border".getBytes(UTF_8);
        MemorySegment data = MemorySegment.ofArray(text);
        assertEquals(AreaResult.DONE, access.transfer(BASE + PAGE - 8, data, true));
        byte[] back = new byte[text.length];
        assertEquals(AreaResult.DONE, access.transfer(BASE + PAGE - 8, MemorySegment.ofArray(back), false));
        assertArrayEquals(text, back);
        assertEquals(AreaResult.NOT_MAPPED, access.transfer(BASE + 2 * PAGE - 1, data, false));
        var _ = areas.unmapAll();
        assertEquals(done(BASE), areas.map(memory, 5, PAGE, READ, BASE));
        assertEquals(AreaResult.DENIED, access.transfer(BASE, data, true));
        MemorySegment there = memory.heldAt(0);
        assertNull(there, "nothing is held");
    }

    @Test
    void aHeldPageIsWhatItWasUntilAllReasonsAreGone() {
        assertEquals(AreaResult.DONE, areas.join(new ListTable(2048)));
        assertEquals(done(BASE), map(0, 4 * PAGE, BASE));
        assertEquals(
                AreaResult.DONE,
                areas.copy(BASE + PAGE, 2 * PAGE).map(areas, READ, 2 * BASE).result());
        assertEquals(new Unmapped(AreaResult.DONE, 4 * PAGE), areas.unmap(BASE, 4 * PAGE));
        assertNull(memory.heldAt(0));
        MemorySegment held = memory.heldAt(PAGE);
        assertNotNull(held);
        assertEquals(2 * PAGE, held.byteSize());
        held.set(ValueLayout.JAVA_BYTE, 0, (byte) 7);
        assertNull(memory.heldAt(3 * PAGE));
        var _ = areas.unmapAll();
        assertNull(memory.heldAt(PAGE));
    }

    @Test
    void mappingUnmappingAndJoiningAtOnceLeavesTablesTheSame() throws InterruptedException {
        int rounds = 3_000;
        ListTable stays = new ListTable(2048);
        assertEquals(AreaResult.DONE, areas.join(stays));
        AtomicReference<Throwable> failed = new AtomicReference<>();
        CountDownLatch mapping = new CountDownLatch(2);
        List<Thread> threads = new ArrayList<>();
        for (int t = 0; t < 2; t++) {
            long mine = BASE << t;
            threads.add(Thread.ofPlatform().start(() -> {
                try {
                    for (int i = 0; i < rounds; i++) {
                        long at = mine + (i % 16) * PAGE;
                        assertEquals(done(at), map(0, PAGE, at));
                        if (i % 16 == 15) {
                            assertEquals(new Unmapped(AreaResult.DONE, 16 * PAGE), areas.unmap(mine, 16 * PAGE));
                        }
                    }
                } catch (Throwable e) {
                    failed.set(e);
                } finally {
                    mapping.countDown();
                }
            }));
        }
        int joins = 0;
        while (mapping.getCount() > 0) {
            ListTable joining = new ListTable(4096);
            AreaResult result = areas.join(joining);
            assertEquals(AreaResult.DONE, result);
            joins++;
            areas.leave(joining);
            assertEquals(List.of(), joining.shown());
        }
        for (Thread thread : threads) {
            thread.join();
        }
        assertNull(failed.get(), () -> String.valueOf(failed.get()));
        assertTrue(joins > 0);
        assertEquals(areas.all(), stays.shown());
    }
}
