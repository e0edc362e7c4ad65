package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_EXEC;
import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.table.RadixTable;
import dev.faultline.iommu.table.Taken;
import dev.faultline.iommu.table.Translation;
import dev.faultline.iommu.tlb.Iotlb;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/**
 * What a device does as a PCIe function with ATS and PRI would. Such scenarios are numbered: 1 a plain group, 2 two groups
 * answered in the other order, 4 an invalid request, 10 the allocation as a limit, 11 no allocation, 23 a stale translation, 29
 * bad input.
 */
class DeviceTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGE = Frames.BYTES;

    @Test
    void faultsIsMappedAndGoesOn() {
        byte[] hello = "hello".getBytes(StandardCharsets.UTF_8);
        byte[] back = new byte[hello.length];
        try (var iommu = Iommu.open(IommuConfig.small());
                var queue = FaultQueue.open(QueueConfig.of(256));
                var space = iommu.addressSpace(TableFormat.X86_4_LEVEL, queue);
                var nic = iommu.device(DeviceConfig.pri("nic"));
                var worker = queue.consumer().run(group -> {
                    for (int i = 0; i < group.size(); i++) {
                        space.zero(group.address(i));
                    }
                    return Answer.SUCCESS;
                })) {
            nic.attach(space);
            nic.write(0x7000_1000L, MemorySegment.ofArray(hello));
            nic.read(0x7000_1000L, MemorySegment.ofArray(back));
            assertTrue(worker.isRunning());
            assertEquals(1, queue.accounting().raised());
            assertEquals(1, queue.accounting().answered());
            assertEquals(0, queue.accounting().outstanding());
            assertTrue(queue.accounting().balanced());
        }
        assertArrayEquals(hello, back);
    }

    @Test
    void raisesOneGroupAndReturnsItsRequestsWithTheAnswer() { // scenario 1
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withAllocation(3).withGroupPages(3));
            rig.start(device, Access.READ, BASE + 100, rig.bytes(8, 0), 7);
            rig.settle(device);
            List<Rig.Seen> groups = List.copyOf(rig.take());
            assertEquals(1, groups.size());
            assertEquals(
                    List.of(BASE, BASE + PAGE, BASE + 2 * PAGE),
                    groups.getFirst().addresses());
            assertEquals(
                    List.of(PERM_READ, PERM_READ, PERM_READ), groups.getFirst().accesses());
            assertEquals(device.id(), groups.getFirst().device());
            groups.getFirst().addresses().forEach(rig.space::zero);
            rig.answer(groups.getFirst(), Answer.SUCCESS);
            rig.settle(device);
            assertEquals(Map.of(7L, AccessResult.OK), rig.results);
            assertEquals(3, device.counters().pageRequests());
            assertEquals(1, device.counters().groups());
            assertEquals(1, device.counters().retries());
            assertEquals(0, device.counters().unknownAnswers());
            // All three credits are back: another group of three can be raised.
            rig.start(device, Access.READ, BASE + 16 * PAGE, rig.bytes(8, 0), 8);
            rig.settle(device);
            assertEquals(1, rig.serve());
            rig.finish(device);
            device.leave();
        }
    }

    @Test
    void takesAnswersInAnyOrder() { // scenario 2
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withGroupPages(2));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.start(device, Access.READ, BASE + 64 * PAGE, rig.bytes(8, 0), 2);
            rig.settle(device);
            List<Rig.Seen> groups = List.copyOf(rig.take());
            assertEquals(2, groups.size());
            rig.space.zero(BASE + 64 * PAGE);
            rig.answer(groups.get(1), Answer.SUCCESS);
            rig.settle(device);
            assertEquals(Map.of(2L, AccessResult.OK), rig.results);
            rig.space.zero(BASE);
            rig.answer(groups.get(0), Answer.SUCCESS);
            rig.settle(device);
            assertEquals(AccessResult.OK, rig.results.get(1L));
            assertEquals(0, device.counters().unknownAnswers());
            device.leave();
        }
    }

    @Test
    void failsAnAccessThatIsAnsweredInvalidAndGoesOnAskingForOthers() { // scenario 4
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withAllocation(1));
            rig.start(device, Access.WRITE, BASE, rig.bytes(8, 0), 1);
            rig.settle(device);
            Rig.Seen group = rig.take().getFirst();
            assertEquals(List.of(PERM_WRITE), group.accesses());
            rig.answer(group, Answer.INVALID);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.INVALID), rig.results);
            rig.start(device, Access.WRITE, BASE, rig.bytes(8, 0), 2);
            rig.finish(device);
            assertEquals(AccessResult.OK, rig.results.get(2L));
            device.leave();
        }
    }

    @Test
    void holdsRequestsBackAtTheAllocationAndDropsNone() { // scenario 10
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withAllocation(2));
            for (int i = 0; i < 5; i++) {
                rig.start(device, Access.READ, BASE + (long) i * PAGE, rig.bytes(8, 0), i);
            }
            rig.settle(device);
            assertEquals(2, rig.accounting().outstanding());
            assertTrue(device.counters().held() >= 3);
            rig.answer(rig.take().getFirst(), Answer.INVALID);
            rig.settle(device);
            assertEquals(2, rig.accounting().outstanding(), "the credit that came back is used at once");
            assertEquals(3, rig.accounting().raised());
            rig.seen.clear();
            rig.take();
            rig.answer(rig.seen.getFirst(), Answer.INVALID);
            rig.space.zero(BASE + PAGE);
            rig.settle(device);
            // The second of the first two is still to be answered; its completion was taken before seen was cleared.
            assertEquals(2, rig.accounting().outstanding());
            rig.expectedOutstanding = 2;
            device.close();
            rig.expectedOutstanding = 0;
            assertEquals(2, rig.accounting().autoAnswered());
        }
        assertThrows(
                IllegalArgumentException.class,
                () -> DeviceConfig.pri("d").withAllocation(2).withGroupPages(3));
    }

    @Test
    void raisesNothingWithoutAllocation() { // scenario 11
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withAllocation(0));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.NO_PAGE_REQUESTS), rig.results);
            assertEquals(0, rig.accounting().requests());
            device.leave();
        }
    }

    @Test
    void usesStaleTranslationsUntilTheyAreInvalidated() { // scenario 23
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            rig.start(device, Access.WRITE, BASE, rig.bytes(8, 1), 1);
            rig.finish(device);
            // Another page takes its place behind the back of both TLBs.
            RadixTable table = rig.space.radix();
            long old = table.entry(BASE);
            assertTrue(table.remove(BASE, old));
            long fresh = rig.iommu.frames().allocate();
            rig.iommu.frames().physical().zero(fresh);
            assertEquals(RadixTable.Outcome.DONE, table.map(BASE, fresh, 12, Translation.RIGHTS, true, new Taken()));
            MemorySegment into = rig.bytes(8, 100);
            rig.start(device, Access.READ, BASE, into, 2);
            rig.finish(device);
            assertEquals(1, into.get(ValueLayout.JAVA_BYTE, 0), "the stale translation is used");
            rig.iommu.iotlb().invalidate(rig.space.number(), Iotlb.ANY_PASID, BASE, 0);
            rig.start(device, Access.READ, BASE, into, 3);
            rig.finish(device);
            assertEquals(1, into.get(ValueLayout.JAVA_BYTE, 0), "the device's own TLB still has it");
            long _ = rig.iommu.log().append(rig.space.number(), Iotlb.ANY_PASID, BASE, 0);
            rig.start(device, Access.READ, BASE, into, 4);
            rig.finish(device);
            assertEquals(0, into.get(ValueLayout.JAVA_BYTE, 0), "invalidated: the new page");
            rig.iommu.frames().free(table.page(old));
            device.leave();
        }
    }

    @Test
    void refusesBadInput() { // scenario 29
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            assertThrows(IllegalArgumentException.class, () -> device.attach(rig.space, 1 << 20));
            assertThrows(IllegalArgumentException.class, () -> device.attach(rig.space, -1));
            assertThrows(IllegalStateException.class, () -> device.attach(rig.space));
            MemorySegment buffer = rig.bytes(8, 0);
            assertThrows(
                    IllegalArgumentException.class,
                    () -> device.start(Access.READ, BASE, buffer, 0, 0, FaultProducer.NO_PASID, 0));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> device.start(Access.READ, -4, buffer, 0, 8, FaultProducer.NO_PASID, 0));
            assertThrows(
                    IndexOutOfBoundsException.class,
                    () -> device.start(Access.READ, BASE, buffer, 1, 8, FaultProducer.NO_PASID, 0));
            assertThrows(IllegalArgumentException.class, () -> rig.space.zero(1L << 47));
            assertThrows(IllegalArgumentException.class, () -> rig.space.unmap(BASE, 100));
            assertThrows(IllegalArgumentException.class, () -> rig.space.map(BASE, buffer, PERM_READ));
            assertThrows(IllegalArgumentException.class, () -> rig.space.map(BASE, rig.bytes(PAGE, 0), 8));
            IllegalArgumentException e = assertThrows(
                    IllegalArgumentException.class, () -> DeviceConfig.pri("d").withWindow(0));
            assertEquals("window=0: allowed 1 to 4096", e.getMessage());
            device.leave();
            assertThrows(IllegalStateException.class, device::step);
            assertThrows(IllegalStateException.class, () -> device.poll((tag, result) -> {}));
        }
    }

    @Test
    void failsAtOnceWhereNobodyCanBeAsked() {
        try (Rig rig = Rig.open();
                AddressSpace mute = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, null)) {
            Device device = rig.device(DeviceConfig.pri("d"));
            device.attach(mute, 5);
            MemorySegment buffer = rig.bytes(8, 0);
            rig.start(device, Access.READ, BASE, buffer, 5, 1);
            rig.start(device, Access.READ, BASE, buffer, 6, 2);
            rig.start(device, Access.READ, 1L << 47, buffer, 3);
            Device plain = rig.device(DeviceConfig.plain("p"));
            rig.start(plain, Access.READ, BASE, buffer, 4);
            rig.settle(device, plain);
            assertEquals(
                    Map.of(
                            1L, AccessResult.NO_FAULT_QUEUE,
                            2L, AccessResult.NOT_ATTACHED,
                            3L, AccessResult.NOT_CANONICAL,
                            4L, AccessResult.NO_PAGE_REQUESTS),
                    rig.results);
            assertEquals(3, device.counters().failed());
            device.leave();
            plain.leave();
        }
    }

    @Test
    void movesAccessesThatCrossPages() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            MemorySegment out = rig.bytes(3 * PAGE, 3);
            rig.start(device, Access.WRITE, BASE + PAGE - 5, out, 1);
            rig.finish(device);
            MemorySegment back = rig.bytes(3 * PAGE, 0);
            rig.start(device, Access.READ, BASE + PAGE - 5, back, 2);
            rig.finish(device);
            assertEquals(-1, out.mismatch(back));
            assertEquals(4, rig.accounting().raised());
            assertEquals(2L * 3 * PAGE, device.counters().bytes());
            // The last byte of the input range can be used, the next is refused.
            rig.start(device, Access.WRITE, -8, rig.bytes(8, 9), 3);
            rig.start(device, Access.WRITE, (1L << 47) - 4, rig.bytes(8, 9), 4);
            rig.finish(device);
            assertEquals(AccessResult.OK, rig.results.get(3L));
            assertEquals(AccessResult.NOT_CANONICAL, rig.results.get(4L));
            device.leave();
        }
    }

    @Test
    void doesLongAccessesInStepsThatAreNotTooLong() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withGroupPages(16));
            MemorySegment out = rig.bytes(200 * PAGE, 3);
            MemorySegment back = rig.bytes(200 * PAGE, 0);
            rig.start(device, Access.WRITE, BASE, out, 1);
            rig.start(device, Access.READ, BASE, back, 2);
            rig.finish(device);
            assertEquals(-1, out.mismatch(back), "the read waited for the write before it");
            assertEquals(13, device.counters().groups());
            device.leave();
        }
    }

    @Test
    void keepsAWindowOfAccessesAndTheOrderOnEachPage() {
        try (Rig rig = Rig.open()) {
            Random random = Seeds.random("DeviceTest.keepsAWindow");
            Device device = rig.device(
                    DeviceConfig.pri("d").withWindow(32).withAllocation(8).withTlbEntries(4));
            int pages = 12;
            byte[] model = new byte[pages * PAGE];
            record Expect(MemorySegment buffer, MemorySegment bytes) {}
            Map<Long, Expect> reads = new java.util.HashMap<>();
            long tag = 0;
            for (int round = 0; round < 3000; round++) {
                int size = 1 + random.nextInt(random.nextInt(8) == 0 ? 2 * PAGE : 16);
                int at = random.nextInt(model.length - size);
                boolean write = random.nextBoolean();
                MemorySegment buffer = MemorySegment.ofArray(new byte[size]);
                if (write) {
                    byte[] bytes = new byte[size];
                    random.nextBytes(bytes);
                    buffer.copyFrom(MemorySegment.ofArray(bytes));
                }
                Result started = device.start(
                        write ? Access.WRITE : Access.READ, BASE + at, buffer, 0, size, FaultProducer.NO_PASID, tag);
                if (started == Result.OK) {
                    if (write) {
                        MemorySegment.copy(buffer, ValueLayout.JAVA_BYTE, 0, model, at, size);
                    } else {
                        byte[] expected = java.util.Arrays.copyOfRange(model, at, at + size);
                        // Within one page the order of start is the order of execution.
                        if (at / PAGE == (at + size - 1) / PAGE) {
                            reads.put(tag, new Expect(buffer, MemorySegment.ofArray(expected)));
                        }
                    }
                    tag++;
                } else {
                    assertEquals(Result.FULL, started);
                }
                if (random.nextInt(3) == 0) {
                    device.step();
                }
                if (random.nextInt(3) == 0) {
                    device.poll(rig.results::put);
                }
                if (random.nextInt(4) == 0) {
                    rig.serve();
                }
                if (random.nextInt(16) == 0) {
                    rig.space.accessedAndClear(BASE + (long) random.nextInt(pages) * PAGE);
                }
            }
            rig.finish(device);
            assertEquals(tag, rig.results.size());
            assertTrue(rig.results.values().stream().allMatch(r -> r == AccessResult.OK));
            reads.forEach((t, e) -> assertEquals(-1, e.bytes.mismatch(e.buffer), "read " + t));
            assertTrue(
                    device.counters().deviceTlbHits() > 0 && device.counters().iotlbHits() > 0);
            device.leave();
        }
    }

    @Test
    void stepsSeveralDevicesWithPasidsOnOneThread() {
        try (Rig rig = Rig.open();
                AddressSpace other = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, rig.queue)) {
            List<Device> devices = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                Device device = rig.device(DeviceConfig.pri("d" + i).withId(100 + i));
                device.attach(other, i);
                devices.add(device);
            }
            for (int i = 0; i < 4; i++) {
                rig.start(devices.get(i), Access.WRITE, BASE + 16L * i, rig.bytes(16, 16 * i), i);
                rig.start(devices.get(i), Access.WRITE, BASE + 16L * i, rig.bytes(16, 100 + 16 * i), i, 10 + i);
            }
            Device[] all = devices.toArray(Device[]::new);
            rig.settle(all);
            for (Rig.Seen group : List.copyOf(rig.take())) {
                (group.pasid() == FaultProducer.NO_PASID ? rig.space : other)
                        .zero(group.addresses().getFirst());
                assertTrue(group.pasid() == FaultProducer.NO_PASID || group.pasid() == group.device() - 100);
                rig.answer(group, Answer.SUCCESS);
            }
            rig.settle(all);
            assertEquals(8, rig.results.size());
            MemorySegment back = rig.bytes(64, 0);
            rig.start(devices.getFirst(), Access.READ, BASE, back, 20);
            rig.settle(all);
            assertEquals(-1, back.mismatch(rig.bytes(64, 0)));
            rig.start(devices.getFirst(), Access.READ, BASE, back, 0, 21);
            rig.settle(all);
            assertEquals(-1, back.mismatch(rig.bytes(64, 100)));
            devices.forEach(Device::leave);
        }
    }

    @Test
    void looksOnceMoreWhenALargerGroupIsInvalid() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withGroupPages(4));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 2);
            rig.start(device, Access.READ, BASE + 3 * PAGE, rig.bytes(8, 0), 3);
            rig.settle(device);
            assertEquals(1, rig.accounting().raised(), "the group covers all three");
            rig.space.zero(BASE);
            rig.answer(rig.take().getFirst(), Answer.INVALID);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.OK), rig.results);
            rig.seen.clear();
            assertEquals(1, rig.take().size(), "the others ask for themselves");
            rig.answer(rig.seen.getFirst(), Answer.INVALID);
            rig.finish(device);
            assertEquals(AccessResult.INVALID, rig.results.get(2L));
            assertEquals(AccessResult.OK, rig.results.get(3L));
            device.leave();
        }
    }

    @Test
    void givesUpWhenSuccessNeverBringsThePage() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withRetryLimit(3));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            for (int i = 0; i < 3; i++) {
                rig.settle(device);
                rig.answer(rig.take().getFirst(), Answer.SUCCESS);
            }
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.UNRESOLVED), rig.results);
            assertEquals(3, rig.accounting().raised());
            device.leave();
        }
    }

    @Test
    void asksAgainForAPageItMayNotWrite() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            assertTrue(rig.space.map(BASE, rig.bytes(PAGE, 5), PERM_READ));
            assertFalse(rig.space.zero(BASE));
            MemorySegment back = rig.bytes(PAGE, 0);
            rig.start(device, Access.READ, BASE, back, 1);
            rig.start(device, Access.WRITE, BASE, rig.bytes(1, 77), 2);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.OK), rig.results);
            assertEquals(-1, back.mismatch(rig.bytes(PAGE, 5)));
            Rig.Seen group = rig.take().getFirst();
            assertEquals(List.of(PERM_WRITE), group.accesses());
            assertTrue(rig.space.unmap(BASE, PAGE));
            assertTrue(rig.space.map(BASE, back, PERM_READ | PERM_WRITE));
            rig.answer(group, Answer.SUCCESS);
            rig.settle(device);
            assertEquals(AccessResult.OK, rig.results.get(2L));
            String told = rig.space.explain(BASE).toString();
            assertTrue(told.contains("dirty"), told);
            device.leave();
        }
    }

    @Test
    void fetchesInstructionsOnlyWhereItMayExecute() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            device.attach(rig.space, 4);
            assertTrue(rig.space.map(BASE, rig.bytes(PAGE, 5), PERM_READ | PERM_WRITE));
            MemorySegment back = rig.bytes(PAGE, 0);
            rig.start(device, Access.READ, BASE, rig.bytes(1, 0), 1);
            rig.start(device, Access.EXECUTE, BASE, back, 4, 2);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.OK), rig.results, "what may be read may not be executed");
            Rig.Seen group = rig.take().getFirst();
            assertEquals(List.of(PERM_READ | PERM_EXEC), group.accesses());
            assertTrue(rig.space.unmap(BASE, PAGE));
            assertTrue(rig.space.map(BASE, rig.bytes(PAGE, 6), PERM_READ | PERM_EXEC));
            rig.answer(group, Answer.SUCCESS);
            rig.settle(device);
            assertEquals(AccessResult.OK, rig.results.get(2L));
            assertEquals(-1, back.mismatch(rig.bytes(PAGE, 6)));
            rig.start(device, Access.EXECUTE, BASE, back, 4, 3);
            rig.settle(device);
            assertEquals(AccessResult.OK, rig.results.get(3L), "from the device TLB");
            rig.start(device, Access.EXECUTE, BASE, back, 5);
            rig.settle(device);
            assertEquals(AccessResult.OK, rig.results.get(5L), "without a PASID it is a read");
            device.leave();
        }
    }

    @Test
    void unmapsRangesAndForgetsThem() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withGroupPages(64));
            rig.start(device, Access.WRITE, BASE, rig.bytes(600 * PAGE, 1), 1);
            rig.finish(device);
            long pages = rig.space.mappedPages();
            assertEquals(640, pages);
            assertTrue(rig.space.unmap(BASE + 3 * PAGE, PAGE));
            assertFalse(rig.space.isMapped(BASE + 3 * PAGE));
            assertTrue(rig.space.isMapped(BASE + 4 * PAGE));
            assertTrue(rig.space.unmap(0, 1L << 47));
            assertEquals(0, rig.space.mappedPages());
            assertFalse(rig.space.unmap(0, 1L << 47));
            assertFalse(rig.space.unmap(1L << 63 >> 16, 1L << 47));
            long raised = rig.accounting().raised();
            MemorySegment back = rig.bytes(PAGE, 1);
            rig.start(device, Access.READ, BASE + 4 * PAGE, back, 2);
            rig.finish(device);
            assertTrue(rig.accounting().raised() > raised, "no TLB remembers it");
            assertEquals(0, back.get(ValueLayout.JAVA_BYTE, 5));
            device.leave();
        }
    }

    @Test
    void failsBlockingAccessesWithAReason() {
        try (Rig rig = Rig.open()) {
            Device plain = rig.iommu.device(DeviceConfig.plain("disk"));
            plain.attach(rig.space);
            rig.space.zero(BASE);
            AccessFault fault = assertThrows(AccessFault.class, () -> plain.write(BASE + PAGE - 2, rig.bytes(8, 1)));
            assertEquals(BASE + PAGE, fault.address());
            assertEquals("disk", fault.device());
            assertEquals(FaultProducer.NO_PASID, fault.pasid());
            assertEquals(AccessResult.NO_PAGE_REQUESTS, fault.reason());
            assertEquals("device disk could not write at 0x70001000: NO_PAGE_REQUESTS", fault.getMessage());
            assertThrows(AccessFault.class, () -> plain.read(BASE, rig.bytes(8, 0), 3));
            MemorySegment back = rig.bytes(2, 0);
            plain.read(BASE + PAGE - 2, back);
            assertEquals(-1, back.mismatch(rig.bytes(2, 1)), "what lay before the fault was written");
        }
    }

    @Test
    void failsAnAccessWhoseBufferCannotBeUsed() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            MemorySegment readOnly = rig.bytes(8, 0).asReadOnly();
            rig.start(device, Access.READ, BASE, readOnly, 1);
            rig.start(device, Access.WRITE, BASE, readOnly, 2);
            rig.finish(device);
            assertEquals(AccessResult.BAD_BUFFER, rig.results.get(1L));
            assertEquals(AccessResult.OK, rig.results.get(2L));
            device.leave();
        }
    }

    @Test
    void measuresEachFault() {
        try (Rig rig = Rig.open()) {
            List<Long> latencies = new ArrayList<>();
            Device device = rig.device(DeviceConfig.pri("d").withLatency(latencies::add));
            rig.start(device, Access.WRITE, BASE, rig.bytes(2 * PAGE, 0), 1);
            rig.finish(device);
            rig.start(device, Access.READ, BASE, rig.bytes(2 * PAGE, 0), 2);
            rig.finish(device);
            assertEquals(2, latencies.size());
            assertTrue(latencies.stream().allMatch(ns -> ns > 0));
            device.leave();
        }
    }
}
