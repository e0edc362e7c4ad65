package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.PageResponseLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import org.junit.jupiter.api.Test;

/** Round trips after warm-up allocate nothing. */
class AllocationTest {
    private static final int WARM_UP = 50_000;
    private static final int COUNTED = 200_000;

    private static final class RoundTrips implements CompletionHandler, AnswerSink {
        final FaultQueue queue =
                FaultQueue.open(QueueConfig.of(64).withLargestGroup(2).withWaiting(Waiting.SPIN));
        final FaultProducer producer = queue.producer(64, this);
        final FaultConsumer consumer = queue.consumer();
        long answered;
        long sum;

        @Override
        public void group(long userData, FaultGroup group) {
            sum += group.address(0) + group.size() + group.device() + group.pasid(0) + group.access(0);
            if (consumer.answerAndRepost(group.cookie(), Answer.SUCCESS) != Result.OK) {
                throw new IllegalStateException();
            }
        }

        @Override
        public void answered(long tag, Answer code) {
            answered++;
        }

        void run(int count) {
            for (int i = 0; i < count; i++) {
                boolean pair = (i & 7) == 0;
                if (pair && producer.raise(i, 1, 1, i & 511, i, 1, false) != Result.OK) {
                    throw new IllegalStateException();
                }
                if (producer.raise(i, 1, 1, i & 511, i, 1, true) != Result.OK) {
                    throw new IllegalStateException();
                }
                if ((i & 15) == 15) {
                    producer.flush();
                    consumer.poll(this, 64);
                    consumer.submit();
                    producer.poll();
                }
            }
        }
    }

    @Test
    void aRoundTripAllocatesNothing() {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        RoundTrips trips = new RoundTrips();
        try (FaultQueue queue = trips.queue) {
            assertTrue(trips.producer.enter());
            assertEquals(Result.OK, trips.consumer.post(0, 64));
            trips.consumer.poll(trips, 1);
            trips.run(WARM_UP);
            long before = threads.getCurrentThreadAllocatedBytes();
            trips.run(COUNTED);
            long bytes = threads.getCurrentThreadAllocatedBytes() - before;
            assertEquals(WARM_UP + COUNTED, trips.answered);
            // The counter itself, and a compilation that deoptimises, may cost a few hundred bytes once; a fault costs
            // none.
            assertTrue(bytes < COUNTED / 100, () -> bytes + " bytes in " + COUNTED + " round trips");
            trips.producer.leave();
            assertTrue(queue.accounting().balanced());
            assertTrue(trips.sum != 0);
        }
    }

    @Test
    void aReadAndAWriteOfAFileAllocateNothing() {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long at = 0x1000;
        MemorySegment page = MemorySegment.ofArray(new long[512]);
        UserMemory memory = new UserMemory();
        memory.map(at, page, true);
        int burst = 16;
        int[] told = {0};
        try (FaultQueue queue =
                FaultQueue.open(QueueConfig.of(64).withLargestGroup(2).withWaiting(Waiting.SPIN))) {
            FaultProducer producer = queue.producer(64, (tag, code) -> told[0]++);
            FaultFile file = queue.file();
            assertTrue(producer.enter());
            long before = 0;
            for (int i = 0; i < WARM_UP + COUNTED; i += burst) {
                if (i == WARM_UP) {
                    before = threads.getCurrentThreadAllocatedBytes();
                }
                for (int tag = 0; tag < burst; tag++) {
                    // Some groups of two.
                    if ((tag & 7) == 0 && producer.raise(tag, 1, 1, tag, tag, 1, false) != Result.OK) {
                        throw new IllegalStateException();
                    }
                    if (producer.raise(tag, 1, 1, tag, tag, 1, true) != Result.OK) {
                        throw new IllegalStateException();
                    }
                }
                producer.flush();
                for (int group = 0; group < burst; group++) {
                    long size = (group & 7) == 0 ? 2 * PageFaultLayout.SIZE : PageFaultLayout.SIZE;
                    if (file.read(memory, at, size) != size) {
                        throw new IllegalStateException();
                    }
                    page.set(
                            ValueLayout.JAVA_INT_UNALIGNED,
                            1024,
                            page.get(ValueLayout.JAVA_INT_UNALIGNED, PageFaultLayout.COOKIE_OFFSET));
                    if (file.write(memory, at + 1024, PageResponseLayout.SIZE) != PageResponseLayout.SIZE) {
                        throw new IllegalStateException();
                    }
                }
                producer.poll();
            }
            long bytes = threads.getCurrentThreadAllocatedBytes() - before;
            assertEquals(WARM_UP + COUNTED, told[0]);
            assertTrue(bytes < COUNTED / 100, () -> bytes + " bytes for " + COUNTED + " faults");
            producer.leave();
            assertTrue(queue.accounting().balanced());
        }
    }
}
