package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import org.junit.jupiter.api.Test;

/** Ends that have nothing to do take no processor time, unless they were asked to spin. */
class WaitingTest {
    private static final long IDLE_NS = 300_000_000;

    /** A thread that only sleeps takes some hundred microseconds; one that spins takes all of it. */
    private static final long MOST_NS = IDLE_NS / 4;

    private final ThreadMXBean threads = ManagementFactory.getThreadMXBean();

    /** What the calling thread's wait takes of the processor, and a worker's beside it. */
    private long[] cpuNs(FaultWorker worker, Runnable wait) {
        long workers = threads.getThreadCpuTime(worker.thread().threadId());
        long own = threads.getCurrentThreadCpuTime();
        wait.run();
        return new long[] {
            threads.getCurrentThreadCpuTime() - own,
            threads.getThreadCpuTime(worker.thread().threadId()) - workers
        };
    }

    @Test
    void bothEndsOfAQueueSleep() {
        try (FaultQueue queue = FaultQueue.open(QueueConfig.of(4));
                FaultWorker worker = queue.consumer().run(group -> Answer.SUCCESS)) {
            FaultProducer producer = queue.producer(4, (tag, code) -> {});
            assertTrue(producer.enter());
            for (int i = 0; i < 100; i++) {
                assertEquals(Result.OK, producer.raise(i, 1, 1, i, 0, 1, true));
                while (producer.poll() == 0) {
                    assertTrue(producer.await(10_000_000_000L));
                }
            }
            long[] used = cpuNs(worker, () -> assertFalse(producer.await(IDLE_NS)));
            assertTrue(used[0] < MOST_NS, () -> "the producer took " + used[0] + " ns of " + IDLE_NS);
            assertTrue(used[1] < MOST_NS, () -> "the consumer took " + used[1] + " ns of " + IDLE_NS);
            producer.leave();
        }
    }

    @Test
    void aConsumerOfADescriptorSleeps() throws Exception {
        try (SocketPeer peer = new SocketPeer();
                DescriptorConsumer consumer = DescriptorConsumer.open(peer.descriptor(), 4, 1)) {
            try (FaultWorker worker = consumer.run(group -> Answer.SUCCESS)) {
                peer.raise(1, 1);
                while (peer.takeAnswers(1_000) == 0) {}
                long[] used = cpuNs(worker, () -> {
                    try {
                        Thread.sleep(IDLE_NS / 1_000_000);
                    } catch (InterruptedException e) {
                        throw new IllegalStateException(e);
                    }
                });
                assertTrue(used[1] < MOST_NS, () -> "the consumer took " + used[1] + " ns of " + IDLE_NS);
            }
            assertEquals(1, consumer.accounting().answered());
            assertTrue(consumer.accounting().balanced());
        }
    }

    @Test
    void whoWaitsAtTheFileLikeDoorSleeps() {
        try (FaultQueue queue = FaultQueue.open(QueueConfig.of(4))) {
            FaultFile file = queue.file();
            long before = threads.getCurrentThreadCpuTime();
            assertEquals(0, file.poll(FaultFile.POLLIN, IDLE_NS));
            long used = threads.getCurrentThreadCpuTime() - before;
            assertTrue(used < MOST_NS, () -> "it took " + used + " ns of " + IDLE_NS);
        }
    }
}
