package dev.faultline.ring;

import java.util.concurrent.atomic.AtomicInteger;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A thread that hands every group of a {@link FaultConsumer} to a {@link FaultHandler}.
 *
 * <p>Threads: the worker's own, a daemon; the methods here are for any. Ownership: who starts it closes it; it ends by itself
 * when its queue is closed. Progress: the loop waits as the queue was told to. Errors: a handler that throws, or returns null,
 * has its group answered {@link Answer#INVALID}; it is counted, the first time it is reported to the log, and the loop goes on.
 */
public final class FaultWorker implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(FaultWorker.class);
    private static final AtomicInteger NUMBER = new AtomicInteger();
    private static final long WAIT_NS = 1_000_000_000L;

    private final FaultConsumer consumer;
    private final FaultHandler handler;
    private final int reads;
    private final long closeLimitNs;
    private final Thread thread;
    private volatile boolean stopping;
    private volatile long failures;

    private FaultWorker(FaultConsumer consumer, FaultHandler handler, int reads, long closeLimitNs) {
        this.consumer = consumer;
        this.handler = handler;
        this.reads = reads;
        this.closeLimitNs = closeLimitNs;
        this.thread = Thread.ofPlatform()
                .name("faultline-worker-" + NUMBER.incrementAndGet())
                .daemon()
                .unstarted(this::loop);
    }

    static FaultWorker start(FaultConsumer consumer, FaultHandler handler, int reads, long closeLimitNs) {
        FaultWorker worker = new FaultWorker(consumer, handler, reads, closeLimitNs);
        worker.thread.start();
        return worker;
    }

    private void loop() {
        try (consumer) {
            Result result = consumer.post(0, reads);
            CompletionHandler each = this::handle;
            while (!stopping && result != Result.CLOSED) {
                result = consumer.await(each, 1, WAIT_NS);
            }
        }
    }

    private void handle(long userData, FaultGroup group) {
        if (stopping) {
            return;
        }
        int cookie = group.cookie();
        Answer answer;
        try {
            answer = handler.handle(group);
            if (answer == null) {
                throw new NullPointerException("the handler returned null: allowed SUCCESS, INVALID, LATER");
            }
        } catch (Throwable t) {
            failed(t);
            Result _ = consumer instanceof RingConsumer ring
                    ? ring.answerThrown(cookie)
                    : consumer.answerAndRepost(cookie, Answer.INVALID);
            return;
        }
        // STALE or CLOSED: the group was answered meanwhile, by the deadline or a close; there is nothing left to do
        // for it.
        Result _ = consumer.answerAndRepost(cookie, answer);
    }

    @SuppressWarnings("NonAtomicVolatileUpdate") // written by the worker's thread only
    private void failed(Throwable t) {
        if (failures++ == 0) {
            LOG.warn("A fault handler failed; its group is answered INVALID. Further failures are only counted.", t);
        }
    }

    /**
     * How many groups the handler failed on.
     *
     * @return exceptions and nulls so far
     */
    public long failures() {
        return failures;
    }

    /**
     * Whether the worker's thread has not ended.
     *
     * @return false after {@link #close}, and after the queue was closed
     */
    public boolean isRunning() {
        return thread.isAlive();
    }

    /**
     * The thread that calls the handler.
     *
     * @return the thread
     */
    public Thread thread() {
        return thread;
    }

    /**
     * Stops after the group at hand, and waits for that as long as the queue's close limit. A handler that does not return by
     * then keeps its thread, which ends when it does.
     */
    @Override
    public void close() {
        stopping = true;
        consumer.wake();
        if (Thread.currentThread() == thread) {
            return;
        }
        boolean interrupted = false;
        long end = System.nanoTime() + closeLimitNs;
        for (long left = closeLimitNs; left > 0 && thread.isAlive(); left = end - System.nanoTime()) {
            try {
                thread.join(java.time.Duration.ofNanos(left));
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
