package dev.faultline.ring;

import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressMeta;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.LLLL_Result;
import org.openjdk.jcstress.infra.results.LLL_Result;
import org.openjdk.jcstress.infra.results.LL_Result;
import org.openjdk.jcstress.infra.results.L_Result;

/**
 * An answer, by the consumer or LATER by another thread, against whatever else may answer the group: the device is told exactly
 * once, and every group is accounted for.
 *
 * <p>Would catch: a table that is looked up and changed in two steps; an answer taken for a group that has been answered
 * (told twice), or lost between the last look at the ring, or at the tasks, and the close (told never); a revoked count seen
 * before the states it was raised for; a claim that is read and cleared in two steps (two threads both told OK), or whose cookie
 * is seen before its group; memory freed while the other end, or a thread that answers, may use it.
 */
public final class AnswerOnce {
    /** About as long as a round trip takes. */
    private static final long DEADLINE_NS = 10_000;

    private static final int POLLS = 2_000;

    private AnswerOnce() {}

    private static Loop expiring() {
        return Loop.posted(Loop.CONFIG.withDeadlineNs(DEADLINE_NS), 2);
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

    /** An answer, and something that answers INVALID. */
    @Outcome(id = "OK, SUCCESS", expect = Expect.ACCEPTABLE, desc = "answer -> the other")
    @Outcome(
            id = "OK, INVALID",
            expect = Expect.ACCEPTABLE,
            desc = "the other -> answer arrives too late: nobody is told of it")
    @Outcome(id = "STALE, INVALID", expect = Expect.ACCEPTABLE, desc = "the other -> answer finds out")
    @Outcome(
            expect = Expect.FORBIDDEN,
            desc = "Told twice or never, told what nobody answered, or the counts do not balance.")
    private static final class AnswerOrInvalid {}

    /** An answer, and a close of the queue. */
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
    private static final class AnswerOrClose {}

    /** Something that changes nothing of the answer. */
    @Outcome(id = "SUCCESS", expect = Expect.ACCEPTABLE, desc = "answer -> the other, or the other -> answer")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Told twice or never, a read lost, or the counts do not balance.")
    private static final class Answered {}

    /** Nobody answers but a close. */
    @Outcome(
            id = "INVALID",
            expect = Expect.ACCEPTABLE,
            desc = "close -> enter -> poll tells, or enter -> close is run by poll or leave, or enter -> leave ->"
                    + " close")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Told twice or never, or the counts do not balance.")
    private static final class Closed {}

    /** The consumer answers while the producer's thread takes the group back. */
    @JCStressTest
    @JCStressMeta(AnswerOrInvalid.class)
    @State
    public static class AnswerAgainstRevoke {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Answers, and sends the answer. */
        @Actor
        public void consumer(LL_Result r) {
            Loop loop = meeting.join();
            r.r1 = loop.answer();
            end(loop, r);
        }

        /** Takes the group back. */
        @Actor
        public void producer(LL_Result r) {
            Loop loop = meeting.open(Loop::delivered);
            loop.revoke();
            end(loop, r);
        }

        private void end(Loop loop, LL_Result r) {
            if (meeting.isLast()) {
                r.r2 = loop.settle();
            }
        }
    }

    /** The consumer answers while the device detaches: its producer is closed. */
    @JCStressTest
    @JCStressMeta(AnswerOrInvalid.class)
    @State
    public static class AnswerAgainstDetach {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Answers, and sends the answer. */
        @Actor
        public void consumer(LL_Result r) {
            Loop loop = meeting.join();
            r.r1 = loop.answer();
            end(loop, r);
        }

        /** Closes the producer. */
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
    @JCStressMeta(AnswerOrClose.class)
    @State
    public static class AnswerAgainstClose {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Answers, and sends the answer. */
        @Actor
        public void consumer(LL_Result r) {
            Loop loop = meeting.join();
            r.r1 = loop.answer();
            end(loop, r);
        }

        /** Closes the queue. */
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
    @JCStressMeta(AnswerOrInvalid.class)
    @State
    public static class AnswerAgainstDeadline {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Raises, and polls until its device is told. */
        @Actor
        public void producer(LL_Result r) {
            Loop loop = meeting.open(AnswerOnce::expiring);
            raiseAndPoll(loop);
            end(loop, r);
        }

        /** Polls until there is a group, answers, and sends the answer. */
        @Actor
        public void consumer(LL_Result r) {
            Loop loop = meeting.join();
            for (int i = 0; i < POLLS && loop.delivered == 0; i++) {
                loop.consumer.poll(loop, 1);
            }
            r.r1 = loop.answer();
            end(loop, r);
        }

        private void end(Loop loop, LL_Result r) {
            if (meeting.isLast()) {
                r.r2 = loop.settle();
            }
        }
    }

    /** Two threads answer one group LATER. */
    @JCStressTest
    @Outcome(id = "OK, STALE, SUCCESS", expect = Expect.ACCEPTABLE, desc = "first answers -> second finds out")
    @Outcome(id = "STALE, OK, INVALID", expect = Expect.ACCEPTABLE, desc = "second answers -> first finds out")
    @Outcome(
            expect = Expect.FORBIDDEN,
            desc = "Both told OK, or neither, or the answer of the one that was told STALE.")
    @State
    public static class LaterTwice {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Answers. */
        @Actor
        public void first(LLL_Result r) {
            Loop loop = meeting.open(Loop::postponed);
            r.r1 = loop.answerLater(Answer.SUCCESS);
            end(loop, r);
        }

        /** Answers. */
        @Actor
        public void second(LLL_Result r) {
            Loop loop = meeting.join();
            r.r2 = loop.answerLater(Answer.INVALID);
            end(loop, r);
        }

        private void end(Loop loop, LLL_Result r) {
            if (meeting.isLast()) {
                r.r3 = loop.settle();
            }
        }
    }

    /** A thread answers, and tries again, while the consumer says LATER and posts the read again. */
    @JCStressTest
    @Outcome(id = "OK, OK, STALE, SUCCESS", expect = Expect.ACCEPTABLE, desc = "LATER -> answer")
    @Outcome(
            id = "STALE, OK, STALE, SUCCESS",
            expect = Expect.ACCEPTABLE,
            desc = "answer -> LATER finds out, and posts")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Told OK twice, or never, or the read lost.")
    @State
    public static class LaterAgainstRepost {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Says LATER, as the consumer. */
        @Actor
        public void consumer(LLLL_Result r) {
            Loop loop = meeting.open(Loop::delivered);
            r.r1 = loop.postponeAndRepost();
            end(loop, r);
        }

        /** Answers twice, from a thread that is not the consumer's. */
        @Actor
        public void stranger(LLLL_Result r) {
            Loop loop = meeting.join();
            r.r2 = loop.answerLater(Answer.SUCCESS);
            r.r3 = loop.answerLater(Answer.INVALID);
            end(loop, r);
        }

        private void end(Loop loop, LLLL_Result r) {
            if (meeting.isLast()) {
                r.r4 = loop.settle();
            }
        }
    }

    /** A thread answers LATER while the producer's takes the group back. */
    @JCStressTest
    @JCStressMeta(AnswerOrInvalid.class)
    @State
    public static class LaterAgainstRevoke {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Answers from a thread that is not the consumer's. */
        @Actor
        public void stranger(LL_Result r) {
            Loop loop = meeting.join();
            r.r1 = loop.answerLater(Answer.SUCCESS);
            end(loop, r);
        }

        /** Takes the group back. */
        @Actor
        public void producer(LL_Result r) {
            Loop loop = meeting.open(Loop::postponed);
            loop.revoke();
            end(loop, r);
        }

        private void end(Loop loop, LL_Result r) {
            if (meeting.isLast()) {
                r.r2 = loop.settle();
            }
        }
    }

    /** A thread answers LATER while the device detaches: its producer is closed. */
    @JCStressTest
    @JCStressMeta(AnswerOrInvalid.class)
    @State
    public static class LaterAgainstDetach {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Answers from a thread that is not the consumer's. */
        @Actor
        public void stranger(LL_Result r) {
            Loop loop = meeting.join();
            r.r1 = loop.answerLater(Answer.SUCCESS);
            end(loop, r);
        }

        /** Closes the producer. */
        @Actor
        public void owner(LL_Result r) {
            Loop loop = meeting.open(Loop::postponed);
            loop.producer.close();
            end(loop, r);
        }

        private void end(Loop loop, LL_Result r) {
            if (meeting.isLast()) {
                r.r2 = loop.settle();
            }
        }
    }

    /** A thread answers LATER while the queue is closed. */
    @JCStressTest
    @JCStressMeta(AnswerOrClose.class)
    @State
    public static class LaterAgainstClose {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Answers from a thread that is not the consumer's. */
        @Actor
        public void stranger(LL_Result r) {
            Loop loop = meeting.join();
            r.r1 = loop.answerLater(Answer.SUCCESS);
            end(loop, r);
        }

        /** Closes the queue. */
        @Actor
        public void owner(LL_Result r) {
            Loop loop = meeting.open(Loop::postponed);
            loop.queue.close();
            end(loop, r);
        }

        private void end(Loop loop, LL_Result r) {
            if (meeting.isLast()) {
                r.r2 = loop.settle();
            }
        }
    }

    /** A thread answers LATER while the consumer cancels every read. */
    @JCStressTest
    @JCStressMeta(Answered.class)
    @State
    public static class LaterAgainstCancel {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Answers from a thread that is not the consumer's. */
        @Actor
        public void stranger(L_Result r) {
            Loop loop = meeting.join();
            if (loop.answerLater(Answer.SUCCESS) != Result.OK) {
                throw new IllegalStateException("the answer was refused");
            }
            end(loop, r);
        }

        /** Cancels every read, and sends that. */
        @Actor
        public void consumer(L_Result r) {
            Loop loop = meeting.open(Loop::postponed);
            if (loop.consumer.cancelAll() != Result.OK) {
                throw new IllegalStateException("the cancel was refused");
            }
            loop.step();
            end(loop, r);
        }

        private void end(Loop loop, L_Result r) {
            if (meeting.isLast()) {
                r.r1 = loop.settle();
            }
        }
    }

    /** An answer has arrived; the producer's thread and the thread that looks after deadlines both take it. */
    @JCStressTest
    @JCStressMeta(Answered.class)
    @State
    public static class PollAgainstKeeper {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Looks after the lane. */
        @Actor
        public void keeper(L_Result r) {
            Loop loop = meeting.open(Loop::answered);
            loop.producer.lookAfter();
            end(loop, r);
        }

        /** Polls once. */
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
    @JCStressMeta(Closed.class)
    @State
    public static class PollAgainstClose {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Polls once. */
        @Actor
        public void producer(L_Result r) {
            Loop loop = meeting.open(Loop::delivered);
            if (loop.producer.enter()) {
                loop.producer.poll();
                loop.producer.leave();
            }
            end(loop, r);
        }

        /** Closes the queue. */
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
