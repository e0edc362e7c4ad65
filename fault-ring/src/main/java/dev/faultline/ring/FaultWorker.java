package dev.faultline.ring;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A thread that hands every group of a {@link FaultConsumer} to a {@link FaultHandler}, or all that are there to a {@link
 * BatchHandler}.
 *
 * <p>Threads: the worker's own, a daemon; the methods here are for any. Ownership: who starts it closes it; it ends by itself
 * when its queue is closed. Progress: the loop waits as the queue was told to. Errors: a handler that throws, or returns null,
 * has its group, or what it has not answered of its batch, answered {@link Answer#INVALID}; it is counted, the first time it is
 * reported to the log, and the loop goes on.
 */
public final class FaultWorker implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(FaultWorker.class);
    private static final AtomicInteger NUMBER = new AtomicInteger();
    private static final long WAIT_NS = 1_000_000_000L;

    private final FaultConsumer consumer;
    private final Round round;
    private final int reads;
    private final long closeLimitNs;
    private final Thread thread;
    private volatile boolean stopping;
    private volatile long failures;

    /** What a worker does over and over: waits for groups, and has them handled. */
    private interface Round extends AutoCloseable {
        Result next();

        @Override
        default void close() {}
    }

    private FaultWorker(FaultConsumer consumer, Function<FaultWorker, Round> round, int reads, long closeLimitNs) {
        this.consumer = consumer;
        this.round = round.apply(this);
        this.reads = reads;
        this.closeLimitNs = closeLimitNs;
        this.thread = Thread.ofPlatform()
                .name("faultline-worker-" + NUMBER.incrementAndGet())
                .daemon()
                .unstarted(this::loop);
    }

    static FaultWorker start(FaultConsumer consumer, FaultHandler handler, int reads, long closeLimitNs) {
        return start(new FaultWorker(consumer, worker -> worker.new Groups(handler), reads, closeLimitNs));
    }

    static FaultWorker start(
            FaultConsumer consumer, BatchHandler handler, FaultBatch batch, int reads, long closeLimitNs) {
        return start(new FaultWorker(consumer, worker -> worker.new Batches(handler, batch), reads, closeLimitNs));
    }

    private static FaultWorker start(FaultWorker worker) {
        worker.thread.start();
        return worker;
    }

    private void loop() {
        try (consumer;
                round) {
            Result result = consumer.post(0, reads);
            while (!stopping && result != Result.CLOSED) {
                result = round.next();
            }
        }
    }

    /** Group by group, where they lie. */
    private final class Groups implements Round, CompletionHandler {
        private final FaultHandler handler;

        Groups(FaultHandler handler) {
            this.handler = handler;
        }

        @Override
        public Result next() {
            return consumer.await(this, 1, WAIT_NS);
        }

        @Override
        public void group(long userData, FaultGroup group) {
            if (stopping) {
                return;
            }
            int cookie = group.cookie();
            Answer answer;
            try {
                answer = checked(handler.handle(group));
            } catch (Throwable t) {
                failed(t);
                answerThrown(cookie);
                return;
            }
            // STALE or CLOSED: the group was answered meanwhile, by the deadline or a close; there is nothing left to
            // do
            // for it.
            Result _ = consumer.answerAndRepost(cookie, answer);
        }
    }

    /** All groups that are there, copied. */
    private final class Batches implements Round, CompletionHandler {
        private final BatchHandler handler;
        private final FaultBatch batch;
        private final FaultGroup first = new FaultGroup();

        Batches(BatchHandler handler, FaultBatch batch) {
            this.handler = handler;
            this.batch = batch;
        }

        @Override
        public Result next() {
            batch.clear();
            fill();
            Result result = Result.OK;
            if (batch.size() == 0) {
                result = consumer.take(first, WAIT_NS);
                if (result == Result.OK) {
                    batch.add(first);
                    fill();
                }
            }
            if (batch.size() > 0 && !stopping) {
                handle();
            }
            return result;
        }

        private void fill() {
            while (batch.room() > 0 && consumer.poll(this, batch.room()) > 0) {}
        }

        @Override
        public void group(long userData, FaultGroup group) {
            batch.add(group);
        }

        private void handle() {
            Answer rest = null;
            try {
                rest = checked(handler.handle(batch));
            } catch (Throwable t) {
                failed(t);
            }
            for (int i = 0; i < batch.size(); i++) {
                if (batch.isAnswered(i)) {
                    continue;
                }
                if (rest == null) {
                    answerThrown(batch.group(i).cookie());
                } else {
                    Result _ = batch.answer(i, rest);
                }
            }
        }

        @Override
        public void close() {
            batch.free();
        }
    }

    private static Answer checked(@Nullable Answer answer) {
        if (answer == null) {
            throw new NullPointerException("the handler returned null: allowed SUCCESS, INVALID, LATER");
        }
        return answer;
    }

    private void answerThrown(int cookie) {
        Result _ = consumer instanceof RingConsumer ring
                ? ring.answerThrown(cookie)
                : consumer.answerAndRepost(cookie, Answer.INVALID);
    }

    @SuppressWarnings("NonAtomicVolatileUpdate") // written by the worker's thread only
    private void failed(Throwable t) {
        if (failures++ == 0) {
            LOG.warn(
                    "A fault handler failed; what it has not answered is INVALID. Further failures are only counted.",
                    t);
        }
    }

    /**
     * How often the handler failed.
     *
     * @return exceptions and nulls so far, one for a group, or for a batch
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
     * Stops after the group or the batch at hand, and waits for that as long as the queue's close limit. A handler that does not return by
     * then keeps its thread, which ends when it does.
     */
    @Override
    public void close() {
        stopping = true;
        consumer.wake();
        if (Thread.currentThread() == thread) {
            return;
        }
        OwnThread.join(thread, closeLimitNs);
    }
}
