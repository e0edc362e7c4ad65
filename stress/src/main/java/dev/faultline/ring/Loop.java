package dev.faultline.ring;

/**
 * A queue with one lane and a consumer, for one run of two actors, and all that has become of its groups.
 *
 * <p>Threads: one after another where it does not say otherwise; the consumer is not bound to a thread.
 */
final class Loop implements CompletionHandler {
    static final long READS = 7;

    static final QueueConfig CONFIG = QueueConfig.of(2).withLanes(1).withDeadlineNs(0);

    private static final int POLLS_TO_THE_END = 4;

    final FaultQueue queue;
    final Lane producer;
    /** Bound to no thread. */
    final RingConsumer consumer;

    /** The queue's own, which belongs to the thread that calls it first; nobody does but where a test says so. */
    final FaultConsumer bound;

    /** Of the group delivered last; 0 if none was. */
    int cookie;

    int delivered;
    int ends;
    int readsEnded;
    private int readsPosted;
    private int success;
    private int invalid;

    /** Opens a queue. */
    Loop(QueueConfig config) {
        queue = FaultQueue.open(config);
        producer = (Lane) queue.producer(2, this::told);
        consumer = RingConsumer.of(queue, false);
        bound = queue.consumer();
    }

    /** A loop whose consumer has one group, and one read more. */
    static Loop delivered() {
        Loop loop = posted(CONFIG, 2);
        must(loop.producer.enter());
        loop.raise();
        loop.producer.poll();
        loop.producer.leave();
        loop.consumer.poll(loop, 1);
        must(loop.cookie != 0);
        return loop;
    }

    /** A loop with reads that have arrived. */
    static Loop posted(QueueConfig config, int reads) {
        Loop loop = new Loop(config);
        must(loop.post(reads) == Result.OK);
        must(loop.producer.enter());
        loop.producer.poll();
        loop.producer.leave();
        return loop;
    }

    /** A loop whose group is to be answered LATER. */
    static Loop postponed() {
        Loop loop = delivered();
        must(loop.consumer.answer(loop.cookie, Answer.LATER) == Result.OK);
        return loop;
    }

    /** A loop whose answer is on its way. */
    static Loop answered() {
        Loop loop = delivered();
        must(loop.answer() == Result.OK);
        return loop;
    }

    /** Answers the group delivered last, and sends that. */
    Result answer() {
        Result result = consumer.answer(cookie, Answer.SUCCESS);
        consumer.submit();
        return result;
    }

    /** Says LATER to the group delivered last, posts its read again, and sends that. */
    Result postponeAndRepost() {
        Result result = consumer.answerAndRepost(cookie, Answer.LATER);
        readsPosted++;
        consumer.submit();
        return result;
    }

    /** Answers the group delivered last, as any thread may. */
    Result answerLater(Answer code) {
        return consumer.answerLater(cookie, code);
    }

    /** Takes back what is open, as a device that leaves. */
    void revoke() {
        if (producer.enter()) {
            producer.revoke(tag -> true, AutoAnswer.DETACH);
            producer.leave();
        }
    }

    /** Posts reads, and sends that. */
    Result post(int reads) {
        Result result = consumer.post(READS, reads);
        if (result == Result.OK) {
            readsPosted += reads;
        }
        consumer.submit();
        return result;
    }

    /** Raises a group of one, on the thread that has entered. */
    void raise() {
        must(producer.raise(1, 1, 0, 0, 0x1000, 1, true) == Result.OK);
    }

    private static void must(boolean held) {
        if (!held) {
            throw new IllegalStateException("the loop could not be set up");
        }
    }

    @Override
    public void group(long userData, FaultGroup group) {
        cookie = group.cookie();
        delivered++;
    }

    @Override
    public void ended(long userData, Result why, int reads) {
        ends++;
        readsEnded += reads;
    }

    private void told(long tag, Answer code) {
        if (code == Answer.SUCCESS) {
            success++;
        } else {
            invalid++;
        }
    }

    int told() {
        return success + invalid;
    }

    /** Lets the lane's thread poll once, and hands over what there is for the consumer. */
    void step() {
        if (producer.enter()) {
            producer.poll();
            producer.leave();
        }
        consumer.poll(this, Integer.MAX_VALUE);
    }

    /** Ends everything, and says what the device of the one group was told: that, and what went wrong besides. */
    String settle() {
        step();
        queue.close();
        for (int i = 0; i < POLLS_TO_THE_END; i++) {
            step();
        }
        Accounting accounting = queue.accounting();
        StringBuilder text = new StringBuilder();
        if (told() == 1) {
            text.append(success == 1 ? Answer.SUCCESS : Answer.INVALID);
        } else {
            text.append("told ").append(told()).append(" times");
        }
        if (!accounting.balanced() || accounting.outstanding() != 0 || accounting.raised() != 1) {
            text.append("; ").append(accounting);
        }
        if (readsPosted > 0 && delivered + readsEnded != readsPosted) {
            text.append("; of ")
                    .append(readsPosted)
                    .append(" reads ")
                    .append(delivered)
                    .append(" were completed and ")
                    .append(readsEnded)
                    .append(" ended");
        }
        if (queue.heldBytes() != 0) {
            text.append("; memory held");
        }
        return text.toString();
    }
}
