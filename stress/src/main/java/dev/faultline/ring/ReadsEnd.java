package dev.faultline.ring;

import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.LL_Result;

/**
 * Reads and groups: each read ends once, with a group, cancelled, or closed; each group goes to one read, or waits.
 *
 * <p>Would catch: a cancel that is answered out of order with the groups before it, or takes a read twice; a lane that closes
 * between the consumer's look at it and its joining; memory that neither end frees, or both.
 */
public final class ReadsEnd {
    /** In spins: about as long as a consumer takes for all it does. */
    private static final int STEPS_OF_A_CONSUMER = 600;

    private ReadsEnd() {}

    private static Loop waiting() {
        Loop loop = new Loop(Loop.CONFIG);
        if (!loop.producer.enter()) {
            throw new IllegalStateException("the lane is taken");
        }
        loop.raise();
        loop.producer.leave();
        return loop;
    }

    /** The consumer cancels its one read while a group comes for it. */
    @JCStressTest
    @Outcome(id = "group, INVALID", expect = Expect.ACCEPTABLE, desc = "deliver -> cancel finds no read")
    @Outcome(id = "cancelled, INVALID", expect = Expect.ACCEPTABLE, desc = "cancel -> poll -> raise: the group waits")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Both, or neither, or a read that is lost.")
    @State
    public static class CancelAgainstDelivery {
        private final Loop.Meeting meeting = new Loop.Meeting();

        /** Made by jcstress, once for each run of the two actors. */
        public CancelAgainstDelivery() {}

        /**
         * Cancels, and sends that.
         *
         * @param r what became of it
         */
        @Actor
        public void consumer(LL_Result r) {
            Loop loop = meeting.join();
            if (loop.consumer.cancel(Loop.READS) != Result.OK) {
                throw new IllegalStateException("the cancel was refused");
            }
            loop.consumer.submit();
            end(loop, r);
        }

        /**
         * Polls, raises, and polls.
         *
         * @param r what became of it
         */
        @Actor
        public void producer(LL_Result r) {
            Loop loop = meeting.open(() -> Loop.posted(Loop.CONFIG, 1));
            if (loop.producer.enter()) {
                loop.producer.poll();
                loop.raise();
                loop.producer.poll();
                loop.producer.leave();
            }
            end(loop, r);
        }

        private void end(Loop loop, LL_Result r) {
            if (meeting.isLast()) {
                r.r1 = whatEnded(loop);
                r.r2 = loop.settle();
            }
        }

        private static String whatEnded(Loop loop) {
            for (int i = 0; i < 2; i++) {
                loop.step();
            }
            if (loop.ends != 1) {
                return loop.ends + " results of the cancel";
            }
            if (loop.delivered == 1 && loop.readsEnded == 0) {
                return "group";
            }
            return loop.delivered == 0 && loop.readsEnded == 1
                    ? "cancelled"
                    : loop.delivered + " groups, " + loop.readsEnded + " reads cancelled";
        }
    }

    /** A consumer joins, is given a group, answers and leaves while the queue is closed. */
    @JCStressTest
    @Outcome(id = "OK, SUCCESS", expect = Expect.ACCEPTABLE, desc = "answer -> close")
    @Outcome(
            id = "OK, INVALID",
            expect = Expect.ACCEPTABLE,
            desc = "close -> answer arrives too late: nobody is told of it")
    @Outcome(id = "STALE, INVALID", expect = Expect.ACCEPTABLE, desc = "close of the lane -> answer finds out")
    @Outcome(id = "CLOSED, INVALID", expect = Expect.ACCEPTABLE, desc = "close -> answer is refused")
    @Outcome(id = "no group, INVALID", expect = Expect.ACCEPTABLE, desc = "close -> the consumer finds nothing")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Told twice or never, or memory that nobody freed.")
    @State
    public static class ConsumerAgainstClose {
        private final Loop.Meeting meeting = new Loop.Meeting();

        /** Made by jcstress, once for each run of the two actors. */
        public ConsumerAgainstClose() {}

        /**
         * Does all a consumer does.
         *
         * @param r what became of it
         */
        @Actor
        public void consumer(LL_Result r) {
            Loop loop = meeting.join();
            FaultConsumer consumer = loop.bound;
            r.r1 = "no group";
            if (consumer.post(Loop.READS, 1) == Result.OK) {
                consumer.submit();
                loop.producer.lookAfter();
                consumer.poll(loop, Integer.MAX_VALUE);
            }
            if (loop.delivered > 0) {
                r.r1 = consumer.answer(loop.cookie, Answer.SUCCESS);
            }
            consumer.close();
            end(loop, r);
        }

        /**
         * Closes the queue.
         *
         * @param r what became of it
         */
        @Actor
        public void owner(LL_Result r) {
            Loop loop = meeting.open(ReadsEnd::waiting);
            Loop.Meeting.headStart(STEPS_OF_A_CONSUMER);
            loop.queue.close();
            end(loop, r);
        }

        private void end(Loop loop, LL_Result r) {
            if (meeting.isLast()) {
                r.r2 = loop.settle();
            }
        }
    }
}
