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

import dev.faultline.iommu.InvalidateRequest.State;
import dev.faultline.iommu.TranslationCompletion.Status;
import dev.faultline.iommu.table.RadixTable;
import dev.faultline.iommu.tlb.AtsRange;
import dev.faultline.iommu.tlb.TlbTag;
import dev.faultline.ring.Answer;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
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

    private static byte read(Rig rig, Device device, long address) {
        MemorySegment into = rig.arena.allocate(1);
        device.read(address, into);
        return into.get(ValueLayout.JAVA_BYTE, 0);
    }

    /** A device on a page of ones; the page is then replaced by one of twos, and nobody is told. */
    private static Device stale(Rig rig) {
        return stale(rig, 0);
    }

    private static Device stale(Rig rig, int unit) {
        assertTrue(rig.space.map(BASE, page(rig, 1), 3));
        assertTrue(rig.space.map(BASE + PAGE, page(rig, 2), 3));
        Device device = rig.device(DeviceConfig.plain("d"));
        device.ats().enable(unit);
        assertEquals(1, read(rig, device, BASE));
        long one = rig.space.radix().entry(BASE);
        long two = rig.space.radix().entry(BASE + PAGE);
        assertTrue(rig.space.radix().remove(BASE, one));
        assertTrue(rig.space.radix().remove(BASE + PAGE, two));
        assertTrue(rig.space.radix().restore(BASE, two));
        assertTrue(rig.space.radix().restore(BASE + PAGE, one));
        return device;
    }

    private static MemorySegment page(Rig rig, int content) {
        return rig.arena.allocate(PAGE).fill((byte) content);
    }

    @Test
    void pcieAtsPri23_aStaleEntryIsUsedUntilItsInvalidationIsComplete() {
        try (Rig rig = Rig.open()) {
            Device device = stale(rig);
            assertEquals(1, read(rig, device, BASE), "nobody has told the device");
            rig.iommu.iotlb().invalidate(rig.space.number(), NO_PASID, BASE, 0);
            assertEquals(1, read(rig, device, BASE), "the IOTLB alone is not enough");
            assertEquals(State.COMPLETED, device.ats().await(invalidate(device, NO_PASID, BASE, false)));
            assertEquals(2, read(rig, device, BASE));
            device.leave();
        }
    }

    @Test
    void pcieAtsPri24_countsCompletions() {
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
    void pcieAtsPri25_aForeignCompletionChangesNothing() {
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
    void pcieAtsPri26_timesOutOnceAndFreesTheTag() {
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
    void pcieAtsPri27_unsupportedAbortedOrWithoutPermission() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            assertEquals(
                    new TranslationCompletion(Status.SUCCESSFUL, 0),
                    device.ats().translate(NO_PASID, BASE, true, false, false));
            assertEquals(0, rig.accounting().raised(), "nothing on the IOMMU's side");
            assertEquals(
                    Status.COMPLETER_ABORT,
                    device.ats().translate(7, BASE, true, false, false).status(),
                    "nothing is attached");
            assertTrue(rig.space.zero(BASE));
            assertEquals(
                    TranslationCompletion.READ | TranslationCompletion.WRITE,
                    device.ats().translate(NO_PASID, BASE, false, false, false).entry() & 0x3);
            device.ats().disable();
            assertEquals(
                    Status.UNSUPPORTED_REQUEST,
                    device.ats().translate(NO_PASID, BASE, true, false, false).status());
            assertEquals(0, read(rig, device, BASE), "untranslated requests go on");
            assertEquals(0, device.counters().deviceTlbHits());
            device.ats().enable(0);
            assertEquals(0, read(rig, device, BASE));
            assertEquals(0, read(rig, device, BASE));
            assertEquals(1, device.counters().deviceTlbHits());
            device.leave();
        }
    }

    @Test
    void pcieAtsPri27_noPermissionIsNotCached() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.plain("d"));
            assertEquals(
                    0,
                    device.ats().translate(NO_PASID, BASE, true, false, false).entry() & 0x3);
            assertTrue(rig.space.zero(BASE));
            assertEquals(0, read(rig, device, BASE), "found without an invalidation");
            device.leave();
        }
    }

    @Test
    void pcieAtsPri28_noWriteLeavesThePageClean() {
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
    void pcieAtsPri09_executeOnlyIfAskedFor() {
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
    void pcieAtsPri11_theWholeSmallestUnitGoes() {
        try (Rig rig = Rig.open()) {
            Device device = stale(rig, 1);
            rig.iommu.iotlb().invalidate(rig.space.number(), NO_PASID, BASE, 1);
            assertEquals(1, read(rig, device, BASE));
            assertEquals(
                    State.COMPLETED,
                    invalidate(device, NO_PASID, BASE + PAGE, false).state());
            assertEquals(2, read(rig, device, BASE));
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
    void vtD18_aTimeOutHoldsUpNobodyElse() {
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
    void vtD19_anUnexpectedTagLeavesOthersPending() {
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
    void smmuv3_27_scopesOfTheIotlb() {
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
    void vtD28_aRangeOfOneGigabyteIsDropped() {
        try (Rig rig = Rig.open()) {
            Device device = stale(rig);
            rig.iommu.invalidations().range(rig.space.table(), BASE & -1L << 30, 1L << 30);
            assertEquals(2, read(rig, device, BASE));
            device.leave();
        }
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
    void smmu28ARangeIsForgottenToItsLastPage() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.plain("d").withTlbEntries(64));
            // NUM=3, SCALE=1: (3 + 1) * 2^1 pages, not aligned to its size.
            long first = BASE + 3 * PAGE;
            for (int i = 0; i < 16; i++) {
                assertTrue(rig.space.map(BASE + (long) i * PAGE, page(rig, i), 1));
                assertEquals(i, read(rig, device, BASE + (long) i * PAGE));
            }
            for (int i = 0; i < 8; i++) {
                swap(rig, BASE + (long) i * PAGE, BASE + (15L - i) * PAGE);
            }
            rig.iommu.invalidations().range(rig.space.table(), first, 8L * PAGE);
            for (int i = 0; i < 16; i++) {
                int expected = i >= 3 && i < 11 ? 15 - i : i;
                assertEquals(expected, read(rig, device, BASE + (long) i * PAGE), "page " + i);
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
                assertEquals(88, read(rig, device, 0));
                // The combined entry may survive an invalidation by intermediate address alone. Here it does not: unmap
                // tells everything that is nested, so no page is read after it is gone.
                assertTrue(host.unmap(8L * PAGE, PAGE));
                AccessFault gone = assertThrows(AccessFault.class, () -> read(rig, device, 0));
                assertEquals(AccessResult.NO_FAULT_QUEUE, gone.reason());
                assertTrue(host.zero(8L * PAGE));
                put(guest, 8L * PAGE, 77);
                assertEquals(77, read(rig, device, 0));
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
                        assertEquals(20 + page, read(rig, device, large + (long) page * PAGE));
                    }
                }
                assertEquals(4, device.counters().iotlbMisses(), "an entry for each page of the second stage");
                assertEquals(4, device.counters().deviceTlbHits());
            }
        }
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
            AccessFault fault = assertThrows(AccessFault.class, () -> read(rig, device, BASE));
            assertEquals(AccessResult.TABLE_ERROR, fault.reason());
            assertEquals(0, read(rig, device, BASE + PAGE));
            device.leave();
        }
    }
}
