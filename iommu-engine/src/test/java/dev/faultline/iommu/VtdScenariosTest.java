package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;
import static dev.faultline.iommu.PageRequestInterface.RESPONSE_FAILURE;
import static dev.faultline.iommu.PageRequestInterface.UNEXPECTED_GROUP;
import static dev.faultline.ring.FaultProducer.NO_PASID;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.Answer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;

/**
 * PASIDs, faults and page requests by the sheet vt-d, by number. Walks are in {@code VtdWalkTest}, overflow in
 * {@code PageRequestQueueTest}, invalidation in {@code AtsScenariosTest}.
 */
class VtdScenariosTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGE = Frames.BYTES;

    private static PageRequest request(int index, long address, boolean last) {
        return new PageRequest(NO_PASID, index, address, PERM_READ, 0, last);
    }

    @Test
    void vtd2And14AFaultIsToldWithItsPasidOfTwentyBits() {
        try (Rig rig = Rig.open();
                AddressSpace mute = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, null)) {
            int pasid = 0xabcde;
            Device device = rig.device(DeviceConfig.pri("d"));
            device.attach(mute, pasid);
            device.attach(rig.space, 0xedcba);
            assertTrue(mute.map(BASE, rig.page(1), PERM_READ));
            List<String> told = new ArrayList<>();
            device.tellFaults((table, who, address, access, why, fault) ->
                    told.add(Integer.toHexString(who) + " " + Long.toHexString(address) + " " + access + " " + why));
            rig.start(device, Access.READ, BASE + 8, rig.bytes(8, 0), pasid, 1);
            rig.start(device, Access.WRITE, BASE + 8, rig.bytes(8, 0), pasid, 2);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.OK, 2L, AccessResult.NO_FAULT_QUEUE), rig.results);
            assertEquals(List.of("abcde 70000008 " + PERM_WRITE + " NO_FAULT_QUEUE"), told);
            assertFalse(mute.radix().dirty(mute.radix().entry(BASE)), "D stays 0");
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 0xedcba, 3);
            rig.settle(device);
            assertEquals(0xedcba, rig.take().getFirst().pasid());
            rig.space.zero(BASE);
            rig.answer(rig.seen.getFirst(), Answer.SUCCESS);
            rig.settle(device);
            assertEquals(1, told.size(), "who asks has no fault");
            device.leave();
        }
    }

    @Test
    void vtd6ThePasidsWidth() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withPasidBits(13));
            assertEquals(
                    "pasid=8192: allowed 0 to 8191",
                    assertThrows(IllegalArgumentException.class, () -> device.attach(rig.space, 8192))
                            .getMessage());
            assertTrue(rig.space.zero(BASE));
            device.attach(rig.space, 8191);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 8191, 1);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 8192, 2);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.OK, 2L, AccessResult.NOT_ATTACHED), rig.results);
            device.leave();
        }
    }

    @Test
    void vtd7WithoutPasids() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withPasidBits(0));
            assertTrue(rig.space.zero(BASE));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 5, 1);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 2);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.NOT_ATTACHED, 2L, AccessResult.OK), rig.results);
            device.leave();
        }
    }

    /** The reader comes and goes while requests arrive: between its last look and its sleep none is lost. */
    @Test
    void vtd24NoRequestIsLostWhileTheReaderComesAndGoes() throws InterruptedException {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withGroupPages(2));
            PageRequestQueue queue = rig.iommu.pageRequests();
            AtomicBoolean stop = new AtomicBoolean();
            Thread reader = Thread.ofPlatform().start(() -> {
                while (!stop.get()) {
                    queue.pause();
                    Thread.onSpinWait();
                    queue.resume();
                    Thread.yield();
                }
            });
            int accesses = 1000;
            for (int i = 0; i < accesses; i++) {
                rig.start(device, Access.READ, BASE + 2L * i * PAGE, rig.bytes(8, 0), i);
                if (i % 16 == 15) {
                    rig.finish(device);
                }
            }
            rig.finish(device);
            stop.set(true);
            reader.join();
            assertEquals(accesses, rig.results.size());
            assertEquals(Set.of(AccessResult.OK), Set.copyOf(rig.results.values()));
            PageRequestCounters messages = device.pageRequests();
            assertEquals(2L * accesses, messages.sent());
            assertEquals(2L * accesses, messages.delivered());
            assertEquals(accesses, rig.accounting().answered());
            device.leave();
        }
    }

    @Test
    void vtd25ARequestThatNoDriverHandsOn() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            long bad = 0x8000_0000_0000_0000L;
            device.send(request(400, bad, false));
            rig.settle(device);
            assertEquals(0, device.counters().unknownAnswers(), "no answer");
            device.send(request(401, bad, true));
            rig.settle(device);
            assertEquals(1, device.counters().unknownAnswers(), "one answer");
            device.send(request(402, BASE, false));
            device.send(request(402, bad, true));
            rig.settle(device);
            assertEquals(2, device.counters().unknownAnswers(), "one for the whole group");
            assertEquals(4, device.pageRequests().unhandled());
            assertEquals(0, device.pageRequests().outstanding());
            assertEquals(0, rig.accounting().requests());
            rig.iommu.pageRequests().pause();
            device.send(request(403, bad, true));
            rig.iommu.pageRequests().resume();
            rig.settle(device);
            assertEquals(5, device.pageRequests().unhandled(), "read later, it is no better");
            device.leave();
        }
    }

    @Test
    void vtd26AGroupResponse() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withPasidInResponses(true));
            device.attach(rig.space, 9);
            PageRequestInterface pri = device.pageRequestInterface();
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 9, 1);
            rig.settle(device);
            Rig.Seen group = rig.take().getFirst();
            device.respond(group.index(), NO_PASID, 0);
            rig.settle(device);
            assertEquals(UNEXPECTED_GROUP, pri.status() & UNEXPECTED_GROUP, "its PASID is missing");
            assertEquals(Map.of(), rig.results);
            pri.clearStatus(UNEXPECTED_GROUP);
            rig.space.zero(BASE);
            rig.answer(group, Answer.SUCCESS);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.OK), rig.results);
            assertEquals(1, device.counters().retries(), "once");
            assertEquals(0, pri.status() & UNEXPECTED_GROUP);
            device.respond(group.index(), 9, 0);
            assertEquals(UNEXPECTED_GROUP, pri.status() & UNEXPECTED_GROUP, "a second one is nobody's");
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 9, 2);
            rig.settle(device);
            Rig.Seen next = rig.take().getFirst();
            device.respond(next.index(), 9, 5);
            rig.settle(device);
            assertEquals(AccessResult.RESPONSE_FAILURE, rig.results.get(2L));
            assertEquals(RESPONSE_FAILURE, pri.status() & RESPONSE_FAILURE);
            rig.answer(next, Answer.SUCCESS);
            rig.settle(device);
            device.leave();
        }
    }
}
