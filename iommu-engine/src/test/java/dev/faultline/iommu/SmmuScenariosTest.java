package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.Answer;
import dev.faultline.ring.QueueConfig;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Stalls, page requests and their answers by the sheet smmuv3, by number. Walks are in {@code ArmWalkTest} and
 * {@code NestedWalkTest}, invalidation in {@code InvalidationScopesTest} and {@code AtsScenariosTest}.
 */
class SmmuScenariosTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGE = Frames.BYTES;

    @Test
    void smmu16AStallIsKeptUntilThereIsRoom() {
        try (Rig rig = new Rig(IommuConfig.small(), QueueConfig.of(2))) {
            Device device = rig.device(DeviceConfig.stalling("s"));
            for (int i = 0; i < 5; i++) {
                rig.start(device, Access.WRITE, BASE + (long) i * PAGE + 8, rig.bytes(8, i), i);
            }
            rig.settle(device);
            List<Rig.Seen> first = List.copyOf(rig.take());
            assertEquals(2, first.size(), "there are two reads");
            assertEquals(5, rig.accounting().outstanding(), "nothing is lost");
            assertEquals(
                    0,
                    device.pageRequests().overflowAnswered()
                            + device.pageRequests().overflowDropped());
            assertEquals(List.of(), rig.take());
            rig.space.zero(BASE);
            rig.answer(first.getFirst(), Answer.SUCCESS);
            rig.settle(device);
            assertEquals(Map.of(0L, AccessResult.OK), rig.results, "tried again");
            assertEquals(List.of(BASE + 2 * PAGE + 8), rig.take().getFirst().addresses(), "in its turn");
            rig.answer(first.get(1), Answer.INVALID);
            rig.answer(rig.seen.get(2), Answer.INVALID);
            rig.finish(device);
            assertEquals(
                    Map.of(
                            0L, AccessResult.OK,
                            1L, AccessResult.INVALID,
                            2L, AccessResult.INVALID,
                            3L, AccessResult.OK,
                            4L, AccessResult.OK),
                    rig.results);
            device.leave();
        }
    }

    @Test
    void smmu17NothingIsStoredBeforeTheOverflowIsAcknowledged() {
        try (Rig rig = new Rig(IommuConfig.small().withPageRequestEntries(2), QueueConfig.of(64))) {
            PageRequestQueue queue = rig.iommu.pageRequests();
            Device device = rig.device(DeviceConfig.pri("d"));
            Device other = rig.device(DeviceConfig.pri("other"));
            queue.pause();
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 2);
            rig.settle(device);
            assertEquals(2, queue.stored(), "every entry is used");
            assertFalse(queue.isOverflowed());
            rig.start(other, Access.READ, BASE, rig.bytes(8, 0), 3);
            var _ = other.step();
            assertTrue(queue.isOverflowed());
            assertEquals(1, other.pageRequests().overflowAnswered());
            assertEquals(Map.of(), rig.results, "the answer is SUCCESS: it asks again");
            device.reset();
            assertEquals(0, queue.stored(), "there is room");
            for (int i = 0; i < 10; i++) {
                var _ = other.step();
            }
            assertEquals(0, queue.stored());
            assertTrue(other.pageRequests().overflowAnswered() > 1);
            assertEquals(1, queue.overflows());
            queue.resume();
            queue.pause();
            rig.settle(other);
            assertEquals(1, queue.stored(), "now it is kept");
            queue.resume();
            rig.finish(device, other);
            assertEquals(AccessResult.OK, rig.results.get(3L));
            device.leave();
            other.leave();
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void smmu19TheAutomaticAnswerCarriesThePasidThatTheFunctionLooksFor(boolean required) {
        try (Rig rig = new Rig(IommuConfig.small().withPageRequestEntries(1), QueueConfig.of(64))) {
            PageRequestQueue queue = rig.iommu.pageRequests();
            Device device = rig.device(DeviceConfig.pri("d").withPasidInResponses(required));
            device.attach(rig.space, 9);
            queue.pause();
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 9, 2);
            rig.start(device, Access.READ, BASE + 2 * PAGE, rig.bytes(8, 0), 3);
            for (int i = 0; i < 20; i++) {
                var _ = device.step();
            }
            assertTrue(device.pageRequests().overflowAnswered() > 2, "each is answered, and asks again");
            assertEquals(0, device.counters().unknownAnswers());
            assertEquals(
                    0, device.pageRequestInterface().status() & PageRequestInterface.UNEXPECTED_GROUP, "and knows it");
            queue.resume();
            rig.finish(device);
            assertEquals(Map.of(1L, AccessResult.OK, 2L, AccessResult.OK, 3L, AccessResult.OK), rig.results);
            device.leave();
        }
    }

    @Test
    void smmu26NumbersOfResponses() {
        assertEquals(0, ResponseCode.ofSmmu(2).wire());
        assertEquals(1, ResponseCode.ofSmmu(1).wire());
        assertEquals(15, ResponseCode.ofSmmu(0).wire());
        assertEquals(
                "resp=3: allowed 0 (failure), 1 (invalid), 2 (success)",
                assertThrows(IllegalArgumentException.class, () -> ResponseCode.ofSmmu(3))
                        .getMessage());
    }

    @Test
    void smmu34WithoutTranslation() {
        try (Rig rig = Rig.open()) {
            long frame = rig.iommu.frames().allocate();
            Device device = rig.enter(rig.iommu.device(DeviceConfig.pri("d")), false);
            Attachment blocked = device.attach(rig.iommu.blocked());
            rig.start(device, Access.WRITE, frame, rig.bytes(8, 1), 1);
            rig.settle(device);
            Attachment identity = blocked.replace(rig.iommu.identity());
            rig.start(device, Access.WRITE, frame + 8, rig.bytes(8, 7), 2);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.BLOCKED, 2L, AccessResult.OK), rig.results);
            assertEquals(0, device.pageRequests().sent(), "nobody is asked");
            assertEquals(7, rig.iommu.frames().segment(frame).get(ValueLayout.JAVA_BYTE, 8), "the very address");
            identity.detach();
            device.leave();
            rig.iommu.frames().free(frame);
        }
    }
}
