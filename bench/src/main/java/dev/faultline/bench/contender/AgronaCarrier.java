package dev.faultline.bench.contender;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.function.Function;
import org.agrona.BufferUtil;
import org.agrona.MutableDirectBuffer;
import org.agrona.concurrent.AtomicBuffer;
import org.agrona.concurrent.MessageHandler;
import org.agrona.concurrent.UnsafeBuffer;
import org.agrona.concurrent.ringbuffer.OneToOneRingBuffer;
import org.agrona.concurrent.ringbuffer.RingBufferDescriptor;

/**
 * Agrona's OneToOneRingBuffer: one off-heap ring each way, records written in place after a claim, read in batches.
 *
 * <p>Its process runs with Agrona's bounds checks off, the faster of its two forms.
 */
final class AgronaCarrier implements Carrier {

    private static final int RING_BYTES = 64 * 1024;
    private static final int TYPE = 1;
    private static final int FAULT_BYTES = 40;
    private static final int REPLY_BYTES = 8;
    private static final int BATCH_ENTRIES = Integer.getInteger("faultline.lab.agronaBatch", 32);

    private static final int FLAGS_OFFSET = 0;
    private static final int DEVICE_OFFSET = 4;
    private static final int PASID_OFFSET = 8;
    private static final int GROUP_OFFSET = 12;
    private static final int ACCESS_OFFSET = 16;
    private static final int ADDRESS_OFFSET = 24;
    private static final int LENGTH_OFFSET = 32;
    private static final int TAG_OFFSET = 36;
    private static final int CODE_OFFSET = 4;

    private final Outstanding outstanding;
    private final OneToOneRingBuffer faults = ring();
    private final OneToOneRingBuffer replies = ring();
    private final AtomicBuffer faultsBuffer = faults.buffer();
    private final AtomicBuffer repliesBuffer = replies.buffer();
    private final MessageHandler onReply = this::onReply;
    private final MessageHandler onFault = this::onFault;
    private long readFields;

    private AgronaCarrier(Outstanding outstanding) {
        this.outstanding = outstanding;
    }

    static Function<Outstanding, Carrier> carrier() {
        return AgronaCarrier::new;
    }

    private static OneToOneRingBuffer ring() {
        ByteBuffer memory = BufferUtil.allocateDirectAligned(RING_BYTES + RingBufferDescriptor.TRAILER_LENGTH, 128);
        return new OneToOneRingBuffer(new UnsafeBuffer(memory.order(ByteOrder.nativeOrder())));
    }

    @Override
    public void send(int tag, int group, long address) {
        int index = faults.tryClaim(TYPE, FAULT_BYTES);
        if (index < 0) {
            throw new IllegalStateException("ring full: claim=" + index);
        }
        AtomicBuffer buffer = faultsBuffer;
        buffer.putInt(index + FLAGS_OFFSET, FaultRecord.FLAGS);
        buffer.putInt(index + DEVICE_OFFSET, DEVICE);
        buffer.putInt(index + PASID_OFFSET, PASID);
        buffer.putInt(index + GROUP_OFFSET, group);
        buffer.putInt(index + ACCESS_OFFSET, ACCESS);
        buffer.putLong(index + ADDRESS_OFFSET, address);
        buffer.putInt(index + LENGTH_OFFSET, FaultRecord.LENGTH);
        buffer.putInt(index + TAG_OFFSET, tag);
        faults.commit(index);
    }

    @Override
    public void flush() {}

    @Override
    public void receive() {
        int read = replies.read(onReply);
        assert read >= 0;
    }

    private void onReply(int type, MutableDirectBuffer buffer, int index, int length) {
        outstanding.answered(buffer.getInt(index), buffer.getInt(index + CODE_OFFSET) == FaultRecord.SUCCESS);
    }

    @Override
    public int serve() {
        return faults.read(onFault, BATCH_ENTRIES);
    }

    private void onFault(int type, MutableDirectBuffer buffer, int index, int length) {
        readFields += buffer.getInt(index + FLAGS_OFFSET)
                + buffer.getInt(index + DEVICE_OFFSET)
                + buffer.getInt(index + PASID_OFFSET)
                + buffer.getInt(index + GROUP_OFFSET)
                + buffer.getInt(index + LENGTH_OFFSET)
                + buffer.getLong(index + ADDRESS_OFFSET);
        int reply = replies.tryClaim(TYPE, REPLY_BYTES);
        if (reply < 0) {
            throw new IllegalStateException("ring full: claim=" + reply);
        }
        repliesBuffer.putInt(reply, buffer.getInt(index + TAG_OFFSET));
        repliesBuffer.putInt(reply + CODE_OFFSET, FaultRecord.answerTo(buffer.getInt(index + ACCESS_OFFSET)));
        replies.commit(reply);
    }

    @Override
    public long readFields() {
        return readFields;
    }
}
