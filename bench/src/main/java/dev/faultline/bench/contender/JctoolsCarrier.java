package dev.faultline.bench.contender;

import java.util.function.Function;
import org.jctools.queues.MessagePassingQueue;

/** A JCTools single-producer single-consumer array queue each way; the objects are made once and used again. */
final class JctoolsCarrier implements Carrier {

    private static final int BATCH_ENTRIES = Integer.getInteger("faultline.lab.jctoolsBatch", 64);

    private static final class Fault {
        private int flags;
        private int device;
        private int pasid;
        private int group;
        private int access;
        private int length;
        private final int tag;
        private long address;

        Fault(int tag) {
            this.tag = tag;
        }
    }

    private static final class Reply {
        private final int tag;
        private int code;

        Reply(int tag) {
            this.tag = tag;
        }
    }

    private final Outstanding outstanding;
    private final MessagePassingQueue<Fault> faults;
    private final MessagePassingQueue<Reply> replies;
    private final Fault[] faultOfTag;
    private final Reply[] replyOfTag;
    private final MessagePassingQueue.Consumer<Reply> onReply = this::onReply;
    private final MessagePassingQueue.Consumer<Fault> onFault = this::onFault;
    private long readFields;

    private JctoolsCarrier(
            Outstanding outstanding,
            int window,
            MessagePassingQueue<Fault> faults,
            MessagePassingQueue<Reply> replies) {
        this.outstanding = outstanding;
        this.faults = faults;
        this.replies = replies;
        faultOfTag = new Fault[window];
        replyOfTag = new Reply[window];
        for (int tag = 0; tag < window; tag++) {
            faultOfTag[tag] = new Fault(tag);
            replyOfTag[tag] = new Reply(tag);
        }
    }

    static Function<Outstanding, Carrier> carrier(int window) {
        int entries = 256;
        if (Boolean.getBoolean("faultline.lab.jctoolsVarHandle")) {
            return outstanding -> new JctoolsCarrier(
                    outstanding,
                    window,
                    new org.jctools.queues.varhandle.SpscVarHandleArrayQueue<>(entries),
                    new org.jctools.queues.varhandle.SpscVarHandleArrayQueue<>(entries));
        }
        return outstanding -> new JctoolsCarrier(
                outstanding,
                window,
                new org.jctools.queues.SpscArrayQueue<>(entries),
                new org.jctools.queues.SpscArrayQueue<>(entries));
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
    public void flush() {}

    @Override
    public void receive() {
        int taken = replies.drain(onReply, BATCH_ENTRIES);
        assert taken >= 0;
    }

    private void onReply(Reply reply) {
        outstanding.answered(reply.tag, reply.code == FaultRecord.SUCCESS);
    }

    @Override
    public int serve() {
        return faults.drain(onFault, BATCH_ENTRIES);
    }

    private void onFault(Fault fault) {
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
