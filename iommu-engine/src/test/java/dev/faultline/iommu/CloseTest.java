package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.Accounting;
import dev.faultline.ring.Answer;
import dev.faultline.ring.AutoAnswer;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

/** Detaching and closing, with groups in every state. */
class CloseTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGE = Frames.BYTES;

    @Test
    void detachAnswersWhatWaitsAndWhatWasDelivered() {
        try (Rig rig = new Rig(IommuConfig.small(), QueueConfig.of(2))) {
            Device device = rig.iommu.device(DeviceConfig.pri("d"));
            Attachment attachment = device.attach(rig.space);
            AddressSpace other = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, rig.queue);
            Attachment kept = device.attach(other, 3);
            assertTrue(device.enter());
            rig.take();
            for (int i = 0; i < 5; i++) {
                rig.start(device, Access.READ, BASE + (long) i * PAGE, rig.bytes(8, 0), i);
            }
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 5);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 3, 6);
            rig.settle(device);
            List<Rig.Seen> delivered = List.copyOf(rig.take());
            assertEquals(2, delivered.size(), "two reads were posted");
            assertEquals(6, rig.accounting().outstanding());
            attachment.detach();
            assertFalse(attachment.isAttached());
            assertEquals(1, rig.accounting().outstanding());
            assertEquals(Map.of(AutoAnswer.DETACH, 5L), rig.accounting().autoBy());
            rig.settle(device);
            for (long i = 0; i < 5; i++) {
                assertEquals(AccessResult.INVALID, rig.results.get(i));
            }
            assertEquals(AccessResult.NOT_ATTACHED, rig.results.get(5L), "it had not asked yet");
            assertFalse(rig.results.containsKey(6L), "another attachment's");
            for (Rig.Seen group : delivered) {
                Result late = rig.consumer.answerAndRepost(group.cookie(), Answer.SUCCESS);
                assertTrue(late == Result.STALE || late == Result.OK);
            }
            rig.consumer.submit();
            rig.settle(device);
            assertEquals(1, rig.accounting().outstanding(), "late answers change nothing");
            for (Rig.Seen group : List.copyOf(rig.take())) {
                assertEquals(3, group.pasid());
                other.zero(BASE);
                rig.answer(group, Answer.SUCCESS);
            }
            rig.settle(device);
            assertEquals(AccessResult.OK, rig.results.get(6L));
            Attachment again = device.attach(rig.space);
            assertTrue(again.key != attachment.key);
            attachment.detach();
            assertTrue(again.isAttached(), "an attachment ends only itself");
            kept.close();
            device.leave();
        }
    }

    @Test
    void detachDropsAGroupThatIsNotWhole() {
        try (Rig rig = new Rig(IommuConfig.small(), QueueConfig.of(4).withLargestGroup(4))) {
            // Half of a group, raised by a device model of our own on the same queue.
            FaultProducer raw = rig.queue.producer(4, (tag, code) -> {});
            assertTrue(raw.enter());
            assertEquals(Result.OK, raw.raise(5, 77, FaultProducer.NO_PASID, 0, BASE, 1, false));
            assertEquals(1, rig.accounting().outstanding());
            raw.revoke(tag -> tag == 5, AutoAnswer.DETACH);
            raw.leave();
            raw.close();
            Accounting accounting = rig.accounting();
            assertEquals(1, accounting.dropped());
            assertTrue(accounting.balanced());
        }
    }

    @Test
    void detachForgetsTranslations() {
        try (Rig rig = Rig.open();
                AddressSpace other = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, rig.queue)) {
            Device device = rig.iommu.device(DeviceConfig.pri("d"));
            Attachment attachment = device.attach(rig.space);
            assertTrue(device.enter());
            rig.start(device, Access.WRITE, BASE, rig.bytes(8, 1), 1);
            rig.finish(device);
            attachment.detach();
            Attachment second = device.attach(other);
            rig.start(device, Access.READ, BASE, rig.bytes(8, 1), 2);
            rig.settle(device);
            assertEquals(1, rig.accounting().outstanding(), "it has to ask in the other space");
            second.detach();
            rig.settle(device);
            assertEquals(AccessResult.INVALID, rig.results.get(2L));
            device.leave();
        }
    }

    @Test
    void detachByAnotherThreadIsDoneByTheOneThatSteps() throws Exception {
        try (Rig rig = Rig.open()) {
            Device device = rig.iommu.device(DeviceConfig.pri("d"));
            Attachment attachment = device.attach(rig.space);
            CountDownLatch entered = new CountDownLatch(1);
            AtomicBoolean stop = new AtomicBoolean();
            AtomicReference<Throwable> failure = new AtomicReference<>();
            Thread stepper = Thread.ofPlatform().start(() -> {
                try {
                    assertTrue(device.enter());
                    entered.countDown();
                    while (!stop.get()) {
                        if (!device.step()) {
                            boolean ignored = device.await(1_000_000);
                        }
                    }
                    device.leave();
                } catch (Throwable e) {
                    failure.set(e);
                }
            });
            entered.await();
            attachment.detach();
            for (int i = 0; i < 20; i++) {
                Attachment next = device.attach(rig.space);
                assertTrue(next.isAttached());
                assertThrows(IllegalStateException.class, () -> device.attach(rig.space));
                next.detach();
            }
            stop.set(true);
            stepper.join();
            assertEquals(null, failure.get());
        }
    }

    @Test
    void detachFailsABlockingAccessOfAnotherThread() throws Exception {
        try (Rig rig = Rig.open()) {
            Device device = rig.iommu.device(DeviceConfig.pri("d"));
            Attachment attachment = device.attach(rig.space);
            AtomicReference<AccessResult> reason = new AtomicReference<>();
            Thread reader = Thread.ofPlatform().start(() -> {
                try {
                    device.read(BASE, rig.bytes(8, 0));
                } catch (AccessFault e) {
                    reason.set(e.reason());
                }
            });
            while (rig.take().isEmpty()) {
                Thread.onSpinWait();
            }
            attachment.detach();
            reader.join();
            assertEquals(AccessResult.INVALID, reason.get());
        }
    }

    @Test
    void closingADeviceAnswersEverythingItAsked() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d").withAllocation(2));
            for (int i = 0; i < 4; i++) {
                rig.start(device, Access.READ, BASE + (long) i * PAGE, rig.bytes(8, 0), i);
            }
            rig.settle(device);
            rig.take();
            Counters before = rig.iommu.counters();
            device.close();
            assertFalse(device.enter());
            assertThrows(IllegalStateException.class, () -> device.attach(rig.space));
            assertThrows(AccessFault.class, () -> device.read(BASE, rig.bytes(8, 0)));
            device.close();
            assertEquals(2, rig.accounting().autoAnswered());
            assertEquals(before.accesses() + 4, rig.iommu.counters().accesses(), "a closed device still counts");
        }
    }

    @Test
    void aThreadThatHasEnteredFetchesWhatAnotherClosed() throws Exception {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.settle(device);
            Thread closer = Thread.ofPlatform().start(device::close);
            while (device.pending() > 0) {
                device.step();
                device.poll(rig.results::put);
            }
            assertEquals(Map.of(1L, AccessResult.INVALID), rig.results);
            assertEquals(
                    Result.CLOSED, device.start(Access.READ, BASE, rig.bytes(8, 0), 0, 8, FaultProducer.NO_PASID, 2));
            device.leave();
            closer.join();
        }
    }

    @Test
    void closingAnAddressSpaceDetachesItsDevices() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            Device second = rig.device(DeviceConfig.pri("e"));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.start(second, Access.WRITE, BASE + PAGE, rig.bytes(8, 0), 2);
            rig.settle(device, second);
            rig.space.close();
            assertEquals(2, rig.accounting().autoAnswered());
            rig.settle(device, second);
            assertEquals(Map.of(1L, AccessResult.INVALID, 2L, AccessResult.INVALID), rig.results);
            assertThrows(IllegalStateException.class, () -> rig.space.zero(BASE));
            assertThrows(IllegalStateException.class, () -> device.attach(rig.space));
            rig.space.close();
            assertEquals(rig.iommu.frames().total(), rig.iommu.frames().freeCount());
            device.leave();
            second.leave();
        }
    }

    @Test
    void goesOnFailingWhenTheQueueIsClosedFirst() {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(DeviceConfig.pri("d"));
            rig.start(device, Access.READ, BASE, rig.bytes(8, 0), 1);
            rig.settle(device);
            device.leave();
            rig.queue.close();
            assertTrue(device.enter());
            rig.start(device, Access.READ, BASE + PAGE, rig.bytes(8, 0), 2);
            rig.settle(device);
            assertEquals(Map.of(1L, AccessResult.INVALID, 2L, AccessResult.CLOSED), rig.results);
            assertEquals(Map.of(AutoAnswer.CLOSE, 1L), rig.accounting().autoBy());
            assertThrows(
                    IllegalStateException.class,
                    () -> rig.iommu.device(DeviceConfig.pri("e")).attach(rig.space));
            device.leave();
        }
    }

    @Test
    void failsAccessesAtTheDeadline() {
        try (Rig rig = new Rig(IommuConfig.small(), QueueConfig.of(4).withDeadlineNs(20_000_000))) {
            Device device = rig.iommu.device(DeviceConfig.pri("d"));
            device.attach(rig.space);
            AccessFault fault = assertThrows(AccessFault.class, () -> device.read(BASE, rig.bytes(8, 0)));
            assertEquals(AccessResult.INVALID, fault.reason());
            assertEquals(Map.of(AutoAnswer.DEADLINE, 1L), rig.accounting().autoBy());
        }
    }

    @Test
    void reportsFramesThatWereNotGivenBack() {
        Iommu iommu = Iommu.open(IommuConfig.small());
        AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, null);
        space.zero(BASE);
        long mine = iommu.frames().allocate();
        assertTrue(mine >= 0);
        IllegalStateException e = assertThrows(IllegalStateException.class, iommu::close);
        assertEquals("1 frames were not freed", e.getMessage());
        iommu.close();
        assertThrows(IllegalStateException.class, () -> iommu.device(DeviceConfig.plain("d")));
    }
}
