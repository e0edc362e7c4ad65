package dev.faultline.bench.contender;

import com.lmax.disruptor.BusySpinWaitStrategy;
import com.lmax.disruptor.RingBuffer;
import com.lmax.disruptor.Sequence;
import java.util.function.Function;

/**
 * Disruptor 4: one ring of preallocated events each way, single producers, batches published at once.
 *
 * <p>Both ends look at the cursor themselves instead of through an event processor: nothing between the event and the code that reads it.
 */
final class DisruptorCarrier implements Carrier {

    /** Events claimed and written before the cursor moves; publishing each costs a store to a contended line. */
    private static final int BATCH_ENTRIES = Integer.getInteger("faultline.lab.disruptorBatch", 16);

    private static final int RING_ENTRIES = 256;

    private static final class Fault {
        private int flags;
        private int device;
        private int pasid;
        private int group;
        private int access;
        private int length;
        private int tag;
        private long address;
    }

    private static final class Reply {
        private int tag;
        private int code;
    }

    private final Outstanding outstanding;
    private final RingBuffer<Fault> faults =
            RingBuffer.createSingleProducer(Fault::new, RING_ENTRIES, new BusySpinWaitStrategy());
    private final RingBuffer<Reply> replies =
            RingBuffer.createSingleProducer(Reply::new, RING_ENTRIES, new BusySpinWaitStrategy());
    private final Sequence faultsRead = new Sequence();
    private final Sequence repliesRead = new Sequence();

    private long published = -1;
    private long claimed = -1;
    private long nextReply;
    private long nextFault;
    private long readFields;

    private DisruptorCarrier(Outstanding outstanding) {
        this.outstanding = outstanding;
        faults.addGatingSequences(faultsRead);
        replies.addGatingSequences(repliesRead);
    }

    static Function<Outstanding, Carrier> carrier() {
        return DisruptorCarrier::new;
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
        if (sequence - published >= BATCH_ENTRIES) {
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

    @Override
    public int serve() {
        long first = nextFault;
        long last = faults.getCursor();
        if (first > last) {
            return 0;
        }
        last = Math.min(last, first + BATCH_ENTRIES - 1);
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
        faultsRead.set(last);
        // One reply per fault and one ring size for both, so the reply's sequence is the fault's.
        replies.publish(last);
        return (int) (last - first + 1);
    }

    @Override
    public long readFields() {
        return readFields;
    }
}
