package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ring.FaultProducer.NO_PASID;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.Answer;
import dev.faultline.ring.AutoAnswer;
import dev.faultline.ring.QueueConfig;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The page request queue of an IOMMU: overflow, incomplete groups, draining, and what a reset takes out of it. */
class PageRequestQueueTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGE = Frames.BYTES;

    private static PageRequest request(int index, long address, boolean last) {
        return new PageRequest(NO_PASID, index, address, PERM_READ, 0, last);
    }

    private static Rig rig(int entries) {
        return new Rig(
                IommuConfig.small().withPageRequestEntries(entries),
                QueueConfig.of(64).withLargestGroup(64));
    }

    @Test
    void vtd22OverflowAnswersTheLastOfAGroupAndDropsTheRest() {
        try (Rig rig = rig(2)) {
            PageRequestQueue queue = rig.iommu.pageRequests();
            Device device = rig.device(DeviceConfig.pri("d"));
            device.attach(rig.space, 7);
            queue.pause();
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 2);
            rig.settle(device);
            assertEquals(2, queue.stored());
            assertFalse(queue.isOverflowed());
            assertEquals(2, device.pageRequests().outstanding());
            device.send(request(400, BASE, false));
            assertTrue(queue.isOverflowed());
            device.send(PageRequest.stopMarker(7));
            assertEquals(2, device.pageRequests().overflowDropped(), "neither has an answer");
            // The last request is answered SUCCESS, so the device asks again, and again.
            rig.start(device, Access.READ, BASE + 2 * PAGE, rig.bytes(8, 0), 3);
            for (int i = 0; i < 500; i++) {
                device.step();
            }
            assertTrue(device.pageRequests().overflowAnswered() > 100);
            assertEquals(Map.of(), rig.results, "patience with a handler is not used up by an IOMMU that has no room");
            assertEquals(0, rig.accounting().raised());
            assertEquals(1, queue.overflows(), "one condition");
            queue.resume();
            assertFalse(queue.isOverflowed());
            rig.finish(device);
            assertEquals(Map.of(1L, AccessResult.OK, 2L, AccessResult.OK, 3L, AccessResult.OK), rig.results);
            device.leave();
        }
    }

    @Test
    void vtd22And23NothingIsStoredUntilTheOverflowIsCleared() {
        try (Rig rig = rig(1)) {
            PageRequestQueue queue = rig.iommu.pageRequests();
            Device device = rig.device(DeviceConfig.pri("d"));
            Device other = rig.device(DeviceConfig.pri("other"));
            queue.pause();
            device.send(request(400, BASE, false));
            device.send(request(401, BASE, true));
            assertTrue(queue.isOverflowed());
            device.reset();
            assertEquals(0, queue.stored(), "there would be room");
            rig.start(other, Access.READ, BASE, rig.bytes(8, 0), 1);
            for (int i = 0; i < 10; i++) {
                other.step();
            }
            assertEquals(0, queue.stored());
            assertTrue(other.pageRequests().overflowAnswered() > 0);
            queue.resume();
            rig.finish(device, other);
            assertEquals(Map.of(1L, AccessResult.OK), rig.results);
            device.leave();
            other.leave();
        }
    }

    @Test
    void faultDelivery9ClearingAnOverflowDiscardsGroupsWithoutTheirLastRequest() {
        try (Rig rig = rig(1)) {
            PageRequestQueue queue = rig.iommu.pageRequests();
            Device device = rig.device(DeviceConfig.pri("d"));
            device.send(request(400, BASE, false));
            queue.pause();
            device.send(request(400, BASE + PAGE, false));
            device.send(request(400, BASE + 2 * PAGE, false));
            queue.resume();
            rig.settle(device);
            assertEquals(2, device.pageRequests().discarded());
            device.send(request(400, BASE + 3 * PAGE, true));
            assertEquals(List.of(BASE + 3 * PAGE), rig.take().getFirst().addresses(), "what was lost stays lost");
            rig.answer(rig.seen.getFirst(), Answer.SUCCESS);
            rig.settle(device);
            device.leave();
        }
    }

    @Test
    void faultDelivery4CollectsAGroupByItsIndexWhateverThePasid() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            device.attach(rig.space, 7);
            device.send(new PageRequest(7, 400, BASE, PERM_READ, 0, false));
            device.send(request(401, BASE + 5 * PAGE, false));
            device.send(request(400, BASE + PAGE, false));
            device.send(request(400, BASE + 2 * PAGE, true));
            Rig.Seen group = rig.take().getFirst();
            assertEquals(
                    List.of(BASE, BASE + PAGE, BASE + 2 * PAGE), group.addresses(), "arrival order, last at the end");
            assertEquals(1, device.pageRequests().outstanding(), "the other index waits on");
            rig.answer(group, Answer.SUCCESS);
            rig.settle(device);
            device.send(request(401, BASE + 6 * PAGE, true));
            rig.seen.clear();
            group = rig.take().getFirst();
            assertEquals(
                    List.of(BASE + 5 * PAGE, BASE + 6 * PAGE), group.addresses(), "stale pages join a later group");
            rig.answer(group, Answer.SUCCESS);
            rig.settle(device);
            device.leave();
        }
    }

    @Test
    void faultDelivery3AnswersInvalidWhereNobodyHandles() {
        try (Rig rig = Rig.open();
                AddressSpace mute = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, null)) {
            Device device = rig.device(DeviceConfig.pri("d"));
            device.attach(mute, 5);
            device.send(new PageRequest(6, 400, BASE, PERM_READ, 0, false));
            device.send(new PageRequest(6, 400, BASE, PERM_READ, 0, true));
            // An attachment that takes no faults hides the device's own, which does.
            device.send(new PageRequest(5, 401, BASE, PERM_READ, 0, true));
            rig.settle(device);
            assertEquals(3, device.pageRequests().unhandled());
            assertEquals(2, device.counters().unknownAnswers(), "one response for each last request");
            assertEquals(0, rig.accounting().requests());
            device.leave();
        }
    }

    @Test
    void refusesAGroupThatIsTooLargeForTheFaultQueue() {
        try (Rig rig = new Rig(IommuConfig.small(), QueueConfig.of(8).withLargestGroup(2))) {
            Device device = rig.device(DeviceConfig.pri("d"));
            for (int i = 0; i < 3; i++) {
                device.send(request(400, BASE + (long) i * PAGE, i == 2));
            }
            rig.settle(device);
            assertEquals(3, device.pageRequests().unhandled());
            assertEquals(0, rig.accounting().raised());
            device.leave();
        }
    }

    @Test
    void drainsWhatSoftwareHasNotRead() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            device.attach(rig.space, 7);
            rig.iommu.pageRequests().pause();
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 7, 1);
            rig.settle(device);
            assertFalse(device.drain(7, Drain.DELIVERED, 1_000_000));
            assertTrue(device.drain(NO_PASID, Drain.DELIVERED, 0), "another PASID's are no matter");
            rig.iommu.pageRequests().resume();
            assertTrue(device.drain(7, Drain.DELIVERED, 1_000_000_000));
            assertFalse(device.drain(7, Drain.ANSWERED, 1_000_000));
            rig.serve();
            assertTrue(device.drain(7, Drain.ANSWERED, 1_000_000_000));
            rig.finish(device);
            device.leave();
        }
    }

    @Test
    void resetDrainsAndNothingOfBeforeComesLater() {
        try (Rig rig = new Rig(IommuConfig.small(), QueueConfig.of(2).withLargestGroup(4))) {
            Device device = rig.device(DeviceConfig.pri("d"));
            Device other = rig.device(DeviceConfig.pri("other"));
            for (int i = 0; i < 4; i++) {
                rig.start(device, Access.READ, BASE + (long) i * PAGE, rig.bytes(8, 0), i);
            }
            rig.start(other, Access.READ, BASE, rig.bytes(8, 0), 10);
            rig.settle(device, other);
            List<Rig.Seen> delivered = List.copyOf(rig.take());
            device.send(request(400, BASE, false));
            device.reset();
            rig.settle(device, other);
            assertEquals(
                    4,
                    rig.results.values().stream()
                            .filter(r -> r == AccessResult.RESET)
                            .count());
            assertEquals(4L, rig.accounting().autoBy().get(AutoAnswer.RESET));
            assertEquals(0, device.pageRequestInterface().outstanding());
            assertEquals(1, device.pageRequests().discarded());
            // Late answers name groups that are gone.
            for (Rig.Seen group : delivered) {
                if (group.device() == device.id()) {
                    var _ = rig.consumer.answerAndRepost(group.cookie(), Answer.INVALID);
                    rig.consumer.submit();
                }
            }
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 20);
            rig.settle(device);
            assertFalse(rig.results.containsKey(20L));
            rig.space.zero(BASE);
            delivered.stream().filter(g -> g.device() == other.id()).forEach(g -> rig.answer(g, Answer.SUCCESS));
            rig.finish(device, other);
            assertEquals(AccessResult.OK, rig.results.get(20L));
            assertEquals(AccessResult.OK, rig.results.get(10L), "the other device was let alone");
            assertEquals(0, device.counters().unknownAnswers());
            device.leave();
            other.leave();
        }
    }

    @Test
    void stallsHaveTheirExactAddressAndATagAndAreResumedOrAborted() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.stalling("s").withAllocation(2));
            rig.start(device, Access.WRITE, BASE + 0x123, rig.bytes(8, 0), 1);
            rig.start(device, Access.WRITE, BASE + PAGE + 0x456, rig.bytes(8, 0), 2);
            rig.start(device, Access.WRITE, BASE + 2 * PAGE, rig.bytes(8, 0), 3);
            // A stall is no message: the page request queue has nothing to do with it.
            rig.iommu.pageRequests().pause();
            rig.settle(device);
            List<Rig.Seen> stalls = List.copyOf(rig.take());
            assertEquals(2, stalls.size(), "the third transaction is held back");
            assertEquals(List.of(BASE + 0x123), stalls.get(0).addresses());
            assertEquals(List.of(BASE + PAGE + 0x456), stalls.get(1).addresses());
            assertTrue(stalls.get(0).index() != stalls.get(1).index());
            rig.answer(stalls.get(1), Answer.INVALID);
            rig.settle(device);
            assertEquals(Map.of(2L, AccessResult.INVALID), rig.results, "aborted");
            rig.space.zero(BASE);
            rig.answer(stalls.get(0), Answer.SUCCESS);
            rig.finish(device);
            assertEquals(AccessResult.OK, rig.results.get(1L));
            assertEquals(AccessResult.OK, rig.results.get(3L));
            device.respond(9, NO_PASID, 0);
            assertEquals(1, device.counters().unknownAnswers(), "a tag nobody has: no effect");
            device.leave();
        }
    }
}
