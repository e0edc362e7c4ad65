package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.table.Leaf;
import dev.faultline.iommu.table.RadixTable;
import dev.faultline.iommu.table.Taken;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What leaves one page table of an address space leaves the others, with what was written through them. */
class SiblingsTest {
    private static final int READ = 1;
    private static final long PAGE = Frames.BYTES;
    private static final long BASE = 0x10_0000_0000L;

    private static RadixTable radix(PageTable table) {
        return ((EngineTable) table.areas()).radix();
    }

    @Test
    void whatOneThreadTookOutOfASiblingIsWaitedForByTheOther() throws InterruptedException {
        try (Rig rig = Rig.open()) {
            rig.iommu.frames().poisonFreed(true);
            PageTable other = rig.space.addTable(TableFormat.ARM_4K_STAGE_1, null);
            Device device = rig.iommu.device(DeviceConfig.plain("d"));
            Attachment _ = device.attach(other);
            AtomicBoolean stop = new AtomicBoolean();
            AtomicReference<Throwable> failed = new AtomicReference<>();
            AtomicLong freed = new AtomicLong();
            CountDownLatch ready = new CountDownLatch(1);
            List<Thread> threads = new ArrayList<>();
            threads.add(thread(failed, () -> {
                MemorySegment into = Arena.ofAuto().allocate(8);
                var _ = device.enter();
                ready.countDown();
                while (!stop.get()) {
                    try {
                        device.read(BASE, into);
                        if (into.get(ValueLayout.JAVA_LONG, 0) != 0) {
                            freed.incrementAndGet();
                        }
                    } catch (AccessFault _) {
                        Thread.onSpinWait();
                    }
                    device.step();
                }
                device.leave();
            }));
            ready.await();
            threads.add(thread(failed, () -> {
                while (!stop.get()) {
                    var _ = rig.space.zero(BASE + PAGE);
                    var _ = rig.space.unmap(BASE, 2 * PAGE);
                }
            }));
            long end = System.nanoTime() + 2_000_000_000L;
            while (System.nanoTime() < end && failed.get() == null) {
                var _ = rig.space.zero(BASE);
                var _ = rig.space.unmap(BASE, PAGE);
            }
            stop.set(true);
            for (Thread thread : threads) {
                thread.join();
            }
            assertNull(failed.get(), () -> String.valueOf(failed.get()));
            assertEquals(0, freed.get(), "reads of freed frames");
            device.close();
        }
    }

    private static Thread thread(AtomicReference<Throwable> failed, Runnable work) {
        return Thread.ofPlatform().start(() -> {
            try {
                work.run();
            } catch (Throwable e) {
                failed.set(e);
            }
        });
    }

    @Test
    void aPageTakenOutWhileAnAreaIsTriedLeavesTheSibling() {
        try (Rig rig = Rig.open()) {
            EngineTable first = (EngineTable) rig.space.table().areas();
            Siblings siblings = new Siblings(rig.iommu, first, rig.space.areas());
            EngineTable other = rig.iommu.sibling(TableFormat.ARM_4K_STAGE_1, null, rig.space);
            siblings.join(other);
            assertTrue(rig.space.zero(BASE));
            assertTrue(siblings.show(BASE, BASE + PAGE - 1));
            Leaf leaf = new Leaf();
            assertTrue(other.radix().look(BASE, leaf));
            Taken taken = new Taken();
            AtomicBoolean there = new AtomicBoolean(true);
            MemorySegment own = rig.arena.allocate(PAGE, PAGE);
            Backing memory = new Backing(own.address(), PAGE, true, null) {
                @Override
                protected MemorySegment piece(long offset) {
                    long _ = first.radix().unmap(BASE, BASE + PAGE - 1, taken, 1);
                    siblings.release(taken, BASE, BASE + PAGE - 1);
                    there.set(other.radix().look(BASE, leaf));
                    return own.asSlice(offset);
                }

                @Override
                protected boolean transfer(long offset, MemorySegment data, boolean write) {
                    return false;
                }
            };
            AreaResult result =
                    rig.space.areas().map(memory, 0, PAGE, READ, BASE).result();
            assertFalse(there.get(), "the frame is free");
            assertEquals(AreaResult.DONE, result);
            assertTrue(other.radix().look(BASE, leaf), "the area");
            assertEquals(PAGE, rig.space.areas().unmap(BASE, PAGE).bytes());
            siblings.leave(other);
            // The page was not taken out by the space itself, which counts it still.
            assertEquals(1, rig.space.mappedPages());
        }
    }

    @Test
    void whatWasWrittenThroughASiblingIsNotLostWithItsRightsOrWithItself() {
        try (Rig rig = Rig.open()) {
            PageTable other = rig.space.addTable(TableFormat.ARM_4K_STAGE_1, null);
            Device device = rig.iommu.device(DeviceConfig.plain("d"));
            Attachment attached = device.attach(other);
            MemorySegment into = rig.arena.allocate(PAGE);
            for (int i = 0; i < 3; i++) {
                assertTrue(rig.space.zero(BASE + i * PAGE));
                device.write(BASE + i * PAGE, rig.bytes(8, 7 + i));
            }
            assertTrue(rig.space.protect(BASE, PAGE, READ));
            assertEquals(Eviction.DIRTY, rig.space.evict(BASE, into));
            assertEquals(7, into.get(ValueLayout.JAVA_BYTE, 0));

            attached.detach();
            other.close();
            assertEquals(Eviction.DIRTY, rig.space.evict(BASE + PAGE, into));
            assertEquals(8, into.get(ValueLayout.JAVA_BYTE, 0));
            assertTrue(rig.space.unmap(BASE + 2 * PAGE, PAGE));
            for (int i = 0; i < 3; i++) {
                assertTrue(rig.space.map(BASE + i * PAGE, rig.bytes(4096, 1), READ));
                assertEquals(Eviction.CLEAN, rig.space.evict(BASE + i * PAGE, into), "another page in that frame");
            }
            device.close();
        }
    }

    @Test
    void whatASiblingCanNotTranslateIsMappedNowhere() {
        try (Rig rig = Rig.open()) {
            PageTable narrow = rig.space.addTable(TableFormat.vtdSecond(39, 52), null);
            long far = 1L << 40;
            Leaf leaf = new Leaf();
            for (long address : new long[] {far, -8192}) {
                IllegalArgumentException refused =
                        assertThrows(IllegalArgumentException.class, () -> rig.space.zero(address));
                assertTrue(String.valueOf(refused.getMessage()).startsWith("address=0x"));
                assertFalse(rig.space.isMapped(address));
            }
            assertFalse(radix(narrow).look(0, leaf));
            assertFalse(radix(narrow).look((1L << 39) - 8192, leaf));
            assertEquals(0, rig.space.mappedPages());
            assertTrue(rig.space.zero((1L << 39) - PAGE));
            assertTrue(rig.space.unmap(0, 1L << 41));
            narrow.close();
            assertTrue(rig.space.zero(far));
            assertThrows(IllegalArgumentException.class, () -> rig.space.addTable(TableFormat.vtdSecond(39, 52), null));
        }
    }

    @Test
    void aTableThatADeviceKeptIsClosedTheSecondTime() throws InterruptedException {
        try (Rig rig = Rig.open()) {
            assertTrue(rig.space.zero(BASE));
            long before = rig.iommu.frames().freeCount();
            PageTable other = rig.space.addTable(TableFormat.ARM_4K_STAGE_1, null);
            Device device = rig.iommu.device(DeviceConfig.plain("d"));
            Attachment _ = device.attach(rig.space);
            CountDownLatch entered = new CountDownLatch(1);
            CountDownLatch leave = new CountDownLatch(1);
            Thread stuck = Thread.ofPlatform().start(() -> {
                var _ = device.enter();
                entered.countDown();
                try {
                    leave.await();
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
                device.leave();
            });
            entered.await();
            assertThrows(QuiescenceTimeout.class, other::close);
            leave.countDown();
            stuck.join();
            other.close();
            other.close();
            assertEquals(before, rig.iommu.frames().freeCount());
            device.close();
        }
    }

    /** A table goes on one thread while another evicts what was written through it. */
    @Test
    void whatWasWrittenThroughATableThatJustGoesIsNotLost() throws Exception {
        try (Rig rig = Rig.open();
                ExecutorService second = Executors.newSingleThreadExecutor()) {
            Device device = rig.iommu.device(DeviceConfig.plain("d"));
            MemorySegment into = rig.arena.allocate(PAGE);
            MemorySegment value = rig.bytes(8, 3);
            for (int i = 0; i < 3000; i++) {
                PageTable other = rig.space.addTable(TableFormat.ARM_4K_STAGE_1, null);
                Attachment attached = device.attach(other);
                assertTrue(rig.space.zero(BASE));
                device.write(BASE, value);
                attached.detach();
                CyclicBarrier start = new CyclicBarrier(2);
                Future<?> closing = second.submit(() -> {
                    start.await();
                    other.close();
                    return null;
                });
                start.await();
                assertEquals(Eviction.DIRTY, rig.space.evict(BASE, into), "round " + i);
                assertEquals(3, into.get(ValueLayout.JAVA_BYTE, 0));
                closing.get();
                if (i % 100 == 0) {
                    assertTrue(rig.space.zero(BASE));
                    assertEquals(Eviction.CLEAN, rig.space.evict(BASE, into), "nothing of it is left");
                }
            }
            device.close();
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 511})
    void aLargePageThatWasWrittenThroughATableThatIsGoneIsWrittenInAllItsParts(int first) {
        long large = 2L << 20;
        long physical = 1L << 30;
        try (Rig rig = Rig.open()) {
            rig.iommu.addMemory(physical, rig.arena.allocate(large, PAGE));
            PageTable other = rig.space.addTable(TableFormat.ARM_4K_STAGE_1, null);
            Device device = rig.iommu.device(DeviceConfig.plain("d"));
            Attachment attached = device.attach(other);
            assertTrue(rig.space.map(BASE, physical, large, 3));
            device.write(BASE, rig.bytes(8, 3));
            attached.detach();
            other.close();
            assertTrue(rig.space.protect(BASE, PAGE, READ), "it is split");
            MemorySegment into = rig.arena.allocate(PAGE);
            for (int i = 0; i < 512; i++) {
                int page = (first + i) % 512;
                assertEquals(Eviction.DIRTY, rig.space.evict(BASE + page * PAGE, into), "page " + page);
            }
            assertTrue(rig.space.map(BASE, physical, large, 3));
            assertTrue(rig.space.protect(BASE, PAGE, READ));
            for (int page = 0; page < 512; page++) {
                assertEquals(Eviction.CLEAN, rig.space.evict(BASE + page * PAGE, into), "page " + page);
            }
            device.close();
        }
    }
}
