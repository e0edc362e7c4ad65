package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Region;
import dev.faultline.ring.Accounting;
import dev.faultline.ring.Answer;
import dev.faultline.ring.CompletionHandler;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * An IOMMU, a queue and one address space, with devices and consumer stepped by the thread of the test. Closing it asserts
 * that every group is accounted for, every frame is back, and all memory is freed.
 */
final class Rig implements AutoCloseable {
    /** A group as the consumer saw it. */
    record Seen(
            int cookie,
            int device,
            int index,
            List<Long> addresses,
            List<Integer> accesses,
            int pasid,
            List<Long> lengths) {}

    final Iommu iommu;
    final FaultQueue queue;
    final FaultConsumer consumer;
    final AddressSpace space;
    final Arena arena = Arena.ofShared();
    final List<Seen> seen = new ArrayList<>();
    final Map<Long, AccessResult> results = new LinkedHashMap<>();
    final List<Device> devices = new ArrayList<>();
    long expectedOutstanding;

    private final long bytesAtStart = Region.openBytes();
    private final long framesAtStart;
    private final CompletionHandler notes = this::note;

    Rig(IommuConfig config, QueueConfig queueConfig) {
        iommu = Iommu.open(config);
        framesAtStart = iommu.frames().freeCount();
        queue = FaultQueue.open(queueConfig);
        consumer = queue.consumer();
        space = iommu.addressSpace(TableFormat.X86_4_LEVEL, queue);
        assertEquals(Result.OK, consumer.post(1, queueConfig.entries()));
        consumer.submit();
    }

    static Rig open() {
        return new Rig(IommuConfig.small(), QueueConfig.of(64).withLargestGroup(64));
    }

    /** A device that this thread has entered, attached to the space. */
    Device device(DeviceConfig config) {
        return enter(iommu.device(config), true);
    }

    /** Attaches a device to the space if wanted, and enters it. */
    Device enter(Device device, boolean attaches) {
        devices.add(device);
        if (attaches) {
            device.attach(space);
        }
        assertTrue(device.enter());
        // The consumer sees the new lane, and the lane the reads it posts there.
        consumer.poll(notes, 0);
        consumer.submit();
        settle(device);
        return device;
    }

    /** Takes what has come to the consumer, without answering. */
    List<Seen> take() {
        int before = seen.size();
        consumer.poll(notes, Integer.MAX_VALUE);
        return seen.subList(before, seen.size());
    }

    void answer(Seen group, Answer code) {
        assertEquals(Result.OK, consumer.answerAndRepost(group.cookie, code));
        consumer.submit();
    }

    /** Maps zeroes for what has come, and answers. */
    int serve() {
        int n = 0;
        for (Seen group : List.copyOf(take())) {
            for (long address : group.addresses) {
                space.zero(address);
            }
            answer(group, Answer.SUCCESS);
            n++;
        }
        return n;
    }

    /** Steps until nothing moves. */
    void settle(Device... devices) {
        boolean moved = true;
        while (moved) {
            moved = false;
            for (Device device : devices) {
                for (int i = 0; i < 40; i++) {
                    moved |= device.step();
                }
                device.poll(results::put);
            }
        }
    }

    /** Steps and serves until no access is pending. */
    void finish(Device... devices) {
        for (int i = 0; i < 10_000; i++) {
            settle(devices);
            int pending = 0;
            for (Device device : devices) {
                pending += device.pending();
            }
            if (pending == 0) {
                return;
            }
            serve();
        }
        throw new AssertionError("accesses stay pending: " + queue.dump());
    }

    void start(Device device, Access access, long address, MemorySegment buffer, long tag) {
        start(device, access, address, buffer, FaultProducer.NO_PASID, tag);
    }

    void start(Device device, Access access, long address, MemorySegment buffer, int pasid, long tag) {
        assertEquals(Result.OK, device.start(access, address, buffer, 0, (int) buffer.byteSize(), pasid, tag));
    }

    MemorySegment bytes(int size, int first) {
        MemorySegment segment = arena.allocate(size);
        for (int i = 0; i < size; i++) {
            segment.set(ValueLayout.JAVA_BYTE, i, (byte) (first + i));
        }
        return segment;
    }

    /** A byte, by a blocking read. */
    byte read(Device device, long address) {
        MemorySegment into = arena.allocate(1);
        device.read(address, into);
        return into.get(ValueLayout.JAVA_BYTE, 0);
    }

    /** A page's worth of one byte. */
    MemorySegment page(int content) {
        return arena.allocate(Frames.BYTES).fill((byte) content);
    }

    Accounting accounting() {
        return queue.accounting();
    }

    @Override
    public void close() {
        for (Device device : devices) {
            PageRequestCounters messages = device.pageRequests();
            assertTrue(messages.balanced(), () -> device + ": " + messages);
        }
        Accounting before = queue.accounting();
        assertTrue(before.balanced(), before::toString);
        assertEquals(expectedOutstanding, before.outstanding(), before::toString);
        Iommu closing = iommu;
        Frames frames = closing.frames();
        long total = frames.total();
        assertEquals(total, framesAtStart);
        // Throws if a frame is not back.
        closing.close();
        Accounting after = queue.accounting();
        assertTrue(after.balanced(), after::toString);
        assertEquals(0, after.outstanding(), after::toString);
        consumer.close();
        queue.close();
        Accounting last = queue.accounting();
        assertTrue(last.balanced(), last::toString);
        // Less, if what an earlier test left has gone since.
        assertTrue(
                Region.openBytes() <= bytesAtStart, () -> Region.openBytes() - bytesAtStart + " bytes are not freed");
        arena.close();
    }

    private void note(long userData, FaultGroup group) {
        List<Long> addresses = new ArrayList<>();
        List<Integer> accesses = new ArrayList<>();
        List<Long> lengths = new ArrayList<>();
        for (int i = 0; i < group.size(); i++) {
            addresses.add(group.address(i));
            accesses.add(group.access(i));
            lengths.add(group.length(i));
        }
        seen.add(new Seen(
                group.cookie(),
                group.device(),
                group.groupIndex(),
                addresses,
                accesses,
                group.hasPasid(0) ? group.pasid(0) : FaultProducer.NO_PASID,
                lengths));
    }
}
