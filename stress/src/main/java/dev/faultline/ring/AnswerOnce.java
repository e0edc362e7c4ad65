package dev.faultline.ring;

import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.LL_Result;
import org.openjdk.jcstress.infra.results.L_Result;

/**
 * An answer against whatever else may answer the group: the device is told exactly once, and every group is accounted for.
 *
 * <p>Would catch: a table that is looked up and changed in two steps; an answer taken for a group that has been answered
 * (told twice), or lost between the last look at the ring and the close (told never); a revoked count seen before the states
 * it was raised for; memory freed while the other end may use it.
 */
public final class AnswerOnce {
    /** About as long as a round trip takes. */
    private static final long DEADLINE_NS = 10_000;

    private static final int POLLS = 2_000;

    private AnswerOnce() {}

    private static Loop expiring() {
        return Loop.posted(Loop.CONFIG.withDeadlineNs(DEADLINE_NS), 2);
    }

    private static Loop answered() {
        Loop loop = Loop.delivered();
        if (loop.consumer.answer(loop.cookie, Answer.SUCCESS) != Result.OK) {
            throw new IllegalStateException("the answer was refused");
        }
        loop.consumer.submit();
        return loop;
    }

    private static void raiseAndPoll(Loop loop) {
        if (loop.producer.enter()) {
            loop.raise();
            for (int i = 0; i < POLLS && loop.told() == 0; i++) {
                loop.producer.poll();
            }
            loop.producer.leave();
        }
    }

    /** The consumer answers while the producer's thread takes the group back. */
    @JCStressTest
    @Outcome(id = "OK, SUCCESS", expect = Expect.ACCEPTABLE, desc = "answer -> revoke")
    @Outcome(
            id = "OK, INVALID",
            expect = Expect.ACCEPTABLE,
            desc = "revoke -> answer arrives too late: nobody is told of it")
    @Outcome(id = "STALE, INVALID", expect = Expect.ACCEPTABLE, desc = "revoke -> answer finds out")
    @Outcome(
            expect = Expect.FORBIDDEN,
            desc = "Told twice or never, told what nobody answered, or the counts do not balance.")
    @State
    public static class AnswerAgainstRevoke {
        private final Loop.Meeting meeting = new Loop.Meeting();

        /** Made by jcstress, once for each run of the two actors. */
        public AnswerAgainstRevoke() {}

        /**
         * Answers, and sends the answer.
         *
         * @param r what became of it
         */
        @Actor
        public void consumer(LL_Result r) {
            Loop loop = meeting.join();
            r.r1 = loop.consumer.answer(loop.cookie, Answer.SUCCESS);
            loop.consumer.submit();
            end(loop, r);
        }

        /**
         * Takes the group back.
         *
         * @param r what became of it
         */
        @Actor
        public void producer(LL_Result r) {
            Loop loop = meeting.open(Loop::delivered);
            if (loop.producer.enter()) {
                loop.producer.revoke(tag -> true, AutoAnswer.DETACH);
                loop.producer.leave();
            }
            end(loop, r);
        }

        private void end(Loop loop, LL_Result r) {
            if (meeting.isLast()) {
                r.r2 = loop.settle();
            }
        }
    }

    /** The consumer answers while the producer is closed. */
    @JCStressTest
    @Outcome(id = "OK, SUCCESS", expect = Expect.ACCEPTABLE, desc = "answer -> close of the lane")
    @Outcome(
            id = "OK, INVALID",
            expect = Expect.ACCEPTABLE,
            desc = "close of the lane -> answer arrives too late: nobody is told of it")
    @Outcome(id = "STALE, INVALID", expect = Expect.ACCEPTABLE, desc = "close of the lane -> answer finds out")
    @Outcome(
            expect = Expect.FORBIDDEN,
            desc = "Told twice or never, told what nobody answered, or the counts do not balance.")
    @State
    public static class AnswerAgainstDetach {
        private final Loop.Meeting meeting = new Loop.Meeting();

        /** Made by jcstress, once for each run of the two actors. */
        public AnswerAgainstDetach() {}

        /**
         * Answers, and sends the answer.
         *
         * @param r what became of it
         */
        @Actor
        public void consumer(LL_Result r) {
            Loop loop = meeting.join();
            r.r1 = loop.consumer.answer(loop.cookie, Answer.SUCCESS);
            loop.consumer.submit();
            end(loop, r);
        }

        /**
         * Closes the producer.
         *
         * @param r what became of it
         */
        @Actor
        public void owner(LL_Result r) {
            Loop loop = meeting.open(Loop::delivered);
            loop.producer.close();
            end(loop, r);
        }

        private void end(Loop loop, LL_Result r) {
            if (meeting.isLast()) {
                r.r2 = loop.settle();
            }
        }
    }

    /** The consumer answers while the queue is closed. */
    @JCStressTest
    @Outcome(id = "OK, SUCCESS", expect = Expect.ACCEPTABLE, desc = "answer -> close of the queue")
    @Outcome(
            id = "OK, INVALID",
            expect = Expect.ACCEPTABLE,
            desc = "close of the queue -> answer arrives too late: nobody is told of it")
    @Outcome(id = "STALE, INVALID", expect = Expect.ACCEPTABLE, desc = "close of the queue -> answer finds out")
    @Outcome(id = "CLOSED, INVALID", expect = Expect.ACCEPTABLE, desc = "close of the queue -> answer is refused")
    @Outcome(
            expect = Expect.FORBIDDEN,
            desc = "Told twice or never, told what nobody answered, or the counts do not balance.")
    @State
    public static class AnswerAgainstClose {
        private final Loop.Meeting meeting = new Loop.Meeting();

        /** Made by jcstress, once for each run of the two actors. */
        public AnswerAgainstClose() {}

        /**
         * Answers, and sends the answer.
         *
         * @param r what became of it
         */
        @Actor
        public void consumer(LL_Result r) {
            Loop loop = meeting.join();
            r.r1 = loop.consumer.answer(loop.cookie, Answer.SUCCESS);
            loop.consumer.submit();
            end(loop, r);
        }

        /**
         * Closes the queue.
         *
         * @param r what became of it
         */
        @Actor
        public void owner(LL_Result r) {
            Loop loop = meeting.open(Loop::delivered);
            loop.queue.close();
            end(loop, r);
        }

        private void end(Loop loop, LL_Result r) {
            if (meeting.isLast()) {
                r.r2 = loop.settle();
            }
        }
    }

    /** The consumer answers about when the group expires. */
    @JCStressTest
    @Outcome(id = "OK, SUCCESS", expect = Expect.ACCEPTABLE, desc = "answer -> expiry")
    @Outcome(
            id = "OK, INVALID",
            expect = Expect.ACCEPTABLE,
            desc = "expiry -> answer arrives too late: nobody is told of it")
    @Outcome(id = "STALE, INVALID", expect = Expect.ACCEPTABLE, desc = "expiry -> answer finds out")
    @Outcome(
            expect = Expect.FORBIDDEN,
            desc = "Told twice or never, told what nobody answered, or the counts do not balance.")
    @State
    public static class AnswerAgainstDeadline {
        private final Loop.Meeting meeting = new Loop.Meeting();

        /** Made by jcstress, once for each run of the two actors. */
        public AnswerAgainstDeadline() {}

        /**
         * Raises, and polls until its device is told.
         *
         * @param r what became of it
         */
        @Actor
        public void producer(LL_Result r) {
            Loop loop = meeting.open(AnswerOnce::expiring);
            raiseAndPoll(loop);
            end(loop, r);
        }

        /**
         * Polls until there is a group, answers, and sends the answer.
         *
         * @param r what became of it
         */
        @Actor
        public void consumer(LL_Result r) {
            Loop loop = meeting.join();
            for (int i = 0; i < POLLS && loop.delivered == 0; i++) {
                loop.consumer.poll(loop, 1);
            }
            r.r1 = loop.consumer.answer(loop.cookie, Answer.SUCCESS);
            loop.consumer.submit();
            end(loop, r);
        }

        private void end(Loop loop, LL_Result r) {
            if (meeting.isLast()) {
                r.r2 = loop.settle();
            }
        }
    }

    /** An answer has arrived; the producer's thread and the thread that looks after deadlines both take it. */
    @JCStressTest
    @Outcome(
            id = "SUCCESS",
            expect = Expect.ACCEPTABLE,
            desc = "keeper takes it -> poll tells, or poll takes it -> keeper finds nothing")
    @Outcome(
            expect = Expect.FORBIDDEN,
            desc = "Told twice or never, told what nobody answered, or the counts do not balance.")
    @State
    public static class PollAgainstKeeper {
        private final Loop.Meeting meeting = new Loop.Meeting();

        /** Made by jcstress, once for each run of the two actors. */
        public PollAgainstKeeper() {}

        /**
         * Looks after the lane.
         *
         * @param r what became of it
         */
        @Actor
        public void keeper(L_Result r) {
            Loop loop = meeting.open(AnswerOnce::answered);
            loop.producer.lookAfter();
            end(loop, r);
        }

        /**
         * Polls once.
         *
         * @param r what became of it
         */
        @Actor
        public void producer(L_Result r) {
            Loop loop = meeting.join();
            if (loop.producer.enter()) {
                loop.producer.poll();
                loop.producer.leave();
            }
            end(loop, r);
        }

        private void end(Loop loop, L_Result r) {
            if (meeting.isLast()) {
                r.r1 = loop.settle();
            }
        }
    }

    /** The queue is closed while the producer's thread is inside. */
    @JCStressTest
    @Outcome(
            id = "INVALID",
            expect = Expect.ACCEPTABLE,
            desc = "close -> enter -> poll tells, or enter -> close is run by poll or leave, or enter -> leave ->"
                    + " close")
    @Outcome(
            expect = Expect.FORBIDDEN,
            desc = "Told twice or never, told what nobody answered, or the counts do not balance.")
    @State
    public static class PollAgainstClose {
        private final Loop.Meeting meeting = new Loop.Meeting();

        /** Made by jcstress, once for each run of the two actors. */
        public PollAgainstClose() {}

        /**
         * Polls once.
         *
         * @param r what became of it
         */
        @Actor
        public void producer(L_Result r) {
            Loop loop = meeting.open(Loop::delivered);
            if (loop.producer.enter()) {
                loop.producer.poll();
                loop.producer.leave();
            }
            end(loop, r);
        }

        /**
         * Closes the queue.
         *
         * @param r what became of it
         */
        @Actor
        public void owner(L_Result r) {
            Loop loop = meeting.join();
            loop.queue.close();
            end(loop, r);
        }

        private void end(Loop loop, L_Result r) {
            if (meeting.isLast()) {
                r.r1 = loop.settle();
            }
        }
    }
}
