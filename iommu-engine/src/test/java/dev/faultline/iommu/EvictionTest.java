package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.Answer;
import dev.faultline.ring.QueueConfig;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class EvictionTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGE = Frames.BYTES;

    @Test
    void bringsThePageBackAsItWas() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            MemorySegment store = rig.bytes(PAGE, 0);
            assertEquals(Eviction.NOT_MAPPED, rig.space.evict(BASE, store));
            MemorySegment out = rig.bytes(PAGE, 11);
            rig.start(device, Access.WRITE, BASE, out, 1);
            rig.finish(device);
            long free = rig.iommu.frames().freeCount();
            assertEquals(Eviction.DIRTY, rig.space.evict(BASE + 17, store));
            assertEquals(free + 1, rig.iommu.frames().freeCount());
            assertEquals(-1, out.mismatch(store));
            assertEquals(0, rig.space.mappedPages());
            MemorySegment back = rig.bytes(PAGE, 0);
            rig.start(device, Access.READ, BASE, back, 2);
            rig.settle(device);
            Rig.Seen group = rig.take().getFirst();
            assertTrue(rig.space.map(BASE, store, PERM_READ | PERM_WRITE));
            rig.answer(group, Answer.SUCCESS);
            rig.settle(device);
            assertEquals(AccessResult.OK, rig.results.get(2L));
            assertEquals(-1, out.mismatch(back));
            assertEquals(Eviction.CLEAN, rig.space.evict(BASE, store), "it was only read since it came back");
            assertEquals(Eviction.NOT_MAPPED, rig.space.evict(BASE, store));
            device.leave();
        }
    }

    @Test
    void isBusyUntilTheAccessThatAskedHasGoneOn() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withGroupPages(2));
            MemorySegment store = rig.bytes(PAGE, 0);
            rig.start(device, Access.WRITE, BASE, rig.bytes(8, 1), 1);
            rig.settle(device);
            Rig.Seen group = rig.take().getFirst();
            group.addresses().forEach(rig.space::zero);
            assertEquals(Eviction.BUSY, rig.space.evict(BASE, store), "raised, not answered");
            assertEquals(Eviction.CLEAN, rig.space.evict(BASE + PAGE, store), "nobody waits for this one");
            rig.answer(group, Answer.SUCCESS);
            assertEquals(Eviction.BUSY, rig.space.evict(BASE, store), "answered, not tried again");
            assertTrue(device.step());
            assertEquals(Eviction.DIRTY, rig.space.evict(BASE, store));
            rig.finish(device);
            rig.start(device, Access.WRITE, BASE, rig.bytes(8, 1), 2);
            rig.settle(device);
            rig.space.zero(BASE);
            rig.answer(rig.take().getFirst(), Answer.INVALID);
            rig.finish(device);
            assertEquals(
                    Eviction.DIRTY, rig.space.evict(BASE, store), "it looked once more, for its group had two pages");
            device.leave();
        }
    }

    @Test
    void isNotBusyForAnotherPasidsAddressSpace() {
        try (Rig rig = Rig.open();
                AddressSpace other = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, rig.queue)) {
            Device device = rig.device(DeviceConfig.pri("d"));
            device.attach(other, 9);
            rig.start(device, Access.WRITE, BASE, rig.bytes(8, 1), 9, 1);
            rig.settle(device);
            assertTrue(rig.space.zero(BASE));
            assertTrue(other.zero(BASE));
            MemorySegment store = rig.bytes(PAGE, 0);
            assertEquals(Eviction.CLEAN, rig.space.evict(BASE, store));
            assertEquals(Eviction.BUSY, other.evict(BASE, store));
            rig.finish(device);
            device.leave();
        }
    }

    /** One thread is everything: it steps the device and handles its faults, with a single frame for all pages. */
    @Test
    void aHandlerEvictsAPageOfTheVeryDeviceItAnswers() {
        try (Rig rig = new Rig(IommuConfig.small().withFrames(5), QueueConfig.of(16))) {
            Device device = rig.device(DeviceConfig.pri("d"));
            MemorySegment[] store = {rig.bytes(PAGE, 0), rig.bytes(PAGE, 0), rig.bytes(PAGE, 0)};
            store[0].fill((byte) 0);
            store[1].fill((byte) 0);
            store[2].fill((byte) 0);
            int resident = -1;
            int evictions = 0;
            for (int i = 0; i < 300; i++) {
                MemorySegment bytes = rig.bytes(8, i);
                MemorySegment back = rig.bytes(8, 0);
                long at = BASE + (long) (i % 3) * PAGE + 8L * (i / 3 % 500);
                rig.start(device, Access.WRITE, at, bytes, 2L * i);
                rig.start(device, Access.READ, at, back, 2L * i + 1);
                while (device.pending() > 0) {
                    rig.settle(device);
                    for (Rig.Seen group : List.copyOf(rig.take())) {
                        if (resident >= 0) {
                            assertEquals(
                                    Eviction.DIRTY, rig.space.evict(BASE + (long) resident * PAGE, store[resident]));
                            evictions++;
                        }
                        resident = (int) ((group.addresses().getFirst() - BASE) / PAGE);
                        assertTrue(
                                rig.space.map(group.addresses().getFirst(), store[resident], PERM_READ | PERM_WRITE));
                        rig.answer(group, Answer.SUCCESS);
                    }
                }
                assertEquals(-1, bytes.mismatch(back));
            }
            assertEquals(299, evictions);
            assertEquals(1, rig.space.mappedPages());
            device.leave();
        }
    }

    @Test
    void saysHowManyFramesThereAreWhenNoneIsLeft() {
        try (Rig rig = new Rig(IommuConfig.small().withFrames(5), QueueConfig.of(16))) {
            assertTrue(rig.space.zero(BASE));
            OutOfFrames e = assertThrows(OutOfFrames.class, () -> rig.space.zero(BASE + PAGE));
            assertEquals("no frame for a page: 5 of 5 in use", e.getMessage());
            assertFalse(rig.space.zero(BASE));
            assertThrows(OutOfFrames.class, () -> rig.space.zero(1L << 40));
            assertEquals(1, rig.space.mappedPages());
            assertEquals(Eviction.CLEAN, rig.space.evict(BASE, rig.bytes(PAGE, 0)));
            assertTrue(rig.space.zero(BASE + PAGE));
        }
    }

    @Test
    void namesTheThreadThatHoldsThePageUpAndMapsItAgain() throws InterruptedException {
        try (Rig rig = new Rig(IommuConfig.small().withLimitNs(20_000_000), QueueConfig.of(16))) {
            Device device = rig.iommu.device(DeviceConfig.pri("d"));
            device.attach(rig.space);
            rig.space.zero(BASE);
            CountDownLatch entered = new CountDownLatch(1);
            CountDownLatch leave = new CountDownLatch(1);
            Thread sleeper = Thread.ofPlatform().name("sleeper").start(() -> {
                assertTrue(device.enter());
                entered.countDown();
                try {
                    boolean ignored = leave.await(20, TimeUnit.SECONDS);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
                device.leave();
            });
            entered.await();
            QuiescenceTimeout e =
                    assertThrows(QuiescenceTimeout.class, () -> rig.space.evict(BASE, rig.bytes(PAGE, 0)));
            assertTrue(e.toString().contains("\"sleeper\""), e::toString);
            assertTrue(rig.space.isMapped(BASE));
            long free = rig.iommu.frames().freeCount();
            assertThrows(QuiescenceTimeout.class, () -> rig.space.unmap(BASE, PAGE));
            assertFalse(rig.space.isMapped(BASE));
            assertEquals(free, rig.iommu.frames().freeCount(), "the frame may still be in use");
            IllegalStateException busy = assertThrows(IllegalStateException.class, device::close);
            assertTrue(busy.toString().contains("\"sleeper\""), busy::toString);
            leave.countDown();
            sleeper.join();
            assertEquals(Eviction.NOT_MAPPED, rig.space.evict(BASE, rig.bytes(PAGE, 0)));
            assertEquals(free + 1, rig.iommu.frames().freeCount(), "freed once the thread has left");
        }
    }

    /** The eviction waits in vain, and meanwhile the place is taken: by a region, by a page, by a table that has no such address. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2})
    void whatCannotBePutBackIsEvictedAllTheSame(int how) throws Exception {
        long far = 1L << 40;
        try (Rig rig = new Rig(IommuConfig.small().withLimitNs(300_000_000), QueueConfig.of(16))) {
            Device device = rig.iommu.device(DeviceConfig.plain("d"));
            Device second = rig.iommu.device(DeviceConfig.plain("e")
                    .withReserved(new ReservedRegion(far, far + PAGE - 1, ReservedRegion.Kind.RESERVED)));
            device.attach(rig.space);
            assertTrue(rig.space.zero(far));
            device.write(far, rig.bytes(8, 5));
            long free = rig.iommu.frames().freeCount();
            CountDownLatch entered = new CountDownLatch(1);
            CountDownLatch leave = new CountDownLatch(1);
            Thread sleeper = Thread.ofPlatform().start(() -> {
                assertTrue(device.enter());
                entered.countDown();
                try {
                    boolean ignored = leave.await(20, TimeUnit.SECONDS);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
                device.leave();
            });
            entered.await();
            MemorySegment into = rig.bytes(PAGE, 0);
            FutureTask<Eviction> evicting = new FutureTask<>(() -> rig.space.evict(far, into));
            Thread evictor = Thread.ofPlatform().start(evicting);
            while (rig.space.isMapped(far)) {
                Thread.onSpinWait();
            }
            switch (how) {
                case 0 -> second.attach(rig.space);
                case 1 -> assertTrue(rig.space.zero(far));
                default -> rig.space.addTable(TableFormat.vtdSecond(39, 52), null);
            }
            assertEquals(Eviction.DIRTY, evicting.get());
            evictor.join();
            assertEquals(5, into.get(ValueLayout.JAVA_BYTE, 0), "its content is not lost");
            assertEquals(how == 1, rig.space.isMapped(far));
            assertEquals(how == 1 ? 1 : 0, rig.space.mappedPages());
            leave.countDown();
            sleeper.join();
            if (how == 1) {
                assertEquals(Eviction.CLEAN, rig.space.evict(far, into), "the other page");
            }
            assertEquals(Eviction.NOT_MAPPED, rig.space.evict(0, into));
            assertEquals(
                    free + (how == 2 ? 0 : 1), rig.iommu.frames().freeCount(), "its frame is free, a table has one");
        }
    }

    /** What another thread has asked for runs at the beginning of a step, and may take that thread for quiescent. */
    @Test
    void aStepUsesNothingThatWasGivenBackAtItsBeginning() throws Exception {
        try (Rig rig = new Rig(IommuConfig.small().withLimitNs(100_000_000), QueueConfig.of(16))) {
            Device device = rig.device(DeviceConfig.plain("d"));
            assertTrue(rig.space.zero(BASE));
            MemorySegment into = rig.bytes(8, 0);
            rig.start(device, Access.READ, BASE, into, 1);
            rig.settle(device);
            assertEquals(AccessResult.OK, rig.results.get(1L));
            AtomicBoolean done = new AtomicBoolean();
            Thread asks = Thread.ofPlatform().start(() -> {
                try {
                    device.perform(() -> {
                        Thread unmaps = Thread.ofPlatform()
                                .start(() -> assertThrows(
                                        QuiescenceTimeout.class, () -> rig.space.unmap(BASE, PAGE), "nobody steps"));
                        try {
                            unmaps.join();
                        } catch (InterruptedException e) {
                            throw new AssertionError(e);
                        }
                        long free = rig.iommu.frames().freeCount();
                        rig.iommu.reclaim();
                        assertEquals(free + 1, rig.iommu.frames().freeCount());
                        assertTrue(rig.space.map(BASE + PAGE, rig.page(9), PERM_READ), "in the same frame");
                        rig.start(device, Access.READ, BASE, into, 2);
                        done.set(true);
                    });
                } catch (IllegalStateException e) {
                    // It takes longer than the limit.
                }
            });
            while (!done.get()) {
                var _ = device.step();
                Thread.onSpinWait();
            }
            asks.join();
            rig.settle(device);
            assertEquals(
                    AccessResult.NO_PAGE_REQUESTS,
                    rig.results.get(2L),
                    "not what lies there now: " + into.get(ValueLayout.JAVA_BYTE, 0));
            device.leave();
        }
    }

    @Test
    void givesTheFrameAwayOnlyAfterEveryStepperHasStepped() throws InterruptedException {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            rig.start(device, Access.WRITE, BASE, rig.bytes(8, 1), 1);
            rig.finish(device);
            long free = rig.iommu.frames().freeCount();
            MemorySegment store = rig.bytes(PAGE, 0);
            Thread evicts = Thread.ofPlatform().start(() -> rig.space.evict(BASE, store));
            while (rig.space.isMapped(BASE)) {
                Thread.onSpinWait();
            }
            evicts.join(50);
            assertTrue(evicts.isAlive(), "this thread has not stepped");
            assertEquals(free, rig.iommu.frames().freeCount());
            assertEquals(0, store.get(java.lang.foreign.ValueLayout.JAVA_BYTE, 0));
            device.step();
            evicts.join();
            assertEquals(free + 1, rig.iommu.frames().freeCount());
            assertEquals(1, store.get(java.lang.foreign.ValueLayout.JAVA_BYTE, 0));
            device.leave();
        }
    }

    @Test
    void waitsForNobodyWhoAwaits() throws InterruptedException {
        try (Rig rig = new Rig(IommuConfig.small().withLimitNs(2_000_000_000), QueueConfig.of(16))) {
            Device device = rig.iommu.device(DeviceConfig.pri("d"));
            device.attach(rig.space);
            rig.space.zero(BASE);
            Thread waiter = Thread.ofPlatform().start(() -> device.read(BASE + PAGE, rig.bytes(8, 0)));
            while (rig.take().isEmpty()) {
                Thread.onSpinWait();
            }
            for (int i = 0; i < 50; i++) {
                assertTrue(rig.space.unmap(BASE, PAGE));
                assertTrue(rig.space.zero(BASE));
            }
            rig.space.zero(BASE + PAGE);
            rig.answer(rig.seen.getFirst(), Answer.SUCCESS);
            waiter.join();
        }
    }

    @Test
    void forgetsEverythingWhenItLagsTooFarBehind() {
        try (Rig rig = new Rig(IommuConfig.small().withLogEntries(16), QueueConfig.of(16))) {
            Device device = rig.device(DeviceConfig.pri("d"));
            rig.start(device, Access.WRITE, BASE, rig.bytes(8, 1), 1);
            rig.finish(device);
            device.leave();
            MemorySegment store = rig.bytes(PAGE, 0);
            assertEquals(Eviction.DIRTY, rig.space.evict(BASE, store));
            for (int i = 0; i < 40; i++) {
                rig.space.zero(BASE + PAGE);
                assertEquals(Eviction.CLEAN, rig.space.evict(BASE + PAGE, store));
            }
            long flushes = device.counters().flushes();
            assertTrue(device.enter());
            assertEquals(flushes + 1, device.counters().flushes());
            rig.start(device, Access.READ, BASE, rig.bytes(8, 1), 2);
            rig.settle(device);
            assertEquals(1, rig.accounting().outstanding(), "no translation of the old page is left");
            rig.finish(device);
            device.leave();
        }
    }

    @Test
    void noticesUseAgainAfterTheAccessedBitWasCleared() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            rig.start(device, Access.WRITE, BASE, rig.bytes(8, 1), 1);
            rig.finish(device);
            assertTrue(rig.space.accessedAndClear(BASE));
            assertFalse(rig.space.accessedAndClear(BASE));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 1), 2);
            rig.finish(device);
            assertTrue(rig.space.accessedAndClear(BASE), "though the device's TLB knew the page");
            assertFalse(rig.space.accessedAndClear(BASE + PAGE));
            assertEquals(Eviction.DIRTY, rig.space.evict(BASE, rig.bytes(PAGE, 0)), "dirty outlives accessed");
            device.leave();
        }
    }
}
