package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
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
}
