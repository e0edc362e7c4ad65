package dev.faultline.iommu;

import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ring.Answer;
import dev.faultline.ring.AnswerSink;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;

/**
 * A device's way into one fault queue. Answers are only noted here: a queue that is closed, or that answers what is overdue,
 * does so by its own thread while nobody has entered the device. The device acts on them at its next step.
 *
 * <p>Threads: the one that has entered the producer. There is room, for no more groups are open than were allocated.
 */
final class Lane extends PaddedBefore implements AnswerSink {
    final FaultQueue queue;
    final FaultProducer producer;

    /** Groups the device has open here. */
    int open;
    /** The queue takes no more. */
    boolean closed;
    /** Requests were raised since the last flush. */
    boolean staged;

    private final long[] tags;
    private final Answer[] codes;
    private int noted;

    Lane(FaultQueue queue, int groups) {
        this.queue = queue;
        this.tags = new long[groups];
        this.codes = new Answer[groups];
        this.producer = queue.producer(groups, this);
    }

    @Override
    public void answered(long tag, Answer code) {
        tags[noted] = tag;
        codes[noted++] = code;
    }

    int groups() {
        return tags.length;
    }

    int noted() {
        return noted;
    }

    long tag(int i) {
        return tags[i];
    }

    Answer code(int i) {
        return codes[i];
    }

    void forget() {
        noted = 0;
    }
}
