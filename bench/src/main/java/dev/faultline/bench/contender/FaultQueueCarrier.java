package dev.faultline.bench.contender;

import dev.faultline.ring.Answer;
import dev.faultline.ring.AnswerSink;
import dev.faultline.ring.CompletionHandler;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import dev.faultline.ring.Waiting;
import java.util.function.Function;

/**
 * The fault queue as a user has it: one lane, reads posted ahead, groups of one, each answer posting its read again.
 *
 * <p>Everything the queue does beside carrying is in the figure: groups, cookies that are checked, accounting, the 10 s deadline.
 */
final class FaultQueueCarrier implements Carrier, CompletionHandler, AnswerSink {

    private static final int ENTRIES = 256;
    private static final int LIMIT_ENTRIES = Integer.getInteger("faultline.lab.queueLimit", 32);
    private static final long USER_DATA = 1;

    private final Outstanding outstanding;
    private final FaultQueue queue;
    private final FaultProducer producer;
    private final FaultConsumer consumer;
    private boolean hasPosted;
    private long readFields;

    private FaultQueueCarrier(Outstanding outstanding, int window) {
        this.outstanding = outstanding;
        queue = FaultQueue.open(
                QueueConfig.of(ENTRIES).withWaiting(Waiting.SPIN).withLanes(1));
        producer = queue.producer(window, this);
        consumer = queue.consumer();
    }

    static Function<Outstanding, Carrier> carrier(int window) {
        return outstanding -> new FaultQueueCarrier(outstanding, window);
    }

    @Override
    public void begin() {
        if (!producer.enter()) {
            throw new IllegalStateException("another thread has entered the producer");
        }
    }

    @Override
    public void end() {
        producer.leave();
    }

    @Override
    public void beginServing() {
        if (!hasPosted) {
            expectOk(consumer.post(USER_DATA, ENTRIES));
            hasPosted = true;
        }
    }

    @Override
    public void endServing() {
        consumer.close();
    }

    @Override
    public void send(int tag, int group, long address) {
        expectOk(producer.raise(tag, DEVICE, PASID, group, address, ACCESS, true));
    }

    @Override
    public void flush() {
        // The poll that follows publishes.
    }

    @Override
    public void receive() {
        int answered = producer.poll();
        assert answered >= 0;
    }

    @Override
    public void answered(long tag, Answer code) {
        outstanding.answered(tag, code == Answer.SUCCESS);
    }

    @Override
    public int serve() {
        return consumer.poll(this, LIMIT_ENTRIES);
    }

    @Override
    public void group(long userData, FaultGroup group) {
        readFields += (group.hasPasid(0) ? 1 : 0)
                + group.device()
                + group.pasid(0)
                + group.groupIndex()
                + group.length(0)
                + group.address(0);
        Answer code = FaultRecord.answerTo(group.access(0)) == FaultRecord.SUCCESS ? Answer.SUCCESS : Answer.INVALID;
        expectOk(consumer.answerAndRepost(group.cookie(), code));
    }

    @Override
    public long readFields() {
        return readFields;
    }

    private static void expectOk(Result result) {
        if (result != Result.OK) {
            throw new IllegalStateException("result=" + result);
        }
    }

    @Override
    public void close() {
        queue.close();
    }
}
