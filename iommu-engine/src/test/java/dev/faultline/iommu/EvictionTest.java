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
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

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
