package dev.faultline.bench.contender;

import dev.faultline.ring.Answer;
import dev.faultline.ring.AnswerSink;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Waiting;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/**
 * The fault queue as a user has it: lanes, reads posted ahead, groups of one, each answer posting its read again.
 *
 * <p>Everything the queue does beside carrying is in the figure: groups, cookies that are checked, accounting, a deadline.
 */
final class FaultQueueCarrier {

    private static final int LEAST_ENTRIES = 256;

    /** Groups that are held stay open between slices, while others have their turns. */
    private static final long LONG_DEADLINE_NS = TimeUnit.HOURS.toNanos(1);

    private FaultQueueCarrier() {}

    /** The usual settings for a number of requests under way on each of some lanes. */
    static QueueConfig config(int window, int lanes) {
        return QueueConfig.of(Math.max(LEAST_ENTRIES, 2 * window))
                .withWaiting(Waiting.SPIN)
                .withLanes(lanes);
    }

    /** One lane; both ends spin. */
    static Function<Outstanding, Carrier> carrier(int window) {
        return outstanding -> {
            FaultQueue queue = FaultQueue.open(config(window, 1));
            return carrier(outstanding, queue, window, QueueResponder.of(queue));
        };
    }

    /** One lane; the responder holds the latest groups and answers the oldest. */
    static Function<Outstanding, Carrier> late(int window, int held) {
        return outstanding -> {
            FaultQueue queue = FaultQueue.open(config(window, 1).withDeadlineNs(LONG_DEADLINE_NS));
            return carrier(outstanding, queue, window + held, new LateResponder(queue, held));
        };
    }

    /** One lane; the responder sleeps when nothing is there. */
    static Function<Outstanding, Carrier> parked(int window) {
        return outstanding -> {
            FaultQueue queue = FaultQueue.open(config(window, 1).withWaiting(Waiting.SPIN_THEN_PARK));
            return carrier(outstanding, queue, window, new ParkedResponder(queue));
        };
    }

    private static Carrier carrier(Outstanding outstanding, FaultQueue queue, int allocation, Responder responder) {
        Lane lane = new Lane(outstanding, queue, allocation);
        return new Carrier(lane, responder, () -> {
            lane.isClosing = true;
            queue.close();
        });
    }

    /** A producer's lane, driven by hand. */
    static final class Lane implements Requester, AnswerSink {
        private final Outstanding outstanding;
        private final FaultProducer producer;

        /** Set when the queue is closed, which answers what a responder holds. */
        private boolean isClosing;

        Lane(Outstanding outstanding, FaultQueue queue, int allocation) {
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
            QueueResponder.expectOk(producer.raise(tag, DEVICE, PASID, group, address, ACCESS, true));
        }

        /** Publishes too. */
        @Override
        public void receive() {
            int answered = producer.poll();
            assert answered >= 0;
        }

        @Override
        public void answered(long tag, Answer code) {
            if (code == Answer.INVALID && isClosing) {
                return;
            }
            outstanding.answered(tag, code == Answer.SUCCESS);
        }
    }
}
