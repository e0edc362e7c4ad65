package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_EXEC;
import static dev.faultline.ffm.PageFaultLayout.PERM_PRIV;
import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;
import static dev.faultline.iommu.PageRequestInterface.RESPONSE_FAILURE;
import static dev.faultline.ring.FaultProducer.NO_PASID;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.Accounting;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/**
 * What the kernel's drivers do with page requests, and what a device may cost others. Sections P and Q.
 */
class DriverScenariosTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGE = Frames.BYTES;

    private static PageRequest request(int pasid, int index, long address, boolean last) {
        return new PageRequest(pasid, index, address, PERM_READ, 0, last);
    }

    @Test
    void scenario213AStopMarkerIsNotForHandlers() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            device.attach(rig.space, 5);
            device.send(PageRequest.stopMarker(5));
            rig.settle(device);
            assertEquals(1, device.pageRequests().markers());
            assertEquals(0, rig.accounting().requests());
            assertEquals(0, device.counters().unknownAnswers());
            device.leave();
        }
    }

    /** A driver would refuse the request; a device here ends the access instead of making it. */
    @Test
    void scenario214AnAddressThatIsNotCanonical() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            rig.start(device, Access.READ, 1L << 47, rig.bytes(8, 0), 1);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.NOT_CANONICAL), rig.results);
            assertEquals(0, rig.accounting().requests());
            device.leave();
        }
    }

    private static void assertWhole(Rig rig, PageRequestCounters sent) {
        assertTrue(sent.balanced(), sent.toString());
        Accounting groups = rig.accounting();
        assertEquals(
                groups.raised(), groups.answered() + groups.autoAnswered() + groups.dropped() + groups.outstanding());
    }

    @Test
    void scenario215RightsThatVtdsDriverDoesNotHandOn() {
        try (Rig rig = Rig.open()) {
            rig.iommu.pageRequests().vtdRights(true);
            Device device = rig.device(DeviceConfig.pri("d"));
            device.attach(rig.space, 5);
            int[] refused = {
                PERM_PRIV | PERM_READ, PERM_PRIV | PERM_WRITE, PERM_EXEC | PERM_READ, PERM_EXEC | PERM_PRIV | PERM_READ
            };
            for (int i = 0; i < refused.length; i++) {
                device.send(new PageRequest(5, 400 + i, BASE, refused[i], 0, false));
                rig.settle(device);
                assertEquals(i, device.counters().unknownAnswers(), "not the last: dropped");
                device.send(new PageRequest(5, 400 + i, BASE, refused[i], 0, true));
                rig.settle(device);
                assertEquals(i + 1, device.counters().unknownAnswers(), "an answer to what it does not know of");
            }
            assertEquals(2L * refused.length, device.pageRequests().unhandled());
            assertEquals(0, rig.accounting().raised());
            device.send(new PageRequest(5, 404, BASE, PERM_EXEC | PERM_WRITE, 0, true));
            device.send(new PageRequest(5, 405, BASE, PERM_READ | PERM_WRITE, 0, true));
            rig.settle(device);
            rig.take().forEach(group -> rig.answer(group, Answer.SUCCESS));
            rig.settle(device);
            assertEquals(2, rig.accounting().answered(), "all else is handed on");
            rig.start(device, Access.EXECUTE, BASE, rig.bytes(8, 0), 5, 1);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.INVALID), rig.results, "the device's own access ends");
            assertWhole(rig, device.pageRequests());
            device.leave();
        }
    }

    @Test
    void scenario216ARequesterIdOfNobodys() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withRequester(0x100));
            PageRequestQueue queue = rig.iommu.pageRequests();
            long page = BASE | 7 << 3;
            long last = page | 1 << 2;
            long invalid = 0x777L << 48 | (long) ResponseCode.INVALID.wire() << 44 | 7L << 32;
            assertEquals(invalid, rig.iommu.pageRequest(0x777, last | 1, NO_PASID, false, false));
            assertEquals(invalid, rig.iommu.pageRequest(0x777, last | 3, 5, true, true));
            assertEquals(0, rig.iommu.pageRequest(0x777, page | 1, NO_PASID, false, false), "not the last");
            assertEquals(0, rig.iommu.pageRequest(0x777, last, 5, false, false), "a stop marker");
            assertEquals(new PageRequestQueue.Strangers(2, 2), queue.strangers());
            assertEquals(0, rig.accounting().raised());
            assertEquals(0, device.pageRequests().sent());
            assertThrows(IllegalArgumentException.class, () -> rig.iommu.pageRequest(1 << 16, last, 5, false, false));
            assertEquals(0, rig.iommu.pageRequest(0x100, last | 1, NO_PASID, false, false), "a device's own");
            rig.settle(device);
            assertEquals(1, rig.take().size());
            rig.answer(rig.seen.getFirst(), Answer.INVALID);
            rig.settle(device);
            assertEquals(new PageRequestQueue.Strangers(2, 2), queue.strangers());
            assertWhole(rig, device.pageRequests());
            device.leave();
        }
    }

    @Test
    void scenario217AnOverflowTakesThePartialRequestsOfAllDevices() {
        IommuConfig config = IommuConfig.small().withPageRequestEntries(1);
        try (Rig rig = new Rig(config, QueueConfig.of(64).withLargestGroup(64))) {
            Device one = rig.device(DeviceConfig.pri("one"));
            Device two = rig.device(DeviceConfig.pri("two"));
            one.send(request(NO_PASID, 400, BASE, true));
            one.send(request(NO_PASID, 401, BASE, false));
            two.send(request(NO_PASID, 401, BASE, false));
            PageRequestQueue queue = rig.iommu.pageRequests();
            queue.pause();
            one.send(request(NO_PASID, 402, BASE, false));
            one.send(request(NO_PASID, 402, BASE, false));
            assertTrue(queue.isOverflowed());
            queue.resume();
            rig.settle(one, two);
            assertEquals(2, one.pageRequests().discarded());
            assertEquals(1, two.pageRequests().discarded());
            assertEquals(0, two.counters().unknownAnswers(), "without an answer");
            two.send(request(NO_PASID, 401, BASE + PAGE, true));
            List<Rig.Seen> groups = List.copyOf(rig.take());
            assertEquals(
                    Set.of(List.of(BASE), List.of(BASE + PAGE)),
                    Set.copyOf(groups.stream().map(Rig.Seen::addresses).toList()),
                    "the whole group, and one of a single request");
            groups.forEach(group -> rig.answer(group, Answer.SUCCESS));
            rig.settle(one, two);
            one.leave();
            two.leave();
        }
    }

    @Test
    void scenario218DetachLeavesNothingOfAPasidInTheQueue() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            Attachment five = device.attach(rig.space, 5);
            PageRequestQueue queue = rig.iommu.pageRequests();
            queue.pause();
            for (int i = 0; i < 10; i++) {
                rig.start(device, Access.READ, BASE + (long) i * PAGE, rig.bytes(8, 0), 5, i);
            }
            rig.settle(device);
            assertEquals(10, queue.stored());
            queue.resume();
            five.detach();
            rig.settle(device);
            assertEquals(10, rig.results.size());
            assertEquals(Set.of(AccessResult.INVALID), Set.copyOf(rig.results.values()));
            assertEquals(0, queue.stored());
            assertEquals(List.of(), rig.take());
            device.leave();
        }
    }

    @Test
    void scenario219AfterAResetNothingOfBeforeItIsLeft() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.settle(device);
            PageRequestQueue queue = rig.iommu.pageRequests();
            queue.pause();
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 2);
            rig.settle(device);
            assertEquals(1, queue.stored());
            device.reset();
            assertEquals(0, queue.stored());
            assertEquals(0, device.pageRequests().outstanding());
            assertEquals(0, rig.accounting().outstanding());
            queue.resume();
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.RESET, 2L, AccessResult.RESET), rig.results);
            device.leave();
        }
    }

    @Test
    void scenarios220And221TheDeviceTakesPartUntilItsLastDetach() {
        try (Rig rig = Rig.open()) {
            Device device = rig.enter(rig.iommu.device(DeviceConfig.pri("d")), false);
            Attachment whole = device.attach(rig.space);
            Attachment five = device.attach(rig.space, 5);
            five.detach();
            // The consumer sees the lane, and the lane the consumer's reads.
            assertEquals(List.of(), rig.take());
            rig.consumer.submit();
            rig.settle(device);
            device.send(request(NO_PASID, 400, BASE, true));
            rig.settle(device);
            Rig.Seen group = rig.take().getFirst();
            rig.answer(group, Answer.SUCCESS);
            device.send(request(NO_PASID, 401, BASE, false));
            rig.settle(device);
            assertEquals(1, device.pageRequests().outstanding());
            whole.detach();
            assertEquals(0, device.pageRequests().outstanding(), "what was not whole is gone");
            long answered = device.counters().unknownAnswers();
            device.send(request(NO_PASID, 402, BASE, true));
            rig.settle(device);
            assertEquals(1, device.pageRequests().unhandled());
            assertEquals(answered + 1, device.counters().unknownAnswers(), "answered at once");
            assertEquals(1, rig.accounting().raised());
            device.leave();
        }
    }

    @Test
    void scenario222AFailureStopsTheDevice() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.settle(device);
            Rig.Seen group = rig.take().getFirst();
            device.respond(group.index(), NO_PASID, 15);
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 2);
            rig.settle(device);
            assertEquals(RESPONSE_FAILURE, device.pageRequestInterface().status());
            assertEquals(AccessResult.RESPONSE_FAILURE, rig.results.get(2L));
            assertEquals(1, rig.accounting().raised());
            rig.answer(group, Answer.SUCCESS);
            rig.settle(device);
            device.disablePageRequests();
            device.reset();
            device.enablePageRequests(8);
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 3);
            rig.finish(device);
            assertEquals(AccessResult.OK, rig.results.get(3L), "enabled again");
            device.leave();
        }
    }

    @Test
    void scenario223NoMoreThanItsCreditIsOutstanding() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withAllocation(4));
            for (int i = 0; i < 5; i++) {
                rig.start(device, Access.READ, BASE + (long) i * PAGE, rig.bytes(8, 0), i);
            }
            rig.settle(device);
            assertEquals(4, rig.accounting().outstanding());
            Rig.Seen first = rig.take().getFirst();
            rig.space.zero(first.addresses().getFirst());
            rig.answer(first, Answer.SUCCESS);
            rig.settle(device);
            assertEquals(4, rig.accounting().outstanding());
            assertEquals(5, rig.accounting().raised());
            rig.take();
            rig.seen.stream().skip(1).forEach(group -> {
                rig.space.zero(group.addresses().getFirst());
                rig.answer(group, Answer.SUCCESS);
            });
            rig.finish(device);
            assertEquals(Set.of(AccessResult.OK), Set.copyOf(rig.results.values()));
            device.leave();
        }
    }

    @Test
    void scenario224WhoNeverSendsTheLastFillsItsOwnListOnly() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            Device other = rig.device(DeviceConfig.pri("other"));
            int sent = 10_000;
            for (int i = 0; i < sent; i++) {
                device.send(request(NO_PASID, i % Groups.PCI_INDICES, BASE, false));
            }
            assertEquals(Groups.PCI_INDICES, device.pageRequests().outstanding());
            assertEquals(sent - Groups.PCI_INDICES, device.pageRequests().overflowDropped());
            rig.start(other, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.finish(device, other);
            assertEquals(Map.of(1L, AccessResult.OK), rig.results);
            device.leave();
            other.leave();
        }
    }

    @Test
    void scenario226AQueueThatNobodyReadsHoldsUpNoOther() {
        QueueConfig small = QueueConfig.of(4).withDeadlineNs(0);
        try (Rig rig = Rig.open();
                FaultQueue unread = FaultQueue.open(small);
                FaultConsumer _ = unread.consumer()) {
            try (AddressSpace space = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, unread)) {
                Device flooding = rig.iommu.device(DeviceConfig.pri("flooding"));
                flooding.attach(space);
                assertTrue(flooding.enter());
                Device other = rig.device(DeviceConfig.pri("other"));
                for (int i = 0; i < 64; i++) {
                    rig.start(flooding, Access.READ, BASE + (long) i * PAGE, rig.bytes(8, 0), 100 + i);
                }
                List<Long> ended = new ArrayList<>();
                for (int i = 0; i < 100; i++) {
                    var _ = flooding.step();
                    flooding.poll((tag, result) -> ended.add(tag));
                }
                assertEquals(List.of(), ended);
                assertTrue(unread.accounting().outstanding() > 4, "more than the queue has reads for");
                rig.start(other, Access.READ, BASE, rig.bytes(8, 0), 1);
                rig.finish(other);
                assertEquals(Map.of(1L, AccessResult.OK), rig.results);
                flooding.leave();
                flooding.close();
            }
            assertTrue(unread.accounting().balanced());
            assertEquals(0, unread.accounting().outstanding());
        }
    }
}
