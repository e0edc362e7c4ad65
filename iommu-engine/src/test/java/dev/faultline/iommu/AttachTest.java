package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ring.FaultProducer.NO_PASID;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.Answer;
import dev.faultline.ring.AutoAnswer;
import dev.faultline.ring.CompletionHandler;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Attaching, replacing and detaching, by the tables of the object model (6) and of fault delivery (9, 10). */
class AttachTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGE = Frames.BYTES;

    @Test
    void objectModel61EachStateOfOneKey() {
        try (Rig rig = Rig.open();
                AddressSpace other = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, rig.queue)) {
            Device device = rig.iommu.device(DeviceConfig.pri("d"));
            Attachment first = device.attach(rig.space);
            assertThrows(IllegalStateException.class, () -> device.attach(rig.space), "attached, even for the same");
            assertThrows(IllegalStateException.class, () -> device.attach(other));
            assertSame(first, first.replace(rig.space), "the same: nothing to do");
            Attachment second = first.replace(other);
            assertNotSame(first, second);
            assertNotEquals(first.key, second.key, "a fresh one for each");
            assertFalse(first.isAttached());
            assertSame(other.table(), second.table());
            assertThrows(IllegalStateException.class, () -> first.replace(rig.space), "it is ended");
            first.detach();
            assertTrue(second.isAttached(), "an attachment ends only itself");
            second.detach();
            second.detach();
            Attachment third = device.attach(rig.space);
            assertTrue(third.isAttached());
            third.detach();
        }
    }

    @Test
    void objectModel61MappingsLiveWithTheAddressSpace() {
        try (Rig rig = Rig.open();
                AddressSpace other = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, rig.queue)) {
            assertTrue(rig.space.map(BASE, rig.bytes(PAGE, 1), PERM_READ));
            assertTrue(other.map(BASE, rig.bytes(PAGE, 2), PERM_READ));
            Device device = rig.iommu.device(DeviceConfig.pri("d"));
            MemorySegment into = rig.bytes(1, 0);
            Attachment attachment = device.attach(rig.space);
            for (int i = 0; i < 4; i++) {
                device.read(BASE, into);
                assertEquals(1 + i % 2, into.get(ValueLayout.JAVA_BYTE, 0), "no translation of the other is left");
                attachment = attachment.replace(i % 2 == 0 ? other : rig.space);
            }
            attachment.detach();
            assertTrue(rig.space.isMapped(BASE));
            AccessFault fault = assertThrows(AccessFault.class, () -> device.read(BASE, into));
            assertEquals(AccessResult.NOT_ATTACHED, fault.reason());
            device.attach(rig.space);
            device.read(BASE, into);
            assertEquals(1, into.get(ValueLayout.JAVA_BYTE, 0));
        }
    }

    @Test
    void objectModel62AFailedReplaceLeavesEverythingAsItWas() {
        try (Rig rig = Rig.open();
                FaultQueue narrow = FaultQueue.open(QueueConfig.of(4).withLargestGroup(1));
                AddressSpace tooNarrow = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, narrow)) {
            FaultQueue gone = FaultQueue.open(QueueConfig.of(4).withLargestGroup(2));
            AddressSpace ofClosed = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, gone);
            Device device = rig.device(DeviceConfig.pri("d").withGroupPages(2));
            Attachment attachment = device.attach(rig.space, 3);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 3, 1);
            rig.settle(device);
            AddressSpace closed = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, rig.queue);
            closed.close();
            gone.close();
            assertThrows(IllegalArgumentException.class, () -> attachment.replace(tooNarrow));
            assertThrows(IllegalStateException.class, () -> attachment.replace(closed));
            assertThrows(IllegalStateException.class, () -> attachment.replace(ofClosed));
            assertThrows(IllegalArgumentException.class, () -> device.attach(tooNarrow, 4));
            assertTrue(attachment.isAttached());
            assertEquals(1, rig.accounting().outstanding(), "nothing was answered");
            rig.finish(device);
            assertEquals(Map.of(1L, AccessResult.OK), rig.results);
            device.leave();
        }
    }

    @Test
    void faultDelivery9ReplaceAnswersWhatTheOldOneHasOpen() {
        try (Rig rig = new Rig(IommuConfig.small(), QueueConfig.of(2));
                AddressSpace other = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, rig.queue)) {
            Device device = rig.device(DeviceConfig.pri("d"));
            Attachment attachment = device.attach(rig.space, 3);
            device.attach(rig.space, 4);
            for (int i = 0; i < 4; i++) {
                rig.start(device, Access.READ, BASE + (long) i * PAGE, rig.bytes(8, 0), 3, i);
            }
            rig.start(device, Access.READ, BASE + 8 * PAGE, rig.bytes(8, 0), 4, 9);
            rig.settle(device);
            assertEquals(2, rig.take().size(), "two are delivered, three wait");
            List<Long> ended = new ArrayList<>();
            Attachment fresh = attachment.replace(other);
            device.poll((tag, result) -> {
                assertEquals(AccessResult.INVALID, result);
                ended.add(tag);
            });
            assertEquals(List.of(3L, 2L, 0L, 1L), ended, "waiting, newest first; then delivered, as they were");
            assertEquals(4L, rig.accounting().autoBy().get(AutoAnswer.DETACH));
            assertEquals(1, rig.accounting().outstanding(), "that of the other PASID");
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 3, 20);
            other.zero(BASE);
            rig.settle(device);
            assertEquals(AccessResult.OK, rig.results.get(20L));
            fresh.detach();
            device.leave();
            rig.expectedOutstanding = 1;
        }
    }

    @Test
    void faultDelivery4RequestsThatAreNotLastSurviveAReplaceButNotTheLastDetach() {
        try (Rig rig = Rig.open();
                FaultQueue second = FaultQueue.open(QueueConfig.of(4).withLargestGroup(4));
                AddressSpace other = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, second)) {
            var consumer = second.consumer();
            assertEquals(Result.OK, consumer.post(1, 4));
            consumer.submit();
            Device device = rig.device(DeviceConfig.pri("d"));
            Attachment attachment = device.attach(rig.space, 3);
            device.send(new PageRequest(NO_PASID, 400, BASE, PERM_READ, 0, false));
            Attachment fresh = attachment.replace(other);
            assertEquals(1, device.pageRequests().outstanding());
            consumer.poll((userData, group) -> {}, 0);
            rig.settle(device);
            device.send(new PageRequest(3, 400, BASE + PAGE, PERM_READ, 0, true));
            List<Long> addresses = new ArrayList<>();
            CompletionHandler handler = (userData, group) -> {
                for (int i = 0; i < group.size(); i++) {
                    addresses.add(group.address(i));
                }
                assertEquals(Result.OK, consumer.answer(group.cookie(), Answer.SUCCESS));
            };
            consumer.poll(handler, 10);
            consumer.submit();
            assertEquals(List.of(BASE, BASE + PAGE), addresses, "old pages surface through the new one");
            rig.settle(device);
            device.send(new PageRequest(NO_PASID, 401, BASE, PERM_READ, 0, false));
            fresh.detach();
            assertEquals(1, device.pageRequests().outstanding(), "another attachment still takes faults");
            device.close();
            assertEquals(1, device.pageRequests().discarded());
            assertTrue(second.accounting().balanced());
            consumer.close();
        }
    }

    @Test
    void objectModel62ATableOfAnotherIommuIsRefused() {
        try (Rig rig = Rig.open();
                Iommu elsewhere = Iommu.open(IommuConfig.small().withFrames(16));
                AddressSpace others = elsewhere.addressSpace(TableFormat.VTD_SECOND_4_LEVEL, rig.queue)) {
            Device device = rig.iommu.device(DeviceConfig.pri("d"));
            String message = "PAGING page table 1 of another Iommu: allowed those of the same";
            assertEquals(
                    message,
                    assertThrows(IllegalArgumentException.class, () -> device.attach(others))
                            .getMessage());
            Attachment attachment = device.attach(rig.space, 3);
            assertThrows(IllegalArgumentException.class, () -> attachment.replace(others));
            assertTrue(attachment.isAttached());
            assertThrows(
                    IllegalArgumentException.class,
                    () -> rig.iommu.nested(others.table(), TableFormat.X86_4_LEVEL, 0, null));
        }
    }

    @Test
    void objectModel62ReservedRegionsClashWithMappings() {
        ReservedRegion window = new ReservedRegion(0xfee0_0000L, 0xfeef_ffffL, ReservedRegion.Kind.RESERVED);
        ReservedRegion more = new ReservedRegion(0xfef0_0000L, 0xfef0_0fffL, ReservedRegion.Kind.RESERVED);
        ReservedRegion inside = new ReservedRegion(0xfee0_1000L, 0xfee0_1fffL, ReservedRegion.Kind.RESERVED);
        ReservedRegion far = new ReservedRegion(1L << 60, (1L << 60) + PAGE - 1, ReservedRegion.Kind.RESERVED);
        DeviceConfig config = DeviceConfig.pri("d").withReserved(far, inside, more, window);
        assertEquals(
                List.of(new ReservedRegion(0xfee0_0000L, 0xfef0_0fffL, ReservedRegion.Kind.RESERVED), far),
                config.reserved(),
                "sorted and merged");
        try (Rig rig = Rig.open()) {
            Device device = rig.iommu.device(config);
            assertTrue(rig.space.zero(0xfee0_1000L));
            IllegalStateException clash = assertThrows(IllegalStateException.class, () -> device.attach(rig.space));
            assertTrue(clash.toString().contains("0xfee00000 to 0xfef00fff"), clash::toString);
            assertTrue(rig.space.zero(0xfee0_2000L), "nothing has changed");
            Attachment pasid = device.attach(rig.space, 1);
            assertTrue(rig.space.zero(0xfee0_3000L), "a PASID reserves nothing");
            pasid.detach();
            assertTrue(rig.space.unmap(0xfee0_0000L, 4 * PAGE));
            Attachment attachment = device.attach(rig.space);
            assertThrows(IllegalArgumentException.class, () -> rig.space.zero(0xfee0_1000L));
            long frame = rig.iommu.frames().allocate();
            assertThrows(IllegalArgumentException.class, () -> rig.space.map(0xfef0_0000L, frame, PAGE, PERM_READ));
            rig.iommu.frames().free(frame);
            assertTrue(rig.space.zero(0xfef0_1000L), "behind it");
            Device second = rig.iommu.device(DeviceConfig.pri("e").withReserved(inside));
            second.attach(rig.space);
            attachment.detach();
            assertThrows(IllegalArgumentException.class, () -> rig.space.zero(0xfee0_1000L), "the other device's");
            assertTrue(rig.space.zero(0xfee0_2000L));
            try (AddressSpace other = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, rig.queue)) {
                assertTrue(other.zero(0xfee0_1000L));
                Attachment kept = device.attach(rig.space.table(), 2);
                kept.detach();
                assertThrows(IllegalStateException.class, () -> device.attach(other));
            }
        }
        assertThrows(IllegalArgumentException.class, () -> new ReservedRegion(1, 4095, ReservedRegion.Kind.RESERVED));
        assertThrows(
                IllegalArgumentException.class, () -> new ReservedRegion(4096, 4094, ReservedRegion.Kind.RESERVED));
    }

    @Test
    void aDirectRegionIsMappedOneToOneForTheDeviceThatHasIt() {
        ReservedRegion direct = new ReservedRegion(0x10_0000L, 0x10_ffffL, ReservedRegion.Kind.DIRECT);
        assertThrows(
                IllegalArgumentException.class,
                () -> DeviceConfig.pri("d")
                        .withReserved(
                                direct, new ReservedRegion(0x10_1000L, 0x10_1fffL, ReservedRegion.Kind.RESERVED)));
        try (Rig rig = Rig.open()) {
            Device device = rig.iommu.device(DeviceConfig.plain("d").withReserved(direct));
            assertThrows(IllegalArgumentException.class, () -> device.attach(rig.iommu.blocked()));
            Attachment attachment = device.attach(rig.iommu.identity());
            device.write(0x10_0000L, rig.bytes(8, 1));
            assertTrue(rig.space.zero(0x10_3000L));
            assertThrows(IllegalStateException.class, () -> attachment.replace(rig.space), "a page is there");
            assertTrue(attachment.isAttached());
            assertTrue(rig.space.unmap(0x10_3000L, PAGE));
            PageTable other = rig.space.addTable(TableFormat.ARM_4K_STAGE_1, null);
            Attachment mapped = attachment.replace(rig.space);
            MemorySegment back = rig.arena.allocate(8);
            device.read(0x10_0000L, back);
            assertEquals(-1, back.mismatch(rig.bytes(8, 1)), "the same memory");
            assertThrows(IllegalArgumentException.class, () -> rig.space.zero(0x10_3000L));
            assertEquals(
                    AreaResult.BUSY,
                    rig.space.areas().unmap(0x10_0000L, 0x1_0000L).result());
            Device second = rig.iommu.device(DeviceConfig.plain("e").withReserved(direct));
            Attachment too = second.attach(other);
            mapped.detach();
            second.read(0x10_0000L, back);
            too.detach();
            assertFalse(rig.space.isMapped(0x10_0000L));
            assertTrue(rig.space.zero(0x10_3000L));
            second.close();
            Device far = rig.iommu.device(DeviceConfig.plain("f")
                    .withReserved(new ReservedRegion(1L << 44, (1L << 44) + PAGE - 1, ReservedRegion.Kind.DIRECT)));
            assertThrows(IllegalArgumentException.class, () -> far.attach(rig.space), "no memory is there");
        }
    }

    @Test
    void aReservedRegionKeepsRangesOut() {
        ReservedRegion window = new ReservedRegion(0xfee0_0000L, 0xfeef_ffffL, ReservedRegion.Kind.RESERVED);
        try (Rig rig = Rig.open()) {
            long frame = rig.iommu.frames().allocate();
            Areas areas = rig.space.areas();
            Device device = rig.iommu.device(DeviceConfig.plain("d").withReserved(window));
            Backing memory = rig.iommu.memory(frame, PAGE);
            assertEquals(
                    AreaResult.DONE,
                    areas.map(memory, 0, PAGE, PERM_READ, 0xfee0_1000L).result());
            assertThrows(IllegalStateException.class, () -> device.attach(rig.space));
            assertEquals(AreaResult.DONE, areas.unmapAll().result());
            Attachment attachment = device.attach(rig.space);
            assertEquals(
                    AreaResult.RESERVED,
                    areas.map(memory, 0, PAGE, PERM_READ, 0xfee0_1000L).result());
            assertEquals(2, areas.ranges().size(), "before and after it, in the lower half");
            attachment.detach();
            assertEquals(1, areas.ranges().size());
            rig.iommu.frames().free(frame);
        }
    }

    @Test
    void blockedRefusesEverythingAndTakesTheDeviceOut() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            Attachment attachment = device.attach(rig.space, 3);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 3, 1);
            rig.settle(device);
            Attachment blocked = attachment.replace(rig.iommu.blocked());
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 3, 2);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.INVALID, 2L, AccessResult.BLOCKED), rig.results);
            Attachment back = blocked.replace(rig.space);
            assertTrue(rig.space.zero(BASE));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 3, 3);
            rig.settle(device);
            assertEquals(AccessResult.OK, rig.results.get(3L));
            back.detach();
            device.leave();
        }
    }

    @Test
    void attachmentsOfManyPasidsAreFoundAddedAndRemoved() {
        long seed = System.nanoTime();
        System.out.println("AttachTest.attachmentsOfManyPasids seed " + seed);
        Random random = new Random(seed);
        try (Rig rig = Rig.open()) {
            Device device = rig.iommu.device(DeviceConfig.plain("d"));
            Attachments attachments = new Attachments(16);
            Map<Integer, Attachment> model = new HashMap<>();
            for (int i = 0; i < 20_000; i++) {
                int pasid = random.nextInt(600) * 1031;
                Attachment known = model.get(pasid);
                assertSame(known, attachments.get(pasid));
                if (known == null) {
                    Attachment fresh = new Attachment(attachments.nextKey(), device, rig.space.table(), pasid, null);
                    attachments.add(fresh);
                    model.put(pasid, fresh);
                } else if (random.nextInt(4) == 0) {
                    Attachment fresh = new Attachment(attachments.nextKey(), device, rig.space.table(), pasid, null);
                    attachments.replace(known, fresh);
                    model.put(pasid, fresh);
                } else {
                    attachments.remove(known);
                    model.remove(pasid);
                }
                assertEquals(model.size(), attachments.size());
            }
            model.forEach((pasid, attachment) -> {
                assertSame(attachment, attachments.get(pasid));
                assertSame(attachment, attachments.at(attachment.place));
            });
            for (int pasid = 0; pasid < 1 << 16; pasid++) {
                device.attach(rig.space, pasid);
            }
            device.close();
        }
    }

    @Test
    void faultDelivery101NoFaultIsQueuedForAnAttachmentThatFails() {
        ReservedRegion region = new ReservedRegion(BASE, BASE + PAGE - 1, ReservedRegion.Kind.RESERVED);
        try (Rig rig = Rig.open()) {
            assertTrue(rig.space.zero(BASE));
            Device device = rig.enter(rig.iommu.device(DeviceConfig.pri("d").withReserved(region)), false);
            PageRequest request = new PageRequest(NO_PASID, 9, BASE + PAGE, PERM_READ, 0, true);
            assertThrows(IllegalStateException.class, () -> device.attach(rig.space), "its region is mapped");
            device.send(request);
            rig.settle(device);
            assertEquals(1, device.pageRequests().unhandled(), "no handler: INVALID");
            assertEquals(0, rig.accounting().raised());
            assertTrue(rig.space.unmap(BASE, PAGE), "and the space is as it was");
            assertTrue(rig.space.zero(BASE));
            assertTrue(rig.space.unmap(BASE, PAGE));
            Attachment attachment = device.attach(rig.space);
            rig.take();
            rig.settle(device);
            device.send(request);
            Rig.Seen group = rig.take().getFirst();
            assertEquals(9, group.index(), "only now is there somebody to ask");
            rig.answer(group, Answer.SUCCESS);
            rig.settle(device);
            attachment.detach();
            device.send(request);
            rig.settle(device);
            assertEquals(2, device.pageRequests().unhandled());
            assertEquals(1, rig.accounting().raised());
            assertTrue(device.pageRequests().balanced());
            device.leave();
        }
    }

    @Test
    void faultDelivery104WhatTheEndOfAQueueFindsIsAnsweredInvalid() {
        try (Iommu iommu = Iommu.open(IommuConfig.small())) {
            FaultQueue queue = FaultQueue.open(QueueConfig.of(2));
            AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, queue);
            Device device = iommu.device(DeviceConfig.pri("d"));
            var _ = device.attach(space);
            assertTrue(device.enter());
            var consumer = queue.consumer();
            assertEquals(Result.OK, consumer.post(1, 2));
            assertEquals(0, consumer.poll((userData, group) -> {}, 0));
            consumer.submit();
            MemorySegment into = MemorySegment.ofArray(new byte[8]);
            Map<Long, AccessResult> results = new HashMap<>();
            boolean _ = device.step();
            for (int i = 0; i < 5; i++) {
                assertEquals(Result.OK, device.start(Access.READ, BASE + (long) i * PAGE, into, 0, 8, NO_PASID, i));
            }
            assertTrue(device.step());
            boolean _ = device.step();
            assertEquals(2, consumer.poll((userData, group) -> {}, 2), "two were read, three wait");
            queue.close();
            assertEquals(5, queue.accounting().raised());
            assertEquals(0, queue.accounting().outstanding(), "read or not, the end answers it");
            assertTrue(queue.accounting().balanced());
            for (int i = 0; i < 100 && device.pending() > 0; i++) {
                boolean _ = device.step();
                int _ = device.poll(results::put);
            }
            assertEquals(5, results.size());
            results.values().forEach(result -> assertEquals(AccessResult.INVALID, result));
            assertEquals(Result.OK, device.start(Access.READ, BASE, into, 0, 8, NO_PASID, 5));
            for (int i = 0; i < 100 && device.pending() > 0; i++) {
                boolean _ = device.step();
                int _ = device.poll(results::put);
            }
            assertNotEquals(AccessResult.OK, results.get(5L), "nobody is asked any more");
            assertTrue(device.pageRequests().balanced());
            device.leave();
            device.close();
            space.close();
        }
    }
}
