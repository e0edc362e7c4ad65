package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_EXEC;
import static dev.faultline.ffm.PageFaultLayout.PERM_PRIV;
import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;
import static dev.faultline.iommu.PageRequestInterface.ENABLE;
import static dev.faultline.iommu.PageRequestInterface.PASID_REQUIRED;
import static dev.faultline.iommu.PageRequestInterface.RESET;
import static dev.faultline.iommu.PageRequestInterface.RESPONSE_FAILURE;
import static dev.faultline.iommu.PageRequestInterface.STOPPED;
import static dev.faultline.iommu.PageRequestInterface.UNEXPECTED_GROUP;
import static dev.faultline.ring.FaultProducer.NO_PASID;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.Answer;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Page requests over the wire, from the function's side: the scenarios of PCIe ATS and PRI, by their numbers. */
class PcieAtsPriScenariosTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGE = Frames.BYTES;

    private static PageRequest request(int pasid, int index, long address, boolean last) {
        return new PageRequest(pasid, index, address, PERM_READ, 0, last);
    }

    @Test
    void scenario01PlainGroup() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withAllocation(3).withGroupPages(3));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.settle(device);
            assertEquals(3, device.pageRequestInterface().outstanding());
            Rig.Seen group = rig.take().getFirst();
            assertEquals(3, group.addresses().size());
            group.addresses().forEach(rig.space::zero);
            rig.answer(group, Answer.SUCCESS);
            rig.settle(device);
            assertEquals(0, device.pageRequestInterface().outstanding(), "three credits return");
            assertEquals(1, device.counters().retries());
            assertEquals(Map.of(1L, AccessResult.OK), rig.results);
            assertEquals(1, rig.accounting().answered());
            assertEquals(0, device.counters().unknownAnswers(), "one response, to the group's index");
            assertEquals(0, device.pageRequestInterface().status());
            device.leave();
        }
    }

    @Test
    void scenario02TwoGroupsAnsweredInTheOtherOrder() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withGroupPages(2));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.start(device, Access.READ, BASE + 16 * PAGE, rig.bytes(8, 0), 2);
            rig.settle(device);
            List<Rig.Seen> groups = List.copyOf(rig.take());
            assertEquals(2, groups.size());
            groups.forEach(group -> group.addresses().forEach(rig.space::zero));
            rig.answer(groups.get(1), Answer.SUCCESS);
            rig.settle(device);
            assertEquals(Map.of(2L, AccessResult.OK), rig.results);
            assertEquals(2, device.pageRequestInterface().outstanding(), "the other stays pending");
            rig.answer(groups.get(0), Answer.SUCCESS);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.OK, 2L, AccessResult.OK), rig.results);
            assertEquals(0, device.pageRequestInterface().status(), "no response was unexpected");
            device.leave();
        }
    }

    @Test
    void scenario02TwoGroupsInterleaved() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            device.send(request(NO_PASID, 301, BASE, false));
            device.send(request(NO_PASID, 302, BASE + 16 * PAGE, false));
            device.send(request(NO_PASID, 302, BASE + 17 * PAGE, true));
            device.send(request(NO_PASID, 301, BASE + PAGE, true));
            List<Rig.Seen> groups = List.copyOf(rig.take());
            assertEquals(List.of(302, 301), groups.stream().map(Rig.Seen::index).toList());
            assertEquals(List.of(BASE, BASE + PAGE), groups.get(1).addresses());
            assertEquals(
                    List.of(BASE + 16 * PAGE, BASE + 17 * PAGE), groups.get(0).addresses());
            rig.answer(groups.get(0), Answer.SUCCESS);
            rig.settle(device);
            assertEquals(1, rig.accounting().outstanding(), "the other stays pending");
            rig.answer(groups.get(1), Answer.SUCCESS);
            rig.settle(device);
            assertEquals(2, rig.accounting().answered());
            device.leave();
        }
    }

    @Test
    void scenario03UnknownIndex() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            PageRequestInterface pri = device.pageRequestInterface();
            device.respond(7, NO_PASID, 0);
            assertEquals(UNEXPECTED_GROUP, pri.status());
            assertEquals(ENABLE, pri.control());
            assertEquals(0, pri.outstanding());
            pri.clearStatus(UNEXPECTED_GROUP);
            assertEquals(0, pri.status());
            assertEquals(1, device.counters().unknownAnswers());
            device.leave();
        }
    }

    @Test
    void scenario04InvalidRequest() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.settle(device);
            rig.answer(rig.take().getFirst(), Answer.INVALID);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.INVALID), rig.results);
            assertEquals(ENABLE, device.pageRequestInterface().control());
            assertEquals(0, device.pageRequestInterface().status());
            for (int i = 0; i < Groups.PCI_INDICES; i++) {
                rig.start(device, Access.READ, BASE + (i + 1L) * PAGE, rig.bytes(8, 0), 2L + i);
                rig.finish(device);
            }
            assertTrue(
                    rig.seen.stream()
                                    .filter(g ->
                                            g.index() == rig.seen.getFirst().index())
                                    .count()
                            == 2,
                    "the index is used again after the answer");
            device.leave();
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0b1111, 0b0110, 0b0010, 0b1110})
    void scenario05ResponseFailureAnd06ReservedCode(int code) {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            PageRequestInterface pri = device.pageRequestInterface();
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 2);
            rig.settle(device);
            List<Rig.Seen> groups = List.copyOf(rig.take());
            device.respond(groups.get(0).index(), NO_PASID, code);
            rig.settle(device);
            assertEquals(RESPONSE_FAILURE, pri.status());
            assertEquals(Map.of(1L, AccessResult.RESPONSE_FAILURE, 2L, AccessResult.RESPONSE_FAILURE), rig.results);
            rig.start(device, Access.READ, BASE + 2 * PAGE, rig.bytes(8, 0), 3);
            rig.settle(device);
            assertEquals(AccessResult.RESPONSE_FAILURE, rig.results.get(3L), "no further request leaves");
            assertEquals(2, rig.accounting().raised());
            rig.answer(groups.get(1), Answer.SUCCESS);
            rig.settle(device);
            assertEquals(1, device.counters().ignoredAnswers());
            assertEquals(RESPONSE_FAILURE, pri.status(), "it does not restart by itself");
            rig.answer(groups.get(0), Answer.SUCCESS);
            rig.settle(device);
            pri.control(0);
            pri.control(RESET);
            pri.clearStatus(RESPONSE_FAILURE);
            assertEquals(STOPPED, pri.status());
            pri.control(ENABLE);
            rig.start(device, Access.READ, BASE + 2 * PAGE, rig.bytes(8, 0), 4);
            rig.finish(device);
            assertEquals(AccessResult.OK, rig.results.get(4L));
            device.leave();
        }
    }

    @Test
    void scenario07StopMarker() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            device.attach(rig.space, 0x42);
            device.send(PageRequest.stopMarker(0x42));
            rig.settle(device);
            assertEquals(1, device.pageRequests().markers());
            assertEquals(0, device.pageRequestInterface().outstanding());
            assertEquals(0, rig.accounting().requests());
            assertEquals(0, device.counters().unknownAnswers(), "no response is produced");
            device.leave();
        }
    }

    @Test
    void scenario08LooksLikeAMarkerWithoutPasid() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            device.send(new PageRequest(NO_PASID, 3, BASE, 0, 0, true));
            Rig.Seen group = rig.take().getFirst();
            assertEquals(List.of(0), group.accesses());
            rig.answer(group, Answer.SUCCESS);
            rig.settle(device);
            assertEquals(1, rig.accounting().answered());
            assertEquals(0, device.pageRequests().markers());
            device.leave();
        }
    }

    @Test
    void scenario09StopWithoutMarker() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            device.attach(rig.space, 9);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 9, 1);
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 9, 2);
            rig.settle(device);
            List<Rig.Seen> groups = List.copyOf(rig.take());
            device.stopPasid(9, PasidStop.WAIT);
            assertFalse(device.isStopped(9));
            rig.space.zero(BASE);
            rig.answer(groups.get(0), Answer.SUCCESS);
            rig.settle(device);
            assertFalse(device.isStopped(9), "one is still outstanding");
            rig.answer(groups.get(1), Answer.INVALID);
            rig.settle(device);
            assertTrue(device.isStopped(9));
            rig.start(device, Access.READ, BASE + 2 * PAGE, rig.bytes(8, 0), 9, 3);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.OK, 2L, AccessResult.INVALID, 3L, AccessResult.STOPPED), rig.results);
            assertEquals(2, rig.accounting().raised());
            assertEquals(0, device.pageRequests().markers());
            assertThrows(IllegalStateException.class, () -> device.stopPasid(10, PasidStop.WAIT));
            device.leave();
        }
    }

    @Test
    void scenario09StopWithMarkerWaitsForNothing() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            device.attach(rig.space, 9);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 9, 1);
            rig.settle(device);
            device.stopPasid(9, PasidStop.MARKER);
            rig.settle(device);
            assertEquals(1, device.pageRequests().markers());
            assertTrue(device.drain(9, Drain.DELIVERED, 0));
            assertFalse(device.drain(9, Drain.ANSWERED, 1_000_000));
            rig.serve();
            assertTrue(device.drain(9, Drain.ANSWERED, 1_000_000_000));
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.OK), rig.results);
            device.leave();
        }
    }

    @Test
    void scenario10AllocationLimit() {
        assertThrows(
                IllegalArgumentException.class,
                () -> DeviceConfig.pri("d").withAllocation(2).withGroupPages(3),
                "a group that could never be whole is a mistake in the configuration");
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withAllocation(2));
            for (int i = 0; i < 3; i++) {
                rig.start(device, Access.READ, BASE + (long) i * PAGE, rig.bytes(8, 0), i);
            }
            rig.settle(device);
            assertEquals(2, rig.accounting().raised(), "the third is held back, not dropped");
            assertEquals(1, rig.serve() / 2);
            rig.finish(device);
            assertEquals(3, rig.results.size());
            device.leave();
        }
    }

    @Test
    void scenario10AGroupIsNoLargerThanTheAllocation() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withAllocation(3).withGroupPages(3));
            device.disablePageRequests();
            device.enablePageRequests(2);
            rig.start(device, Access.READ, BASE, rig.bytes(3 * PAGE, 0), 1);
            rig.settle(device);
            assertEquals(
                    List.of(BASE, BASE + PAGE), rig.take().getFirst().addresses(), "the third would never have left");
            rig.seen.forEach(group -> {
                group.addresses().forEach(rig.space::zero);
                rig.answer(group, Answer.SUCCESS);
            });
            rig.finish(device);
            assertEquals(Map.of(1L, AccessResult.OK), rig.results);
            device.leave();
        }
    }

    @Test
    void scenario11AllocationZero() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            PageRequestInterface pri = device.pageRequestInterface();
            pri.control(0);
            pri.allocate(0);
            pri.control(ENABLE);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.NO_PAGE_REQUESTS), rig.results);
            assertEquals(0, device.pageRequests().sent());
            IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> pri.allocate(65));
            assertEquals("allocation=65: allowed 0 to 64", e.getMessage());
            device.leave();
        }
    }

    @Test
    void scenario12EnableWhileNotStopped() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            PageRequestInterface pri = device.pageRequestInterface();
            assertThrows(IllegalStateException.class, () -> pri.enable(1), "enabled already");
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.settle(device);
            pri.disable();
            assertEquals(0, pri.status() & STOPPED);
            assertThrows(IllegalStateException.class, () -> pri.enable(1), "busy");
            rig.serve();
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.OK), rig.results, "what was asked before is answered");
            assertEquals(STOPPED, pri.status());
            pri.enable(1000);
            assertEquals(64, pri.allocation(), "the lesser of capacity and what is wanted");
            assertEquals(0, pri.status());
            device.leave();
        }
    }

    @Test
    void scenario13ResetWithEnable() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            PageRequestInterface pri = device.pageRequestInterface();
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.settle(device);
            pri.control(ENABLE | RESET);
            rig.settle(device);
            assertEquals(1, pri.outstanding(), "ignored");
            assertEquals(Map.of(), rig.results);
            assertThrows(IllegalStateException.class, pri::reset, "a driver does not even try");
            pri.control(RESET);
            rig.settle(device);
            assertEquals(0, pri.outstanding());
            assertEquals(STOPPED, pri.status());
            assertEquals(0, pri.control(), "reset reads 0");
            assertEquals(Map.of(1L, AccessResult.RESET), rig.results);
            rig.answer(rig.take().getFirst(), Answer.SUCCESS);
            rig.settle(device);
            assertEquals(STOPPED | UNEXPECTED_GROUP, pri.status(), "the answer to what it forgot");
            assertEquals(0, pri.outstanding());
            device.leave();
        }
    }

    @Test
    void scenario14VfWithoutPf() {
        try (Rig rig = Rig.open()) {
            Device pf = rig.device(DeviceConfig.pri("pf").withRequester(RequesterId.of(3, 0, 0)));
            Device vf = rig.enter(pf.virtualFunction(DeviceConfig.pri("vf")), true);
            assertEquals("03:00.1", RequesterId.text(vf.requester()));
            pf.disablePageRequests();
            assertThrows(IllegalArgumentException.class, () -> vf.enablePageRequests(8));
            pf.enablePageRequests(8);
            int before = pf.pageRequestInterface().allocation();
            vf.enablePageRequests(1);
            vf.disablePageRequests();
            assertEquals(before, vf.pageRequestInterface().allocation());
            assertEquals(ENABLE, vf.pageRequestInterface().control());
            assertThrows(IllegalStateException.class, () -> vf.virtualFunction(DeviceConfig.pri("x")));
            assertThrows(IllegalArgumentException.class, () -> pf.virtualFunction(DeviceConfig.plain("x")));
            rig.start(vf, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.settle(pf, vf);
            assertEquals(1, pf.pageRequestInterface().outstanding(), "credits are the interface's");
            rig.finish(pf, vf);
            vf.leave();
            pf.leave();
        }
    }

    @Test
    void scenario15VfFailureSpreads() {
        try (Rig rig = Rig.open()) {
            Device pf = rig.device(DeviceConfig.pri("pf"));
            Device one = rig.enter(pf.virtualFunction(DeviceConfig.pri("vf1")), true);
            Device two = rig.enter(pf.virtualFunction(DeviceConfig.pri("vf2")), true);
            Device other = rig.device(DeviceConfig.pri("other"));
            rig.start(one, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.start(two, Access.READ, BASE + PAGE, rig.bytes(8, 0), 2);
            rig.settle(one, two);
            List<Rig.Seen> groups = List.copyOf(rig.take());
            one.respond(groups.getFirst().index(), NO_PASID, 15);
            rig.settle(pf, one, two);
            assertEquals(RESPONSE_FAILURE, pf.pageRequestInterface().status());
            rig.start(two, Access.READ, BASE + 2 * PAGE, rig.bytes(8, 0), 3);
            rig.start(other, Access.READ, BASE + 3 * PAGE, rig.bytes(8, 0), 4);
            rig.settle(two, other);
            assertEquals(AccessResult.RESPONSE_FAILURE, rig.results.get(2L));
            assertEquals(AccessResult.RESPONSE_FAILURE, rig.results.get(3L));
            rig.finish(other);
            assertEquals(AccessResult.OK, rig.results.get(4L), "another device does not notice");
            groups.forEach(group -> rig.answer(group, Answer.SUCCESS));
            rig.settle(pf, one, two);
            pf.reset();
            rig.start(two, Access.READ, BASE + 2 * PAGE, rig.bytes(8, 0), 5);
            rig.finish(pf, one, two);
            assertEquals(AccessResult.OK, rig.results.get(5L), "the reset has enabled it again");
            List.of(pf, one, two, other).forEach(Device::leave);
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void scenario16PasidInResponses(boolean required) {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withPasidInResponses(required));
            PageRequestInterface pri = device.pageRequestInterface();
            device.attach(rig.space, 9);
            assertEquals(required ? PASID_REQUIRED : 0, pri.status());
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 9, 1);
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 2);
            rig.settle(device);
            List<Rig.Seen> groups = List.copyOf(rig.take());
            rig.space.zero(BASE);
            rig.space.zero(BASE + PAGE);
            device.respond(groups.get(0).index(), NO_PASID, 0);
            rig.settle(device);
            if (required) {
                assertEquals(Map.of(), rig.results, "without its PASID it is a response to nothing");
                assertEquals(UNEXPECTED_GROUP, pri.status() & UNEXPECTED_GROUP);
            } else {
                assertEquals(Map.of(1L, AccessResult.OK), rig.results);
            }
            rig.answer(groups.get(0), Answer.SUCCESS);
            rig.answer(groups.get(1), Answer.SUCCESS);
            rig.settle(device);
            assertEquals(AccessResult.OK, rig.results.get(1L), "the IOMMU's response carries it");
            assertEquals(AccessResult.OK, rig.results.get(2L), "and none where there was none");
            device.leave();
        }
    }

    @Test
    void scenario17ExecuteAndPrivilegedWithoutPasid() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            device.attach(rig.space, 5);
            int all = PERM_READ | PERM_WRITE | PERM_EXEC | PERM_PRIV;
            device.send(new PageRequest(NO_PASID, 1, BASE, all, 0, true));
            device.send(new PageRequest(5, 2, BASE, all, 0, true));
            List<Rig.Seen> groups = List.copyOf(rig.take());
            assertEquals(List.of(PERM_READ | PERM_WRITE), groups.get(0).accesses());
            assertEquals(List.of(all), groups.get(1).accesses());
            groups.forEach(group -> rig.answer(group, Answer.SUCCESS));
            rig.settle(device);
            device.leave();
        }
    }

    @Test
    void scenario29BadInput() {
        PageRequest odd = PageRequest.ofWire(0xabcd_ef00_0000_0000L | 0x7 | 5 << 3, 7, false, false);
        assertEquals(new PageRequest(7, 5, 0xabcd_ef00_0000_0000L, PERM_READ | PERM_WRITE, 0, true), odd);
        assertEquals(0xabcd_ef00_0000_0000L | 0x7 | 5 << 3, odd.toWire());
        assertThrows(IllegalArgumentException.class, () -> PageRequest.ofWire(0, 0x10_0000, false, false));
        assertThrows(
                IllegalArgumentException.class,
                () -> request(NO_PASID, 512, BASE, true).toWire());
        assertThrows(IllegalArgumentException.class, () -> PageRequest.responseToWire(0, 512, ResponseCode.SUCCESS));
        long response = PageRequest.responseToWire(RequesterId.of(1, 2, 3), 0x1ff, ResponseCode.FAILURE);
        assertEquals(0x0113_f1ff_0000_0000L, response);
        assertEquals(0x1ff, PageRequest.responseIndex(response));
        assertEquals(15, PageRequest.responseCode(response));
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withPasidBits(8));
            assertEquals(
                    "pasid=256: allowed 0 to 255",
                    assertThrows(IllegalArgumentException.class, () -> device.attach(rig.space, 256))
                            .getMessage());
            Device none = rig.device(DeviceConfig.pri("n").withPasidBits(0));
            assertThrows(IllegalArgumentException.class, () -> none.attach(rig.space, 0));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> rig.iommu.device(DeviceConfig.pri("twin").withRequester(device.requester())));
            assertThrows(
                    IllegalArgumentException.class, () -> DeviceConfig.pri("d").withRequester(0x1_0000));
            assertThrows(IllegalArgumentException.class, () -> RequesterId.of(0, 32, 0));
            device.leave();
            none.leave();
        }
    }

    @Test
    void scenario30ResponseFromAGuest() {
        assertEquals(15, ResponseCode.ofLinux(2).wire());
        assertEquals(0, ResponseCode.ofLinux(0).wire());
        assertEquals(1, ResponseCode.ofLinux(1).wire());
        assertThrows(IllegalArgumentException.class, () -> ResponseCode.ofLinux(3));
        assertThrows(IllegalArgumentException.class, () -> ResponseCode.ofWire(16));
        for (int reserved = 2; reserved < 15; reserved++) {
            assertEquals(ResponseCode.FAILURE, ResponseCode.ofWire(reserved));
        }
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.settle(device);
            Rig.Seen group = rig.take().getFirst();
            assertThrows(IllegalArgumentException.class, () -> device.respond(group.index(), NO_PASID, 16));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> device.respond(
                            group.index(), NO_PASID, ResponseCode.ofLinux(3).wire()));
            rig.settle(device);
            assertEquals(Map.of(), rig.results, "nothing was sent");
            device.respond(group.index(), NO_PASID, ResponseCode.ofLinux(2).wire());
            rig.settle(device);
            assertEquals(RESPONSE_FAILURE, device.pageRequestInterface().status());
            rig.answer(group, Answer.SUCCESS);
            rig.settle(device);
            device.leave();
        }
    }

    @Test
    void asksWithALengthHintAndReachesTheHandlerWithIt() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withGroupPages(2));
            rig.start(device, Access.READ, BASE + 100, rig.bytes(5000, 0), 1);
            rig.settle(device);
            assertEquals(List.of(5000L, 1004L), rig.take().getFirst().lengths());
            rig.seen.forEach(group -> {
                group.addresses().forEach(rig.space::zero);
                rig.answer(group, Answer.SUCCESS);
            });
            rig.finish(device);
            device.leave();
        }
    }

    @Test
    void waitsNoLongerThanItsLimit() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withAllocation(1).withRequestLimitNs(2_000_000));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            long start = System.nanoTime();
            while (rig.results.isEmpty() && System.nanoTime() - start < 10_000_000_000L) {
                device.step();
                device.poll(rig.results::put);
            }
            assertEquals(Map.of(1L, AccessResult.TIMED_OUT), rig.results);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 2);
            rig.settle(device);
            assertEquals(AccessResult.TIMED_OUT, rig.results.get(2L), "its only request is still out");
            rig.serve();
            rig.settle(device);
            assertEquals(1, device.counters().ignoredAnswers(), "a late response only frees the index");
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 3);
            rig.finish(device);
            assertEquals(AccessResult.OK, rig.results.get(3L));
            device.leave();
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aGroupHasOnePasidInStrictMode(boolean strict) {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            Attachment one = device.attach(rig.space, 1);
            Attachment two = device.attach(rig.space, 2);
            rig.iommu.pageRequests().strict(strict);
            for (int changed : new int[] {2, NO_PASID}) {
                device.send(request(1, 40, BASE, false));
                device.send(request(1, 41, BASE, false));
                device.send(request(changed, 40, BASE + PAGE, true));
                device.send(request(1, 41, BASE + PAGE, true));
                List<Rig.Seen> groups = List.copyOf(rig.take());
                assertEquals(
                        strict ? List.of(41) : List.of(40, 41),
                        groups.stream().map(Rig.Seen::index).toList());
                groups.forEach(group -> rig.answer(group, Answer.SUCCESS));
                rig.settle(device);
            }
            assertEquals(strict ? 2 : 0, rig.iommu.pageRequests().protocolErrors());
            assertEquals(strict ? 4 : 0, device.pageRequests().unhandled(), "answered INVALID, handed to nobody");
            assertEquals(0, device.pageRequests().outstanding());
            assertTrue(device.pageRequests().balanced());
            one.detach();
            two.detach();
            device.leave();
        }
    }
}
