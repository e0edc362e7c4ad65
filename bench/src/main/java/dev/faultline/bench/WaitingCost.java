package dev.faultline.bench;

import dev.faultline.ring.Accounting;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.FaultWorker;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import dev.faultline.ring.Waiting;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.Arrays;
import java.util.Locale;
import java.util.concurrent.locks.LockSupport;

/**
 * What each way of waiting costs: processor time of two ends that have nothing to do, and the time from a raised request to its
 * answer, when the other end has been idle for some milliseconds and when it is busy.
 *
 * <p>Threads: the caller's is the producer, a worker's the consumer; a core for each, or the figures are those of the scheduler.
 */
public final class WaitingCost {
    private static final int IDLE_MS = 2_000;
    private static final int WAKES = 1_000;
    private static final long IDLE_BEFORE_WAKE_NS = 2_000_000;
    private static final int TURNS = 300_000;
    private static final long LIMIT_NS = 10_000_000_000L;

    private final FaultQueue queue;
    private final FaultProducer producer;
    private int answered;

    private WaitingCost(FaultQueue queue) {
        this.queue = queue;
        this.producer = queue.producer(1, (tag, code) -> answered++);
    }

    /**
     * Measures, and prints a line for each way of waiting.
     *
     * @param args none
     */
    public static void main(String[] args) {
        System.out.println("              | idle, percent       | raise to answer, us");
        System.out.println("              | consumer | producer | idle p50 | p99   | busy p50");
        for (Waiting waiting : Waiting.values()) {
            try (FaultQueue queue = FaultQueue.open(QueueConfig.of(16).withWaiting(waiting))) {
                new WaitingCost(queue).measure(waiting);
                Accounting after = queue.accounting();
                if (!after.balanced() || after.outstanding() != 0) {
                    throw new IllegalStateException(after.toString());
                }
            }
        }
    }

    private void measure(Waiting waiting) {
        ThreadMXBean threads = ManagementFactory.getThreadMXBean();
        try (FaultWorker worker = queue.consumer().run(group -> Answer.SUCCESS)) {
            if (!producer.enter()) {
                throw new IllegalStateException("a new producer is entered");
            }
            turns(TURNS, 0);
            long consumerBefore = threads.getThreadCpuTime(worker.thread().threadId());
            long producerBefore = threads.getCurrentThreadCpuTime();
            long start = System.nanoTime();
            long end = start + IDLE_MS * 1_000_000L;
            while (System.nanoTime() < end) {
                boolean _ = producer.await(end - System.nanoTime());
            }
            double elapsed = System.nanoTime() - start;
            double consumer = threads.getThreadCpuTime(worker.thread().threadId()) - consumerBefore;
            double own = threads.getCurrentThreadCpuTime() - producerBefore;
            long[] idle = turns(WAKES, IDLE_BEFORE_WAKE_NS);
            long[] busy = turns(TURNS, 0);
            System.out.printf(
                    Locale.ROOT,
                    "%-14s| %8.2f | %8.2f | %8.1f | %5.1f | %8.2f%n",
                    waiting,
                    100 * consumer / elapsed,
                    100 * own / elapsed,
                    idle[idle.length / 2] / 1e3,
                    idle[idle.length * 99 / 100] / 1e3,
                    busy[busy.length / 2] / 1e3);
            producer.leave();
        }
    }

    /** One group after another, each after a while; nanoseconds in ascending order. */
    private long[] turns(int n, long pauseNs) {
        long[] took = new long[n];
        for (int i = 0; i < n; i++) {
            if (pauseNs > 0) {
                LockSupport.parkNanos(pauseNs);
            }
            answered = 0;
            long start = System.nanoTime();
            if (producer.raise(i, 1, FaultProducer.NO_PASID, 0, (long) i << 12, 1, true) != Result.OK) {
                throw new IllegalStateException(queue.dump());
            }
            while (producer.poll() == 0 && answered == 0) {
                if (!producer.await(LIMIT_NS)) {
                    throw new IllegalStateException("no answer in " + LIMIT_NS + " ns: " + queue.dump());
                }
            }
            took[i] = System.nanoTime() - start;
        }
        Arrays.sort(took);
        return took;
    }
}
