package dev.faultline.iommu;

import static dev.faultline.iommu.PageRequestInterface.RESPONSE_FAILURE;
import static dev.faultline.iommu.PageRequestInterface.UNEXPECTED_GROUP;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.tlb.AtsRange;
import dev.faultline.ring.Answer;
import dev.faultline.ring.AutoAnswer;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Each disaster: what a handler sees of it, how its device goes on, and that a device beside it notices nothing. */
class DisastersTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGE = Frames.BYTES;
    private static final int PASID = 5;

    private static Rig rig() {
        return new Rig(IommuConfig.small(), QueueConfig.of(64).withLargestGroup(8));
    }

    private static Device bad(Rig rig, DeviceConfig config) {
        Device device = rig.device(config);
        device.attach(rig.space, PASID);
        return device;
    }

    /** What a driver does with an access that failed for no fault of its own. */
    private static void recover(Rig rig, Device device, long tag, int pasid) {
        AccessResult result = rig.results.get(tag);
        if (result == AccessResult.RESPONSE_FAILURE || result == AccessResult.TIMED_OUT) {
            device.reset();
        }
        if (result != AccessResult.OK) {
            rig.start(device, Access.READ, BASE + tag * PAGE, rig.bytes(8, 0), pasid, tag);
        }
    }

    @ParameterizedTest
    @EnumSource(Disaster.class)
    void noneHurtsAnotherDevice(Disaster disaster) throws InterruptedException {
        try (Rig rig = rig();
                AddressSpace othersSpace = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, rig.queue)) {
            Device device = bad(rig, DeviceConfig.pri("bad").withRequestLimitNs(5_000_000));
            Device other = rig.iommu.device(DeviceConfig.pri("other").withAllocation(8));
            other.attach(othersSpace);
            AtomicReference<Throwable> failure = new AtomicReference<>();
            // Beside it, all the time, on a thread of its own: a device that must see nothing of this.
            Thread beside = new Thread(() -> {
                try {
                    byte[] page = new byte[64];
                    for (int i = 0; i < 200; i++) {
                        other.write(BASE + (long) i * PAGE, java.lang.foreign.MemorySegment.ofArray(page));
                    }
                } catch (Throwable e) {
                    failure.set(e);
                }
            });
            beside.start();
            for (int round = 0; round < 3; round++) {
                device.misbehave(disaster);
                for (long tag = round * 10L; tag < round * 10 + 4; tag++) {
                    rig.start(device, Access.READ, BASE + tag * PAGE, rig.bytes(8, 0), PASID, tag);
                }
                long start = System.nanoTime();
                boolean all = false;
                while (!all) {
                    assertTrue(System.nanoTime() - start < 30_000_000_000L, () -> rig.results + rig.queue.dump());
                    device.step();
                    device.poll(rig.results::put);
                    serve(rig, othersSpace, other);
                    all = true;
                    for (long tag = round * 10L; tag < round * 10 + 4; tag++) {
                        if (rig.results.containsKey(tag) && rig.results.get(tag) != AccessResult.OK) {
                            recover(rig, device, tag, PASID);
                            rig.results.remove(tag);
                        }
                        all &= rig.results.get(tag) == AccessResult.OK;
                    }
                }
            }
            while (beside.isAlive()) {
                device.step();
                serve(rig, othersSpace, other);
            }
            beside.join();
            assertEquals(null, failure.get());
            assertEquals(0, other.counters().failed());
            // What the bad device has left open, if anything, ends with it.
            device.reset();
            assertEquals(0, device.pageRequestInterface().outstanding());
            assertTrue(rig.accounting().balanced());
            device.leave();
        }
    }

    private static void serve(Rig rig, AddressSpace othersSpace, Device other) {
        for (Rig.Seen group : List.copyOf(rig.take())) {
            AddressSpace space = group.device() == other.id() ? othersSpace : rig.space;
            group.addresses().forEach(space::zero);
            Result result = rig.consumer.answerAndRepost(group.cookie(), Answer.SUCCESS);
            assertTrue(result == Result.OK || result == Result.STALE, result::toString);
        }
        rig.consumer.submit();
    }

    @Test
    void queueOverflow() {
        try (Rig rig = rig()) {
            Device device = bad(rig, DeviceConfig.pri("d").withGroupPages(2));
            device.misbehave(Disaster.QUEUE_OVERFLOW);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.finish(device);
            assertEquals(AccessResult.OK, rig.results.get(1L));
            assertEquals(1, rig.iommu.pageRequests().overflows());
            assertEquals(1, device.pageRequests().overflowAnswered());
            assertEquals(1, device.pageRequests().overflowDropped());
            assertEquals(1, rig.accounting().raised(), "the handler sees the group that was sent again, whole");
            device.leave();
        }
    }

    @Test
    void lostLast() {
        try (Rig rig = rig()) {
            Device device = bad(rig, DeviceConfig.pri("d").withGroupPages(2).withRequestLimitNs(1_000_000));
            device.misbehave(Disaster.LOST_LAST);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            long start = System.nanoTime();
            while (rig.results.isEmpty() && System.nanoTime() - start < 10_000_000_000L) {
                device.step();
                device.poll(rig.results::put);
            }
            assertEquals(Map.of(1L, AccessResult.TIMED_OUT), rig.results);
            assertEquals(List.of(), rig.take(), "the handler never sees it");
            assertEquals(1, device.pageRequests().lost());
            assertEquals(1, device.pageRequests().outstanding());
            assertEquals(2, device.pageRequestInterface().outstanding());
            device.reset();
            assertEquals(1, device.pageRequests().discarded());
            assertEquals(0, device.pageRequestInterface().outstanding());
            device.leave();
        }
    }

    @Test
    void indexReused() {
        try (Rig rig = rig()) {
            Device device = bad(rig, DeviceConfig.pri("d").withRequestLimitNs(1_000_000));
            device.misbehave(Disaster.INDEX_REUSED);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 2);
            rig.settle(device);
            List<Rig.Seen> groups = List.copyOf(rig.take());
            assertEquals(2, groups.size());
            assertEquals(groups.get(0).index(), groups.get(1).index());
            assertTrue(groups.get(0).cookie() != groups.get(1).cookie(), "each is answered by its cookie");
            for (Rig.Seen group : groups) {
                group.addresses().forEach(rig.space::zero);
                rig.answer(group, Answer.SUCCESS);
            }
            rig.settle(device);
            assertEquals(AccessResult.OK, rig.results.get(1L));
            assertEquals(UNEXPECTED_GROUP, device.pageRequestInterface().status());
            assertEquals(1, device.counters().unknownAnswers());
            device.reset();
            device.leave();
        }
    }

    @Test
    void stopMarkerRacingAnAnswer() {
        try (Rig rig = rig()) {
            Device device = bad(rig, DeviceConfig.pri("d"));
            device.misbehave(Disaster.STOP_MARKER_RACE);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), PASID, 1);
            rig.settle(device);
            assertEquals(1, device.pageRequests().markers());
            assertEquals(1, rig.accounting().outstanding(), "the marker says nothing about groups that wait");
            rig.finish(device);
            assertEquals(AccessResult.OK, rig.results.get(1L));
            device.leave();
        }
    }

    @Test
    void failureAnswer() {
        try (Rig rig = rig()) {
            Device device = bad(rig, DeviceConfig.pri("d"));
            device.misbehave(Disaster.FAILURE_ANSWER);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.settle(device);
            assertEquals(1, rig.serve(), "the handler answers as always");
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.RESPONSE_FAILURE), rig.results);
            assertEquals(RESPONSE_FAILURE, device.pageRequestInterface().status());
            assertEquals(1, rig.accounting().answered());
            device.reset();
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 2);
            rig.finish(device);
            assertEquals(AccessResult.OK, rig.results.get(2L));
            device.leave();
        }
    }

    @Test
    void resetInFlight() {
        try (Rig rig = rig()) {
            Device device = bad(rig, DeviceConfig.pri("d"));
            device.misbehave(Disaster.RESET_IN_FLIGHT);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            device.step();
            List<Rig.Seen> groups = List.copyOf(rig.take());
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.RESET), rig.results);
            assertEquals(Map.of(AutoAnswer.RESET, 1L), rig.accounting().autoBy());
            assertEquals(
                    Result.STALE, rig.consumer.answerAndRepost(groups.getFirst().cookie(), Answer.SUCCESS));
            rig.consumer.submit();
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 2);
            rig.finish(device);
            assertEquals(AccessResult.OK, rig.results.get(2L));
            device.leave();
        }
    }

    @Test
    void pasidReused() {
        try (Rig rig = rig()) {
            Device device = bad(rig, DeviceConfig.pri("d"));
            device.misbehave(Disaster.PASID_REUSED);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), PASID, 1);
            device.step();
            List<Rig.Seen> groups = List.copyOf(rig.take());
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.INVALID), rig.results);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), PASID, 2);
            rig.settle(device);
            assertEquals(
                    Result.STALE, rig.consumer.answerAndRepost(groups.getFirst().cookie(), Answer.INVALID));
            rig.consumer.submit();
            rig.finish(device);
            assertEquals(AccessResult.OK, rig.results.get(2L), "the late answer is not taken for the new one's");
            device.leave();
        }
    }

    @Test
    void deviceTlbTimeout() {
        try (Rig rig = rig()) {
            Device device = bad(rig, DeviceConfig.pri("d"));
            Device other = rig.device(DeviceConfig.pri("other"));
            device.ats().timeOut(1_000_000, System::nanoTime);
            device.misbehave(Disaster.DEVICE_TLB_TIMEOUT);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.finish(device);
            assertEquals(InvalidateRequest.State.TIMED_OUT, invalidated(device));
            assertEquals(InvalidateRequest.State.COMPLETED, invalidated(other));
            // What the engine itself takes away is gone all the same.
            assertTrue(rig.space.unmap(BASE, PAGE));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 2);
            rig.settle(device);
            assertEquals(1, rig.accounting().outstanding(), "it has to ask again");
            device.reset();
            rig.settle(device);
            assertEquals(AccessResult.RESET, rig.results.get(2L));
            assertEquals(InvalidateRequest.State.COMPLETED, invalidated(device));
            device.leave();
            other.leave();
        }
    }

    private static InvalidateRequest.State invalidated(Device device) {
        InvalidateRequest request = device.ats().invalidate(FaultProducer.NO_PASID, AtsRange.encode(BASE, 0), false);
        return device.ats().await(Objects.requireNonNull(request));
    }

    @Test
    void flood() {
        try (Rig rig = rig()) {
            Device device = bad(rig, DeviceConfig.pri("d").withAllocation(4));
            device.misbehave(Disaster.FLOOD);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.settle(device);
            assertEquals(1001, device.pageRequests().sent());
            assertEquals(4, rig.accounting().outstanding(), "no more than its lane holds");
            assertEquals(997, device.pageRequests().overflowAnswered());
            rig.finish(device);
            rig.serve();
            rig.settle(device);
            assertEquals(AccessResult.OK, rig.results.get(1L));
            device.leave();
        }
    }

    @Test
    void onlyDevicesThatMakePageRequestsMisbehave() {
        try (Rig rig = rig()) {
            Device plain = rig.iommu.device(DeviceConfig.plain("p"));
            assertThrows(IllegalStateException.class, () -> plain.misbehave(Disaster.FLOOD));
        }
    }
}
