package dev.faultline.bench.contender;

import dev.faultline.ring.Accounting;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Waiting;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryMXBean;
import java.util.concurrent.TimeUnit;

/**
 * All the memory of a queue over the groups it has open: what {@link FaultQueue#heldBytes} says, and what the heap has grown by between two
 * collections, one before the queue was opened and one when every group was delivered and said LATER to.
 */
final class OpenGroupBytes implements Gauge.Sampler {

    private static final int GROUPS = 1 << 20;
    private static final int ENTRIES = 256;
    private static final long DEADLINE_NS = TimeUnit.HOURS.toNanos(1);
    private static final MemoryMXBean MEMORY = ManagementFactory.getMemoryMXBean();

    private static long usedHeapBytes() {
        MEMORY.gc();
        return MEMORY.getHeapMemoryUsage().getUsed();
    }

    /** Bytes for each open group. */
    @Override
    public double sample(long ns) {
        long before = usedHeapBytes();
        try (FaultQueue queue = FaultQueue.open(
                QueueConfig.of(ENTRIES).withLanes(1).withWaiting(Waiting.SPIN).withDeadlineNs(DEADLINE_NS))) {
            FaultProducer producer = queue.producer(GROUPS, (tag, code) -> {});
            FaultConsumer consumer = queue.consumer();
            if (!producer.enter()) {
                throw new IllegalStateException("another thread has entered the producer");
            }
            QueueResponder.expectOk(consumer.post(0, ENTRIES));
            int delivered = 0;
            for (int raised = 0; delivered < GROUPS; ) {
                for (int i = 0; i < ENTRIES && raised < GROUPS; i++, raised++) {
                    QueueResponder.expectOk(producer.raise(
                            raised, Requester.DEVICE, Requester.PASID, 0, (long) raised << 12, Requester.ACCESS, true));
                }
                int told = producer.poll();
                delivered += consumer.poll(
                        (userData, group) ->
                                QueueResponder.expectOk(consumer.answerAndRepost(group.cookie(), Answer.LATER)),
                        ENTRIES);
                if (told != 0) {
                    throw new IllegalStateException("answered=" + told + ": nobody has answered anything");
                }
            }
            int told = producer.poll();
            producer.leave();
            Accounting accounting = queue.accounting();
            if (told != 0 || accounting.outstanding() != GROUPS) {
                throw new IllegalStateException("outstanding is not " + GROUPS + ": " + accounting);
            }
            double bytes = queue.heldBytes() + usedHeapBytes() - before;
            consumer.close();
            return bytes / GROUPS;
        }
    }
}
