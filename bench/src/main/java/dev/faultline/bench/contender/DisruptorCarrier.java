package dev.faultline.bench.contender;

import com.lmax.disruptor.BusySpinWaitStrategy;
import com.lmax.disruptor.RingBuffer;
import com.lmax.disruptor.Sequence;
import dev.faultline.bench.contender.Events.Fault;
import dev.faultline.bench.contender.Events.Reply;
import dev.faultline.ffm.PaddedBefore;
import java.util.function.Function;

/**
 * Disruptor 4: one ring of preallocated events each way, single producers, batches of half a window published at once.
 *
 * <p>Both ends look at the cursor themselves instead of through an event processor, which does the same with more between the event and the code
 * that reads it. The rings are four times the largest window, so the producer looks at the consumer's sequence once in a lap.
 */
final class DisruptorCarrier {

    private static final int RING_ENTRIES = 1024;
    private static final int LARGEST_BATCH_ENTRIES = 32;

    private DisruptorCarrier() {}

    static Function<Outstanding, Carrier> carrier(int window) {
        return outstanding -> {
            RingBuffer<Fault> faults =
                    RingBuffer.createSingleProducer(Fault::new, RING_ENTRIES, new BusySpinWaitStrategy());
            RingBuffer<Reply> replies =
                    RingBuffer.createSingleProducer(Reply::new, RING_ENTRIES, new BusySpinWaitStrategy());
            int batch = Math.clamp(window / 2, 1, LARGEST_BATCH_ENTRIES);
            return new Carrier(
                    new AskAlone(outstanding, faults, replies, batch), new ServeAlone(faults, replies, batch));
        };
    }

    private abstract static class Ask extends PaddedBefore implements Requester {
        private final Outstanding outstanding;
        private final RingBuffer<Fault> faults;
        private final RingBuffer<Reply> replies;
        private final int batchEntries;
        private final Sequence repliesRead = new Sequence();
        private long published = -1;
        private long claimed = -1;
        private long nextReply;

        Ask(Outstanding outstanding, RingBuffer<Fault> faults, RingBuffer<Reply> replies, int batchEntries) {
            this.outstanding = outstanding;
            this.faults = faults;
            this.replies = replies;
            this.batchEntries = batchEntries;
            replies.addGatingSequences(repliesRead);
        }

        @Override
        public void send(int tag, int group, long address) {
            long sequence = faults.next();
            Fault fault = faults.get(sequence);
            fault.flags = FaultRecord.FLAGS;
            fault.device = DEVICE;
            fault.pasid = PASID;
            fault.group = group;
            fault.access = ACCESS;
            fault.address = address;
            fault.length = FaultRecord.LENGTH;
            fault.tag = tag;
            claimed = sequence;
            if (sequence - published >= batchEntries) {
                faults.publish(sequence);
                published = sequence;
            }
        }

        @Override
        public void flush() {
            if (claimed != published) {
                faults.publish(claimed);
                published = claimed;
            }
        }

        @Override
        public void receive() {
            long last = replies.getCursor();
            long next = nextReply;
            if (next > last) {
                return;
            }
            for (; next <= last; next++) {
                Reply reply = replies.get(next);
                outstanding.answered(reply.tag, reply.code == FaultRecord.SUCCESS);
            }
            nextReply = next;
            repliesRead.set(last);
        }
    }

    private abstract static class Serve extends PaddedBefore implements Responder {
        private final RingBuffer<Fault> faults;
        private final RingBuffer<Reply> replies;
        private final int batchEntries;
        private final Sequence faultsRead = new Sequence();
        private long nextFault;
        private long readFields;

        Serve(RingBuffer<Fault> faults, RingBuffer<Reply> replies, int batchEntries) {
            this.faults = faults;
            this.replies = replies;
            this.batchEntries = batchEntries;
            faults.addGatingSequences(faultsRead);
        }

        @Override
        public int serve() {
            long first = nextFault;
            long last = faults.getCursor();
            if (first > last) {
                return 0;
            }
            last = Math.min(last, first + batchEntries - 1);
            long sum = readFields;
            for (long next = first; next <= last; next++) {
                Fault fault = faults.get(next);
                sum += fault.flags + fault.device + fault.pasid + fault.group + fault.length + fault.address;
                long sequence = replies.next();
                Reply reply = replies.get(sequence);
                reply.tag = fault.tag;
                reply.code = FaultRecord.answerTo(fault.access);
            }
            readFields = sum;
            nextFault = last + 1;
            // One reply per fault and one ring size for both, so the reply's sequence is the fault's.
            replies.publish(last);
            faultsRead.set(last);
            return (int) (last - first + 1);
        }

        @Override
        public long readFields() {
            return readFields;
        }
    }

    @SuppressWarnings("unused") // they are there to take room
    private static final class AskAlone extends Ask {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        AskAlone(Outstanding outstanding, RingBuffer<Fault> faults, RingBuffer<Reply> replies, int batchEntries) {
            super(outstanding, faults, replies, batchEntries);
        }
    }

    @SuppressWarnings("unused") // they are there to take room
    private static final class ServeAlone extends Serve {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        ServeAlone(RingBuffer<Fault> faults, RingBuffer<Reply> replies, int batchEntries) {
            super(faults, replies, batchEntries);
        }
    }
}
