package dev.faultline.bench.contender;

import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import dev.faultline.ring.Waiting;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/** The processor time of every thread that something starts, while it has nothing to do. */
final class IdleThreads implements Gauge.Sampler {

    private static final int ENTRIES = 256;
    private static final int USES = 100_000;

    /** As {@link dev.faultline.ring.FaultWorker} waits. */
    private static final long AWAIT_LIMIT_NS = TimeUnit.SECONDS.toNanos(1);

    /** As the queue looks after a deadline of 10 seconds. */
    private static final long KEEPER_PERIOD_NS = TimeUnit.MILLISECONDS.toNanos(500);

    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

    private final Set<Long> threads;

    private IdleThreads(Runnable start) {
        Set<Long> before = threads();
        start.run();
        threads = threads();
        threads.removeAll(before);
    }

    /**
     * A queue with a producer, reads posted, a consumer in {@code await} and a deadline. It has carried faults before, since code that was never
     * used costs more the first times.
     *
     * @param waiting how it waits
     * @return its threads
     */
    static Gauge.Sampler ofQueue(Waiting waiting) {
        return new IdleThreads(new Queue(waiting));
    }

    /**
     * Two threads that do nothing but sleep, as often as those of the queue wake up: what the machine charges for that.
     *
     * @return the threads
     */
    static Gauge.Sampler ofSleepers() {
        return new IdleThreads(() -> {
            sleep(AWAIT_LIMIT_NS);
            sleep(KEEPER_PERIOD_NS);
        });
    }

    private static void sleep(long ns) {
        Thread.ofPlatform().daemon().start(() -> {
            while (true) {
                LockSupport.parkNanos(ns);
            }
        });
    }

    private static final class Queue implements Runnable {
        private final Waiting waiting;
        private int answered;

        Queue(Waiting waiting) {
            this.waiting = waiting;
        }

        @Override
        public void run() {
            FaultQueue queue = FaultQueue.open(QueueConfig.of(ENTRIES).withWaiting(waiting));
            FaultProducer producer = queue.producer(ENTRIES, (tag, code) -> answered++);
            FaultConsumer consumer = queue.consumer();
            Thread.ofPlatform().daemon().name("consumer").start(() -> consume(consumer));
            if (!producer.enter()) {
                throw new IllegalStateException("another thread has entered the producer");
            }
            for (int i = 0; i < USES; i++) {
                int before = answered;
                QueueResponder.expectOk(producer.raise(
                        i, Requester.DEVICE, Requester.PASID, 0, (long) i << 12, Requester.ACCESS, true));
                while (answered == before) {
                    if (producer.poll() == 0) {
                        Thread.onSpinWait();
                    }
                }
            }
            producer.leave();
        }

        private static void consume(FaultConsumer consumer) {
            Result result = consumer.post(0, ENTRIES);
            while (result == Result.OK || result == Result.TIMED_OUT) {
                result = consumer.await(
                        (userData, group) ->
                                QueueResponder.expectOk(consumer.answerAndRepost(group.cookie(), Answer.SUCCESS)),
                        1,
                        AWAIT_LIMIT_NS);
            }
        }
    }

    private static Set<Long> threads() {
        Set<Long> ids = new HashSet<>();
        for (long id : THREADS.getAllThreadIds()) {
            ids.add(id);
        }
        return ids;
    }

    private long cpuNs() {
        long sum = 0;
        for (long id : threads) {
            long ns = THREADS.getThreadCpuTime(id);
            if (ns < 0) {
                throw new IllegalStateException("thread=" + id + " has ended, or its time is not told");
            }
            sum += ns;
        }
        return sum;
    }

    /** Percent of one core. */
    @Override
    public double sample(long ns) throws InterruptedException {
        long cpuBefore = cpuNs();
        long begun = System.nanoTime();
        Thread.sleep(TimeUnit.NANOSECONDS.toMillis(ns));
        long cpu = cpuNs() - cpuBefore;
        return 100.0 * cpu / (System.nanoTime() - begun);
    }
}
