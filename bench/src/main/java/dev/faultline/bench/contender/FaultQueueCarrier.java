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
final class FaultQueueCarrier {

    private static final int LEAST_ENTRIES = 256;
    private static final int LIMIT_ENTRIES = 256;
    private static final long USER_DATA = 1;

    private FaultQueueCarrier() {}

    static Function<Outstanding, Carrier> carrier(int window) {
        return outstanding -> {
            int entries = Math.max(LEAST_ENTRIES, 2 * window);
            FaultQueue queue = FaultQueue.open(
                    QueueConfig.of(entries).withWaiting(Waiting.SPIN).withLanes(1));
            Ask ask = new Ask(outstanding, queue, window);
            return new Carrier(ask, new Alone(queue.consumer(), entries), queue::close);
        };
    }

    private static final class Ask implements Requester, AnswerSink {
        private final Outstanding outstanding;
        private final FaultProducer producer;

        Ask(Outstanding outstanding, FaultQueue queue, int allocation) {
            this.outstanding = outstanding;
            this.producer = queue.producer(allocation, this);
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
        public void send(int tag, int group, long address) {
            expectOk(producer.raise(tag, DEVICE, PASID, group, address, ACCESS, true));
        }

        /** Publishes too. */
        @Override
        public void receive() {
            int answered = producer.poll();
            assert answered >= 0;
        }

        @Override
        public void answered(long tag, Answer code) {
            outstanding.answered(tag, code == Answer.SUCCESS);
        }
    }

    private abstract static class Serve extends Apart implements Responder, CompletionHandler {
        private final FaultConsumer consumer;
        private final int entries;
        private boolean hasPosted;
        private long readFields;

        Serve(FaultConsumer consumer, int entries) {
            this.consumer = consumer;
            this.entries = entries;
        }

        @Override
        public void begin() {
            if (!hasPosted) {
                expectOk(consumer.post(USER_DATA, entries));
                hasPosted = true;
            }
        }

        @Override
        public void end() {
            consumer.close();
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
            Answer code =
                    FaultRecord.answerTo(group.access(0)) == FaultRecord.SUCCESS ? Answer.SUCCESS : Answer.INVALID;
            expectOk(consumer.answerAndRepost(group.cookie(), code));
        }

        @Override
        public long readFields() {
            return readFields;
        }
    }

    @SuppressWarnings("unused") // they are there to take room
    private static final class Alone extends Serve {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(FaultConsumer consumer, int entries) {
            super(consumer, entries);
        }
    }

    private static void expectOk(Result result) {
        if (result != Result.OK) {
            throw new IllegalStateException("result=" + result);
        }
    }
}
