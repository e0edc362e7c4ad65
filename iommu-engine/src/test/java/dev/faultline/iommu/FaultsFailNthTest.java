package dev.faultline.iommu;

import static dev.faultline.ring.FaultProducer.NO_PASID;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.FailNthTest.FailingOnce;
import dev.faultline.ring.Answer;
import dev.faultline.ring.QueueConfig;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * Devices that fault and a handler that maps, again and again: each time another allocation fails. Every fault is answered, what
 * failed is asked for again, no byte is lost, and at the end every frame is back and every group accounted for.
 */
class FaultsFailNthTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGES = 6;

    private int refused;

    /** Each in tables of its own. */
    private static long address(int i) {
        return BASE + i * ((1L << 30) + Frames.BYTES);
    }

    @Test
    void whicheverAllocationFailsEveryFaultIsAnswered() {
        int n = 0;
        while (course(n)) {
            assertEquals(1, refused, n + ": the group whose page could not be had");
            n++;
        }
        assertTrue(n > 3 * PAGES, n + " allocations");
        assertEquals(0, refused);
    }

    /** Whether an allocation failed. */
    private boolean course(int n) {
        refused = 0;
        try (Rig rig =
                new Rig(IommuConfig.small().withFrames(512), QueueConfig.of(8).withLargestGroup(4))) {
            Frames frames = rig.iommu.frames();
            AddressSpace[] made = new AddressSpace[1];
            FailingOnce failing = new FailingOnce(frames.allocator(), n + 2);
            frames.allocator(failing);
            // The roots are two allocations, which here succeed.
            made[0] = rig.iommu.addressSpace(TableFormat.X86_4_LEVEL, rig.queue);
            try (AddressSpace space = made[0]) {
                PageTable other = space.addTable(TableFormat.ARM_4K_STAGE_1, rig.queue);
                Device one = rig.enter(rig.iommu.device(DeviceConfig.pri("one").withGroupPages(2)), false);
                Device two = rig.enter(rig.iommu.device(DeviceConfig.stalling("two")), false);
                one.attach(space, 3);
                two.attach(other);
                for (Device device : List.of(one, two)) {
                    // The consumer sees the lane, and the lane the consumer's reads.
                    assertEquals(List.of(), rig.take());
                    rig.consumer.submit();
                    rig.settle(device);
                }
                for (int i = 0; i < PAGES; i++) {
                    start(rig, i % 2 == 0 ? one : two, i);
                }
                for (int turn = 0;
                        rig.results.values().stream()
                                        .filter(r -> r == AccessResult.OK)
                                        .count()
                                < PAGES;
                        turn++) {
                    assertTrue(turn < 1000, () -> rig.queue.dump());
                    rig.settle(one, two);
                    serve(rig, space);
                    rig.settle(one, two);
                    for (int i = 0; i < PAGES; i++) {
                        if (rig.results.get((long) i) == AccessResult.INVALID) {
                            rig.results.remove((long) i);
                            start(rig, i % 2 == 0 ? one : two, i);
                        }
                    }
                }
                assertEquals(0, rig.accounting().outstanding());
                MemorySegment into = rig.arena.allocate(Frames.BYTES);
                for (int i = 0; i < PAGES; i++) {
                    // Written through one table, read through the other.
                    if (i % 2 == 0) {
                        two.read(address(i), into.asSlice(0, 8));
                    } else {
                        one.read(address(i), into.asSlice(0, 8), 3);
                    }
                    assertEquals(40 + i, into.get(ValueLayout.JAVA_LONG, 0));
                    assertEquals(Eviction.DIRTY, space.evict(address(i), into));
                }
                one.leave();
                two.leave();
            }
            frames.allocator(failing.real());
            assertEquals(frames.total() - 1, frames.freeCount(), "but the root of the rig's own");
            return failing.hasFailed();
        }
    }

    private static void start(Rig rig, Device device, int i) {
        MemorySegment value = rig.arena.allocate(8);
        value.set(ValueLayout.JAVA_LONG, 0, 40 + i);
        rig.start(device, Access.WRITE, address(i), value, i % 2 == 0 ? 3 : NO_PASID, i);
    }

    private void serve(Rig rig, AddressSpace space) {
        for (Rig.Seen group : List.copyOf(rig.take())) {
            Answer answer = Answer.SUCCESS;
            for (long address : group.addresses()) {
                try {
                    space.zero(address);
                } catch (OutOfFrames e) {
                    refused++;
                    answer = Answer.INVALID;
                }
            }
            rig.answer(group, answer);
        }
    }
}
