package dev.faultline.bench.contender;

import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ring.Answer;
import dev.faultline.ring.CompletionHandler;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.Result;

/** The consumer of a fault queue, driven by hand: reads every field of a group and answers it. */
abstract class QueueResponder extends PaddedBefore implements Responder, CompletionHandler {

    private static final int LIMIT_ENTRIES = 256;
    private static final long USER_DATA = 1;

    private final FaultConsumer consumer;
    private final int entries;
    private boolean hasPosted;
    private long readFields;

    private QueueResponder(FaultConsumer consumer, int entries) {
        this.consumer = consumer;
        this.entries = entries;
    }

    /**
     * One that answers each group as it comes and spins.
     *
     * @param queue whose consumer it is
     * @return the responder
     */
    static Responder of(FaultQueue queue) {
        return new Alone(queue);
    }

    /**
     * One over any consumer, that answers each group as it comes and spins.
     *
     * @param consumer whose groups it answers; closed by the responder
     * @param entries reads it posts
     * @return the responder
     */
    static Responder of(FaultConsumer consumer, int entries) {
        return new Alone(consumer, entries);
    }

    final FaultConsumer consumer() {
        return consumer;
    }

    @Override
    public void begin() {
        if (!hasPosted) {
            expectOk(consumer.post(USER_DATA, entries));
            hasPosted = true;
        }
    }

    @Override
    public void end() {
        consumer.close();
    }

    @Override
    public int serve() {
        return consumer.poll(this, LIMIT_ENTRIES);
    }

    @Override
    public void group(long userData, FaultGroup group) {
        expectOk(consumer.answerAndRepost(group.cookie(), read(group)));
    }

    /** Reads every field and decides. */
    final Answer read(FaultGroup group) {
        readFields += (group.hasPasid(0) ? 1 : 0)
                + group.device()
                + group.pasid(0)
                + group.groupIndex()
                + group.length(0)
                + group.address(0);
        return FaultRecord.answerTo(group.access(0)) == FaultRecord.SUCCESS ? Answer.SUCCESS : Answer.INVALID;
    }

    @Override
    public long readFields() {
        return readFields;
    }

    static void expectOk(Result result) {
        if (result != Result.OK) {
            throw new IllegalStateException("result=" + result);
        }
    }

    /** What lies behind it in memory lies on other lines. */
    @SuppressWarnings("unused") // they are there to take room
    static class Alone extends QueueResponder {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(FaultQueue queue) {
            this(queue.consumer(), queue.config().entries());
        }

        Alone(FaultConsumer consumer, int entries) {
            super(consumer, entries);
        }
    }
}
