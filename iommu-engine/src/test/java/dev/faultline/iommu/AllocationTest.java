package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.sun.management.ThreadMXBean;
import dev.faultline.ring.Answer;
import dev.faultline.ring.CompletionHandler;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class AllocationTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGES = 64;

    private final ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    private long finished;

    @ParameterizedTest
    @ValueSource(ints = {1, 4})
    void startStepAndPollAllocateNothing(int groupPages) {
        try (Rig rig = Rig.open()) {
            Device device = rig.device(
                    DeviceConfig.pri("d").withTlbEntries(16).withWindow(8).withGroupPages(groupPages));
            MemorySegment heap = MemorySegment.ofArray(new byte[64]);
            MemorySegment store = rig.bytes(Frames.BYTES, 0);
            AccessSink sink = (tag, result) -> finished += result == AccessResult.OK ? 1 : 0;
            CompletionHandler handler = new CompletionHandler() {
                @Override
                public void group(long userData, FaultGroup group) {
                    for (int i = 0; i < group.size(); i++) {
                        rig.space.zero(group.address(i));
                    }
                    if (rig.consumer.answerAndRepost(group.cookie(), Answer.SUCCESS) != Result.OK) {
                        throw new AssertionError("answer");
                    }
                }
            };
            long least = Long.MAX_VALUE;
            for (int round = 0; round < 60; round++) {
                long before = threads.getCurrentThreadAllocatedBytes();
                long atStart = finished;
                for (int i = 0; i < 2000; i++) {
                    long address = BASE + (long) (i * 7 % PAGES) * Frames.BYTES + 32;
                    Access access = (i & 1) == 0 ? Access.WRITE : Access.READ;
                    if (device.start(access, address, heap, 0, 64, FaultProducer.NO_PASID, i) != Result.OK) {
                        throw new AssertionError("start");
                    }
                    while (device.poll(sink) == 0) {
                        device.step();
                        rig.consumer.poll(handler, 64);
                        rig.consumer.submit();
                    }
                    if (i % 5 == 0) {
                        rig.space.evict(address, store);
                    }
                }
                assertEquals(2000, finished - atStart);
                least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
            }
            assertEquals(0, least, "bytes in the best of the rounds");
            device.leave();
        }
    }
}
