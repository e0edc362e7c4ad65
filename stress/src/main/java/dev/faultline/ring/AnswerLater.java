package dev.faultline.ring;

import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.LLL_Result;
import org.openjdk.jcstress.infra.results.LL_Result;

/**
 * Answers given later, by threads that are not the consumer's.
 *
 * <p>Would catch: a claim that is read and cleared in two steps (two threads both told OK); a claim whose cookie is seen before
 * its group; a task that is lost between a lane's last poll and its close; memory freed under a thread that answers.
 */
public final class AnswerLater {
    private AnswerLater() {}

    private static Loop postponed() {
        Loop loop = Loop.delivered();
        if (loop.consumer.answer(loop.cookie, Answer.LATER) != Result.OK) {
            throw new IllegalStateException("the answer was refused");
        }
        return loop;
    }

    /** Two threads answer one group. */
    @JCStressTest
    @Outcome(id = "OK, STALE, SUCCESS", expect = Expect.ACCEPTABLE, desc = "first answers -> second finds out")
    @Outcome(id = "STALE, OK, INVALID", expect = Expect.ACCEPTABLE, desc = "second answers -> first finds out")
    @Outcome(
            expect = Expect.FORBIDDEN,
            desc = "Both told OK, or neither, or the answer of the one that was told STALE.")
    @State
    public static class Twice {
        private final Loop.Meeting meeting = new Loop.Meeting();

        /** Made by jcstress, once for each run of the two actors. */
        public Twice() {}

        /**
         * Answers.
         *
         * @param r what became of it
         */
        @Actor
        public void first(LLL_Result r) {
            Loop loop = meeting.open(AnswerLater::postponed);
            r.r1 = loop.consumer.answerLater(loop.cookie, Answer.SUCCESS);
            end(loop, r);
        }

        /**
         * Answers.
         *
         * @param r what became of it
         */
        @Actor
        public void second(LLL_Result r) {
            Loop loop = meeting.join();
            r.r2 = loop.consumer.answerLater(loop.cookie, Answer.INVALID);
            end(loop, r);
        }

        private void end(Loop loop, LLL_Result r) {
            if (meeting.isLast()) {
                r.r3 = loop.settle();
            }
        }
    }

    /** A thread answers while the producer's takes the group back. */
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
    public static class AgainstRevoke {
        private final Loop.Meeting meeting = new Loop.Meeting();

        /** Made by jcstress, once for each run of the two actors. */
        public AgainstRevoke() {}

        /**
         * Answers from a thread that is not the consumer's.
         *
         * @param r what became of it
         */
        @Actor
        public void stranger(LL_Result r) {
            Loop loop = meeting.join();
            r.r1 = loop.consumer.answerLater(loop.cookie, Answer.SUCCESS);
            end(loop, r);
        }

        /**
         * Takes the group back.
         *
         * @param r what became of it
         */
        @Actor
        public void producer(LL_Result r) {
            Loop loop = meeting.open(AnswerLater::postponed);
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

    /** A thread answers while the queue is closed. */
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
    public static class AgainstClose {
        private final Loop.Meeting meeting = new Loop.Meeting();

        /** Made by jcstress, once for each run of the two actors. */
        public AgainstClose() {}

        /**
         * Answers from a thread that is not the consumer's.
         *
         * @param r what became of it
         */
        @Actor
        public void stranger(LL_Result r) {
            Loop loop = meeting.join();
            r.r1 = loop.consumer.answerLater(loop.cookie, Answer.SUCCESS);
            end(loop, r);
        }

        /**
         * Closes the queue.
         *
         * @param r what became of it
         */
        @Actor
        public void owner(LL_Result r) {
            Loop loop = meeting.open(AnswerLater::postponed);
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
