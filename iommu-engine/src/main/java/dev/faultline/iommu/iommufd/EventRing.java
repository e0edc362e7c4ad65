package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ring.Answer;
import dev.faultline.ring.AnswerSink;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The events of a vEVENTQ on a ring. An event is a group there: its index is the sequence number, its device the vEVENTQ's id, and each
 * request has 8 bytes of it for an address, and how many of them count for what is wanted. The header of lost events is a group of one
 * request with no bytes. An answer, whatever it says, makes room for another event.
 *
 * <p>Threads: any; an event is put on the ring by the thread that reports it, or that submits the read or the answer that it waited for.
 * Ownership: who makes it closes it; it holds the vEVENTQ and keeps the context open. Errors: {@link ErrnoException} of {@link
 * SystemCalls#events}. Events are delivered and lost as on the descriptor: those the ring has no room for wait in the vEVENTQ.
 *
 * <p>Units: bytes of an event. Source: events as {@code drivers/iommu/iommufd/eventq.c}, Linux 7.2, lists them; rings are not the
 * kernel's.
 */
public final class EventRing implements AutoCloseable {
    private static final int RECORD_BYTES = Long.BYTES;

    /** The largest event that a kernel knows has 32 bytes. */
    private static final int LEAST_GROUP = 4;

    private final Context context;
    private final EventQueue queue;
    private final FaultProducer producer;
    private final int unread;

    /** How often it was asked to deliver while somebody does. */
    private final AtomicInteger asked = new AtomicInteger();

    /** Of the thread that delivers. */
    private int onRing;

    /** Written by who closes; a stale false is as if the event came before. */
    private volatile boolean closed;

    /** Under this: who closes first does it. */
    private boolean closing;

    private EventRing(Context context, EventQueue queue, FaultQueue ring, int unread) {
        this.context = context;
        this.queue = queue;
        this.unread = unread;
        AnswerSink answers = this::answered;
        this.producer = ring.producer(unread, answers);
        this.producer.attend(this::deliver);
    }

    static EventRing of(Context context, EventQueue queue, FaultQueue ring, int unread) throws ErrnoException {
        int largest = ring.config().largestGroup();
        if (largest < LEAST_GROUP) {
            throw new IllegalArgumentException("largestGroup=" + largest + ": allowed " + LEAST_GROUP + " or more");
        }
        EventRing made = new EventRing(context, queue, ring, unread);
        if (!queue.takeBy(made::deliver)) {
            made.producer.close();
            throw new ErrnoException(Errno.EBUSY, "fd", "a vEVENTQ whose events go to no ring");
        }
        context.keepOpen();
        context.objects().use(queue);
        made.deliver();
        return made;
    }

    private void answered(long tag, Answer code) {
        onRing--;
    }

    /** Puts events on the ring, and lets those on it find reads. Whoever comes while another does it leaves that to him, and does not wait. */
    void deliver() {
        if (asked.getAndIncrement() > 0) {
            return;
        }
        int seen = 1;
        do {
            deliverHere();
            seen = asked.addAndGet(-seen);
        } while (seen > 0);
    }

    private void deliverHere() {
        if (closed || !producer.enter()) {
            return;
        }
        try {
            int _ = producer.poll();
            while (onRing < unread) {
                EventQueue.Event event = queue.fetch();
                if (event == null) {
                    break;
                }
                if (!raise(event)) {
                    queue.restore(event);
                    break;
                }
                queue.finish(event);
            }
            producer.flush();
        } finally {
            producer.leave();
        }
    }

    private boolean raise(EventQueue.Event event) {
        byte[] data = event.data == null ? new byte[0] : event.data;
        int records = Math.max(1, (data.length + RECORD_BYTES - 1) / RECORD_BYTES);
        byte[] padded = Arrays.copyOf(data, records * RECORD_BYTES);
        ByteBuffer words = ByteBuffer.wrap(padded).order(ByteOrder.nativeOrder());
        for (int i = 0; i < records; i++) {
            int flags = i == records - 1 ? PageFaultLayout.FLAG_LAST_PAGE : 0;
            int bytes = Math.min(RECORD_BYTES, data.length - i * RECORD_BYTES);
            Result result =
                    producer.raiseAsIs(0, flags, queue.id(), 0, event.sequence, words.getLong(i * RECORD_BYTES), bytes);
            if (result == Result.CLOSED || result == Result.FULL) {
                return false;
            }
            if (result != Result.OK) {
                // Larger than the ring's groups: the ring counts it as dropped.
                return true;
            }
        }
        onRing++;
        return true;
    }

    /**
     * Whether a group stands for events that were lost, the newest of which had its index.
     *
     * @param event a group of this ring
     * @return true if it has no data
     */
    public static boolean isLost(FaultGroup event) {
        return event.access(0) == 0;
    }

    /**
     * Copies an event's data.
     *
     * @param event a group of this ring
     * @param into as large as the event, or larger
     * @return bytes copied
     */
    public static int data(FaultGroup event, MemorySegment into) {
        int done = 0;
        long[] word = new long[1];
        for (int i = 0; i < event.size(); i++) {
            word[0] = event.address(i);
            MemorySegment.copy(MemorySegment.ofArray(word), 0, into, done, event.access(i));
            done += event.access(i);
        }
        return done;
    }

    /** The descriptor is read again. Events on the ring that nobody has answered are lost. */
    @Override
    public void close() {
        synchronized (this) {
            if (closing) {
                return;
            }
            closing = true;
        }
        closed = true;
        queue.giveBack();
        producer.close();
        context.objects().unuse(queue);
        context.letGo();
    }
}
