package dev.faultline.bench.contender;

import dev.faultline.bench.contender.Events.Fault;
import dev.faultline.bench.contender.Events.Reply;
import dev.faultline.ffm.PaddedBefore;
import java.util.function.Function;
import org.jctools.queues.MessagePassingQueue;
import org.jctools.queues.SpscArrayQueue;

/**
 * A JCTools single-producer single-consumer array queue each way, relaxed offers, drained in batches; the objects are made once and used again.
 *
 * <p>Its process runs with conditional card marks: without them both threads write the same line of the collector's card table with every
 * reference they store, and the rate halves.
 */
final class JctoolsCarrier {

    private static final int LEAST_ENTRIES = 256;
    private static final int LEAST_BATCH_ENTRIES = 16;

    private JctoolsCarrier() {}

    static Function<Outstanding, Carrier> carrier(int window) {
        return outstanding -> {
            int entries = Math.max(LEAST_ENTRIES, 4 * window);
            MessagePassingQueue<Fault> faults = new SpscArrayQueue<>(entries);
            MessagePassingQueue<Reply> replies = new SpscArrayQueue<>(entries);
            return new Carrier(new Ask(outstanding, window, faults, replies), new Alone(window, faults, replies));
        };
    }

    private static int batchEntries(int window) {
        return Math.max(LEAST_BATCH_ENTRIES, window / 4);
    }

    private static final class Ask implements Requester, MessagePassingQueue.Consumer<Reply> {
        private final Outstanding outstanding;
        private final MessagePassingQueue<Fault> faults;
        private final MessagePassingQueue<Reply> replies;
        private final Fault[] faultOfTag;
        private final int batchEntries;

        Ask(
                Outstanding outstanding,
                int window,
                MessagePassingQueue<Fault> faults,
                MessagePassingQueue<Reply> replies) {
            this.outstanding = outstanding;
            this.faults = faults;
            this.replies = replies;
            batchEntries = batchEntries(window);
            faultOfTag = new Fault[window];
            for (int tag = 0; tag < window; tag++) {
                faultOfTag[tag] = new Fault();
                faultOfTag[tag].tag = tag;
            }
        }

        @Override
        public void send(int tag, int group, long address) {
            Fault fault = faultOfTag[tag];
            fault.flags = FaultRecord.FLAGS;
            fault.device = DEVICE;
            fault.pasid = PASID;
            fault.group = group;
            fault.access = ACCESS;
            fault.address = address;
            fault.length = FaultRecord.LENGTH;
            if (!faults.relaxedOffer(fault)) {
                throw new IllegalStateException("queue full");
            }
        }

        @Override
        public void receive() {
            int taken = replies.drain(this, batchEntries);
            assert taken >= 0;
        }

        @Override
        public void accept(Reply reply) {
            outstanding.answered(reply.tag, reply.code == FaultRecord.SUCCESS);
        }
    }

    private abstract static class Serve extends PaddedBefore implements Responder, MessagePassingQueue.Consumer<Fault> {
        private final MessagePassingQueue<Fault> faults;
        private final MessagePassingQueue<Reply> replies;
        private final Reply[] replyOfTag;
        private final int batchEntries;
        private long readFields;

        Serve(int window, MessagePassingQueue<Fault> faults, MessagePassingQueue<Reply> replies) {
            this.faults = faults;
            this.replies = replies;
            batchEntries = batchEntries(window);
            replyOfTag = new Reply[window];
            for (int tag = 0; tag < window; tag++) {
                replyOfTag[tag] = new Reply();
                replyOfTag[tag].tag = tag;
            }
        }

        @Override
        public int serve() {
            return faults.drain(this, batchEntries);
        }

        @Override
        public void accept(Fault fault) {
            readFields += fault.flags + fault.device + fault.pasid + fault.group + fault.length + fault.address;
            Reply reply = replyOfTag[fault.tag];
            reply.code = FaultRecord.answerTo(fault.access);
            if (!replies.relaxedOffer(reply)) {
                throw new IllegalStateException("queue full");
            }
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

        Alone(int window, MessagePassingQueue<Fault> faults, MessagePassingQueue<Reply> replies) {
            super(window, faults, replies);
        }
    }
}
