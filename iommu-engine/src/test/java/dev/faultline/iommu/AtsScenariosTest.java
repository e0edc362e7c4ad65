package dev.faultline.iommu;

import static dev.faultline.ring.FaultProducer.NO_PASID;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.faultline.iommu.InvalidateRequest.State;
import dev.faultline.iommu.TranslationCompletion.Status;
import dev.faultline.iommu.tlb.AtsRange;
import dev.faultline.iommu.tlb.TlbTag;
import dev.faultline.ring.Answer;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** Translations and their invalidation over the wire: the scenarios of PCIe ATS, VT-d and SMMUv3 that concern the core, by sheet and number. */
class AtsScenariosTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGE = Frames.BYTES;
    private static final long LIMIT_NS = 1_000;

    private static InvalidateRequest sent(@Nullable InvalidateRequest request) {
        assertNotNull(request);
        return request;
    }

    private static InvalidateRequest invalidate(Device device, int pasid, long range, boolean global) {
        return sent(device.ats().invalidate(pasid, range, global));
    }

    /** A device on a page of ones; the page is then replaced by one of twos, and nobody is told. */
    private static Device stale(Rig rig) {
        return stale(rig, 0);
    }

    private static Device stale(Rig rig, int unit) {
        assertTrue(rig.space.map(BASE, rig.page(1), 3));
        assertTrue(rig.space.map(BASE + PAGE, rig.page(2), 3));
        Device device = rig.device(DeviceConfig.plain("d"));
        device.ats().enable(unit);
        assertEquals(1, rig.read(device, BASE));
        long one = rig.space.radix().entry(BASE);
        long two = rig.space.radix().entry(BASE + PAGE);
        assertTrue(rig.space.radix().remove(BASE, one));
        assertTrue(rig.space.radix().remove(BASE + PAGE, two));
        assertTrue(rig.space.radix().restore(BASE, two));
        assertTrue(rig.space.radix().restore(BASE + PAGE, one));
        return device;
    }

    /** Over the wire; {@code DeviceTlbTest} has the same at the TLB. */
    @Test
    void pcieAtsPri21And22WhatAnInvalidationOfAPasidLeaves() {
        try (Rig rig = Rig.open()) {
            assertTrue(rig.space.zero(BASE));
            Device device = rig.device(DeviceConfig.plain("d"));
            device.attach(rig.space, 1);
            device.attach(rig.space, 2);
            assertEquals(List.of(true, true, true), cachedAfter(rig, device, () -> {}));
            assertEquals(
                    List.of(false, false, false),
                    cachedAfter(rig, device, () -> obeyed(device, NO_PASID, BASE, false)));
            assertEquals(
                    List.of(false, false, false),
                    cachedAfter(rig, device, () -> obeyed(device, NO_PASID, BASE, true)),
                    "G means nothing without PASID");
            assertEquals(List.of(true, false, true), cachedAfter(rig, device, () -> obeyed(device, 1, BASE, false)));
            assertEquals(List.of(true, false, false), cachedAfter(rig, device, () -> obeyed(device, 1, BASE, true)));
            assertEquals(
                    List.of(true, true, true), cachedAfter(rig, device, () -> obeyed(device, 1, BASE + PAGE, true)));
            device.leave();
        }
    }

    private static void obeyed(Device device, int pasid, long range, boolean global) {
        assertEquals(State.COMPLETED, device.ats().await(invalidate(device, pasid, range, global)));
    }

    /** Whether the device has the page in its TLB after something: without PASID, for 1 and for 2. */
    private static List<Boolean> cachedAfter(Rig rig, Device device, Runnable something) {
        MemorySegment into = rig.arena.allocate(1);
        for (int pasid = NO_PASID; pasid <= 2; pasid++) {
            if (pasid != 0) {
                device.read(BASE, into, pasid);
            }
        }
        something.run();
        List<Boolean> cached = new ArrayList<>();
        for (int pasid = NO_PASID; pasid <= 2; pasid++) {
            if (pasid != 0) {
                long before = device.counters().deviceTlbHits();
                device.read(BASE, into, pasid);
                cached.add(device.counters().deviceTlbHits() > before);
            }
        }
        return cached;
    }

    @Test
    void pcieAtsPri23AStaleEntryIsUsedUntilItsInvalidationIsComplete() {
        try (Rig rig = Rig.open()) {
            Device device = stale(rig);
            assertEquals(1, rig.read(device, BASE), "nobody has told the device");
            rig.iommu.iotlb().invalidate(rig.space.number(), NO_PASID, BASE, 0);
            assertEquals(1, rig.read(device, BASE), "the IOTLB alone is not enough");
            assertEquals(State.COMPLETED, device.ats().await(invalidate(device, NO_PASID, BASE, false)));
            assertEquals(2, rig.read(device, BASE));
            device.leave();
        }
    }

    @Test
    void pcieAtsPri24CountsCompletions() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.plain("d"));
            device.ats().answersInvalidations(false);
            InvalidateRequest eight = invalidate(device, NO_PASID, BASE, false);
            InvalidateRequest two = invalidate(device, NO_PASID, BASE, false);
            assertNotEquals(eight.tag(), two.tag());
            for (int i = 1; i <= 8; i++) {
                assertEquals(State.PENDING, eight.state(), "before completion " + i);
                assertTrue(device.ats().completion(device.requester(), 1 << eight.tag(), 0));
            }
            assertEquals(State.COMPLETED, eight.state());
            assertTrue(device.ats().completion(device.requester(), 1 << two.tag(), 2));
            assertEquals(State.PENDING, two.state());
            assertTrue(device.ats().completion(device.requester(), 1 << two.tag(), 2));
            assertEquals(State.COMPLETED, two.state());
            InvalidateRequest a = invalidate(device, NO_PASID, BASE, false);
            InvalidateRequest b = invalidate(device, NO_PASID, BASE, false);
            assertTrue(
                    device.ats().completion(device.requester(), 1 << a.tag() | 1 << b.tag(), 1),
                    "two tags in one message");
            assertEquals(State.COMPLETED, a.state());
            assertEquals(State.COMPLETED, b.state());
            assertEquals(0, device.ats().unexpectedCompletions());
            device.leave();
        }
    }

    @Test
    void pcieAtsPri25AForeignCompletionChangesNothing() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.plain("d"));
            device.ats().answersInvalidations(false);
            InvalidateRequest request = invalidate(device, NO_PASID, BASE, false);
            assertFalse(device.ats().completion(device.requester() ^ 1, 1 << request.tag(), 1));
            assertEquals(State.PENDING, request.state());
            assertEquals(1, device.ats().unexpectedCompletions());
            assertTrue(device.ats().completion(device.requester(), 1 << request.tag(), 1));
            assertEquals(State.COMPLETED, request.state());
            device.leave();
        }
    }

    @Test
    void pcieAtsPri26TimesOutOnceAndFreesTheTag() {
        AtomicLong now = new AtomicLong(5);
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.plain("d"));
            device.ats().timeOut(LIMIT_NS, now::get);
            device.ats().answersInvalidations(false);
            List<InvalidateRequest> all = new ArrayList<>();
            for (int i = 0; i < AtsInterface.TAGS; i++) {
                all.add(invalidate(device, NO_PASID, BASE, false));
            }
            assertEquals(
                    AtsInterface.TAGS,
                    all.stream().map(InvalidateRequest::tag).distinct().count());
            assertNull(device.ats().invalidate(NO_PASID, BASE, false), "the queue is full");
            now.addAndGet(LIMIT_NS - 1);
            assertEquals(0, device.ats().expire());
            now.incrementAndGet();
            assertEquals(AtsInterface.TAGS, device.ats().expire());
            assertEquals(0, device.ats().expire());
            assertTrue(all.stream().allMatch(request -> request.state() == State.TIMED_OUT));
            assertFalse(
                    device.ats()
                            .completion(device.requester(), 1 << all.getFirst().tag(), 1),
                    "a late one");
            device.ats().answersInvalidations(true);
            assertEquals(
                    State.COMPLETED, invalidate(device, NO_PASID, BASE, false).state());
            assertEquals(AtsInterface.TAGS, device.ats().timeOuts());
            assertEquals(1, device.ats().unexpectedCompletions());
            device.leave();
        }
    }

    @Test
    void pcieAtsPri27UnsupportedAbortedOrWithoutPermission() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            device.tellFaults((table, pasid, address, access, why, fault) -> fail("an event: " + why));
            assertEquals(
                    new TranslationCompletion(Status.SUCCESSFUL, 0),
                    device.ats().translate(NO_PASID, BASE, true, false, false));
            assertEquals(0, rig.accounting().raised(), "nothing on the IOMMU's side");
            assertEquals(
                    Status.COMPLETER_ABORT,
                    device.ats().translate(7, BASE, true, false, false).status(),
                    "nothing is attached");
            device.attach(rig.iommu.identity(), 8);
            assertEquals(
                    Status.COMPLETER_ABORT,
                    device.ats().translate(8, 1L << 40, true, false, false).status(),
                    "no memory is there");
            assertTrue(rig.space.zero(BASE));
            assertEquals(
                    TranslationCompletion.READ | TranslationCompletion.WRITE,
                    device.ats().translate(NO_PASID, BASE, false, false, false).entry() & 0x3);
            device.ats().disable();
            assertEquals(
                    Status.UNSUPPORTED_REQUEST,
                    device.ats().translate(NO_PASID, BASE, true, false, false).status());
            assertEquals(0, rig.read(device, BASE), "untranslated requests go on");
            assertEquals(0, device.counters().deviceTlbHits());
            device.ats().enable(0);
            assertEquals(0, rig.read(device, BASE));
            assertEquals(0, rig.read(device, BASE));
            assertEquals(1, device.counters().deviceTlbHits());
            device.leave();
        }
    }

    @Test
    void pcieAtsPri27NoPermissionIsNotCached() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.plain("d"));
            assertEquals(
                    0,
                    device.ats().translate(NO_PASID, BASE, true, false, false).entry() & 0x3);
            assertTrue(rig.space.zero(BASE));
            assertEquals(0, rig.read(device, BASE), "found without an invalidation");
            device.leave();
        }
    }

    @Test
    void pcieAtsPri28NoWriteLeavesThePageClean() {
        try (Rig rig = Rig.open()) {
            assertTrue(rig.space.zero(BASE));
            Device device = rig.device(DeviceConfig.plain("d"));
            TranslationCompletion clean = device.ats().translate(NO_PASID, BASE, true, false, false);
            assertEquals(TranslationCompletion.READ, clean.entry() & 0x3);
            assertFalse(rig.space.radix().dirty(rig.space.radix().entry(BASE)));
            TranslationCompletion dirty = device.ats().translate(NO_PASID, BASE, false, false, false);
            assertEquals(TranslationCompletion.READ | TranslationCompletion.WRITE, dirty.entry() & 0x3);
            assertTrue(rig.space.radix().dirty(rig.space.radix().entry(BASE)));
            device.leave();
        }
    }

    @Test
    void executeOnlyIfAskedFor() {
        try (Rig rig = Rig.open()) {
            assertTrue(rig.space.zero(BASE));
            Device device = rig.device(DeviceConfig.plain("d"));
            assertEquals(
                    0,
                    device.ats().translate(NO_PASID, BASE, true, false, false).entry() & TranslationCompletion.EXECUTE);
            assertNotEquals(
                    0,
                    device.ats().translate(NO_PASID, BASE, true, true, false).entry() & TranslationCompletion.EXECUTE);
            device.leave();
        }
    }

    @Test
    void theWholeSmallestUnitGoes() {
        try (Rig rig = Rig.open()) {
            Device device = stale(rig, 1);
            rig.iommu.iotlb().invalidate(rig.space.number(), NO_PASID, BASE, 1);
            assertEquals(1, rig.read(device, BASE));
            assertEquals(
                    State.COMPLETED,
                    invalidate(device, NO_PASID, BASE + PAGE, false).state());
            assertEquals(2, rig.read(device, BASE));
            assertEquals(
                    AtsRange.encode(0, 1),
                    device.ats().translate(NO_PASID, 0, true, false, false).entry());
            assertEquals(
                    Status.COMPLETER_ABORT,
                    device.ats()
                            .translate(NO_PASID, BASE + PAGE, true, false, false)
                            .status(),
                    "a page smaller than the unit");
            assertEquals(0, device.ats().invalidateQueueDepth(), "32");
            assertThrows(IllegalArgumentException.class, () -> device.ats().enable(32));
            device.leave();
        }
    }

    @Test
    void vtd8WithoutDeviceTlbOnlyTranslationRequestsAreRefused() {
        try (Rig rig = Rig.open()) {
            assertTrue(rig.space.map(BASE, rig.page(5), 3));
            Device device = rig.device(DeviceConfig.plain("d"));
            device.ats().disable();
            assertEquals(
                    new TranslationCompletion(Status.UNSUPPORTED_REQUEST, 0),
                    device.ats().translate(NO_PASID, BASE, false, false, false));
            assertEquals(5, rig.read(device, BASE));
            device.leave();
        }
    }

    @Test
    void vtd18ATimeOutHoldsUpNobodyElse() {
        AtomicLong now = new AtomicLong();
        try (Rig rig = Rig.open()) {
            Device dead = rig.device(DeviceConfig.plain("dead"));
            Device alive = rig.device(DeviceConfig.plain("alive"));
            dead.ats().timeOut(LIMIT_NS, now::get);
            dead.ats().answersInvalidations(false);
            InvalidateRequest lost = invalidate(dead, NO_PASID, BASE, false);
            assertEquals(
                    State.COMPLETED, invalidate(alive, NO_PASID, BASE, false).state());
            rig.iommu.invalidations().range(rig.space.table(), BASE, PAGE);
            assertEquals(State.PENDING, lost.state());
            now.addAndGet(LIMIT_NS);
            assertEquals(State.TIMED_OUT, dead.ats().await(lost));
            dead.ats().answersInvalidations(true);
            assertEquals(
                    State.COMPLETED, dead.ats().await(invalidate(dead, NO_PASID, BASE, false)), "the device is back");
            dead.leave();
            alive.leave();
        }
    }

    @Test
    void smmu24ADeadDeviceAmongLiveOnes() {
        AtomicLong now = new AtomicLong();
        try (Rig rig = Rig.open()) {
            assertTrue(rig.space.zero(BASE));
            List<Device> devices = new ArrayList<>();
            List<InvalidateRequest> sent = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                Device device = rig.device(DeviceConfig.plain("d" + i));
                device.ats().timeOut(LIMIT_NS, now::get);
                device.ats().answersInvalidations(i != 1);
                assertEquals(0, rig.read(device, BASE));
                devices.add(device);
            }
            long tag = TlbTag.of(rig.space.number(), NO_PASID);
            assertNotEquals(0, rig.iommu.iotlb().lookup(tag, BASE));
            devices.forEach(device -> sent.add(invalidate(device, NO_PASID, BASE, false)));
            rig.iommu.invalidations().range(rig.space.table(), BASE, PAGE);
            assertEquals(0, rig.iommu.iotlb().lookup(tag, BASE), "the IOTLB's is done");
            assertEquals(
                    List.of(State.COMPLETED, State.PENDING, State.COMPLETED),
                    sent.stream().map(InvalidateRequest::state).toList());
            now.addAndGet(LIMIT_NS);
            assertEquals(State.TIMED_OUT, devices.get(1).ats().await(sent.get(1)), "and which one it was is known");
            // The device is as dead as before, and with nothing new sent to it nobody waits for it.
            assertEquals(0, devices.get(1).ats().expire());
            obeyed(devices.get(0), NO_PASID, BASE, false);
            rig.iommu.invalidations().everything();
            assertEquals(1, devices.get(1).ats().timeOuts());
            devices.forEach(Device::leave);
        }
    }

    @Test
    void vtd19AnUnexpectedTagLeavesOthersPending() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.plain("d"));
            device.ats().answersInvalidations(false);
            InvalidateRequest request = invalidate(device, NO_PASID, BASE, false);
            int unused = request.tag() + 1;
            assertFalse(device.ats().completion(device.requester(), 1 << unused, 1));
            assertEquals(State.PENDING, request.state());
            assertFalse(device.ats().completion(device.requester(), 1 << unused | 1 << request.tag(), 1));
            assertEquals(State.COMPLETED, request.state());
            device.leave();
        }
    }

    @Test
    void vtd28ARangeOfOneGigabyteIsDropped() {
        try (Rig rig = Rig.open()) {
            Device device = stale(rig);
            rig.iommu.invalidations().range(rig.space.table(), BASE & -1L << 30, 1L << 30);
            assertEquals(2, rig.read(device, BASE));
            device.leave();
        }
    }

    /** The function waits for an answer, the handler for the function: for its TLB, for its accesses, for everything at once. */
    @Test
    void handlerThatWaitsForTheDeviceThatWaitsForItDoesNotDeadlock() {
        assertTimeoutPreemptively(Duration.ofSeconds(60), () -> {
            AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
            try (Rig rig = Rig.open()) {
                Device device = rig.device(DeviceConfig.pri("d"));
                assertTrue(rig.space.zero(BASE + PAGE));
                for (int i = 0; i < 20; i++) {
                    long missing = BASE + (2L + i) * PAGE;
                    rig.start(device, Access.WRITE, missing, rig.bytes(8, i), i);
                    rig.settle(device);
                    Rig.Seen group = rig.take().getFirst();
                    Runnable handler = () -> {
                        rig.iommu.invalidations().range(rig.space.table(), missing, PAGE);
                        assertEquals(
                                State.COMPLETED,
                                device.ats()
                                        .await(invalidate(
                                                device, NO_PASID, AtsRange.encode(0, AtsRange.EVERYTHING), false)));
                        rig.space.unmap(BASE + PAGE, PAGE);
                        assertTrue(rig.space.zero(BASE + PAGE));
                        assertTrue(rig.space.zero(missing));
                    };
                    if (i % 2 == 0) {
                        // On the thread that is inside, between two steps.
                        handler.run();
                    } else {
                        // On another, while the thread inside waits for the answer.
                        Thread other = Thread.ofPlatform().start(() -> {
                            try {
                                handler.run();
                            } catch (Throwable e) {
                                failure.set(e);
                            }
                        });
                        while (other.isAlive()) {
                            var _ = device.await(1_000_000);
                            var _ = device.step();
                        }
                        assertNull(failure.get());
                    }
                    rig.answer(group, Answer.SUCCESS);
                    rig.settle(device);
                    assertEquals(AccessResult.OK, rig.results.get((long) i));
                }
                device.leave();
            }
        });
    }

    @Test
    void vtd30TheInterruptWindowIsGrantedToNobody() {
        try (Rig rig = Rig.open()) {
            rig.iommu.addMemory(0xfec0_0000L, rig.arena.allocate(4L << 20, PAGE));
            Device device = rig.device(DeviceConfig.plain("d"));
            device.ats().enable(0);
            assertTrue(rig.space.map(BASE, 0xfee0_1000L, PAGE, 3));
            assertTrue(rig.space.map(BASE + PAGE, 0xfedf_f000L, PAGE, 3));
            TranslationCompletion refused = device.ats().translate(NO_PASID, BASE, false, false, false);
            assertEquals(Status.SUCCESSFUL, refused.status());
            assertEquals(0, refused.entry() & (TranslationCompletion.READ | TranslationCompletion.WRITE));
            TranslationCompletion granted = device.ats().translate(NO_PASID, BASE + PAGE, false, false, false);
            assertNotEquals(0, granted.entry() & TranslationCompletion.WRITE);
            AccessFault fault = assertThrows(AccessFault.class, () -> rig.read(device, BASE));
            assertEquals(AccessResult.TABLE_ERROR, fault.reason());
            assertEquals(0, rig.read(device, BASE + PAGE));
            device.leave();
        }
    }
}
