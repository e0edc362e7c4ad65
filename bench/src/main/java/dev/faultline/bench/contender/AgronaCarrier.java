package dev.faultline.bench.contender;

import dev.faultline.ffm.PaddedBefore;
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
final class AgronaCarrier {

    private static final int RING_BYTES = 64 * 1024;
    private static final int TYPE = 1;
    private static final int FAULT_BYTES = 40;
    private static final int REPLY_BYTES = 8;
    private static final int LEAST_BATCH_ENTRIES = 32;

    private static final int FLAGS_OFFSET = 0;
    private static final int DEVICE_OFFSET = 4;
    private static final int PASID_OFFSET = 8;
    private static final int GROUP_OFFSET = 12;
    private static final int ACCESS_OFFSET = 16;
    private static final int ADDRESS_OFFSET = 24;
    private static final int LENGTH_OFFSET = 32;
    private static final int TAG_OFFSET = 36;
    private static final int CODE_OFFSET = 4;

    private AgronaCarrier() {}

    static Function<Outstanding, Carrier> carrier(int window) {
        return outstanding -> {
            OneToOneRingBuffer faults = ring();
            OneToOneRingBuffer replies = ring();
            int batch = Math.max(LEAST_BATCH_ENTRIES, window / 2);
            return new Carrier(new Ask(outstanding, faults, replies, batch), new Alone(faults, replies, batch));
        };
    }

    private static OneToOneRingBuffer ring() {
        ByteBuffer memory = BufferUtil.allocateDirectAligned(RING_BYTES + RingBufferDescriptor.TRAILER_LENGTH, 128);
        return new OneToOneRingBuffer(new UnsafeBuffer(memory.order(ByteOrder.nativeOrder())));
    }

    private static int claimed(int index) {
        if (index < 0) {
            throw new IllegalStateException("ring full: claim=" + index);
        }
        return index;
    }

    private static final class Ask implements Requester, MessageHandler {
        private final Outstanding outstanding;
        private final OneToOneRingBuffer faults;
        private final OneToOneRingBuffer replies;
        private final int batchEntries;
        private final AtomicBuffer buffer;

        Ask(Outstanding outstanding, OneToOneRingBuffer faults, OneToOneRingBuffer replies, int batchEntries) {
            this.outstanding = outstanding;
            this.faults = faults;
            this.replies = replies;
            this.batchEntries = batchEntries;
            this.buffer = faults.buffer();
        }

        @Override
        public void send(int tag, int group, long address) {
            int index = claimed(faults.tryClaim(TYPE, FAULT_BYTES));
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
        public void receive() {
            int read = replies.read(this, batchEntries);
            assert read >= 0;
        }

        @Override
        public void onMessage(int type, MutableDirectBuffer reply, int index, int length) {
            outstanding.answered(reply.getInt(index), reply.getInt(index + CODE_OFFSET) == FaultRecord.SUCCESS);
        }
    }

    private abstract static class Serve extends PaddedBefore implements Responder, MessageHandler {
        private final OneToOneRingBuffer faults;
        private final OneToOneRingBuffer replies;
        private final int batchEntries;
        private final AtomicBuffer buffer;
        private long readFields;

        Serve(OneToOneRingBuffer faults, OneToOneRingBuffer replies, int batchEntries) {
            this.faults = faults;
            this.replies = replies;
            this.batchEntries = batchEntries;
            this.buffer = replies.buffer();
        }

        @Override
        public int serve() {
            return faults.read(this, batchEntries);
        }

        @Override
        public void onMessage(int type, MutableDirectBuffer fault, int index, int length) {
            readFields += fault.getInt(index + FLAGS_OFFSET)
                    + fault.getInt(index + DEVICE_OFFSET)
                    + fault.getInt(index + PASID_OFFSET)
                    + fault.getInt(index + GROUP_OFFSET)
                    + fault.getInt(index + LENGTH_OFFSET)
                    + fault.getLong(index + ADDRESS_OFFSET);
            int reply = claimed(replies.tryClaim(TYPE, REPLY_BYTES));
            buffer.putInt(reply, fault.getInt(index + TAG_OFFSET));
            buffer.putInt(reply + CODE_OFFSET, FaultRecord.answerTo(fault.getInt(index + ACCESS_OFFSET)));
            replies.commit(reply);
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

        Alone(OneToOneRingBuffer faults, OneToOneRingBuffer replies, int batchEntries) {
            super(faults, replies, batchEntries);
        }
    }
}
