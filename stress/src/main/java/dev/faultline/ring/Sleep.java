package dev.faultline.ring;

import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressMeta;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.L_Result;

/**
 * Both ends really go to sleep, about when there is news for them.
 *
 * <p>Would catch: news that is neither found by the last look before the sleep nor followed by a wake-up: the wait then takes
 * its whole limit.
 */
public final class Sleep {
    private static final long LIMIT_NS = 10_000_000_000L;

    /** In spins: about as long as an end looks before it sleeps. */
    private static final int LOOKS = 3_000;

    private Sleep() {}

    /** A wait that has to end in time. */
    @Outcome(id = "OK", expect = Expect.ACCEPTABLE, desc = "news -> look, or announce -> look -> news -> wake-up")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Slept, and nobody woke it.")
    private static final class InTime {}

    /** A consumer waits; its producer raises. */
    @JCStressTest
    @JCStressMeta(InTime.class)
    @State
    public static class AwaitAgainstRaise {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Waits for a group. */
        @Actor
        public void consumer(L_Result r) {
            Loop loop = meeting.join();
            r.r1 = loop.consumer.await(loop, 1, LIMIT_NS);
            end(loop);
        }

        /** Raises, and publishes that. */
        @Actor
        public void producer() {
            Loop loop = meeting.open(() -> Loop.posted(Loop.CONFIG, 1));
            Meeting.headStart(LOOKS);
            if (loop.producer.enter()) {
                loop.raise();
                loop.producer.leave();
            }
            end(loop);
        }

        private void end(Loop loop) {
            if (meeting.isLast()) {
                loop.queue.close();
            }
        }
    }

    /** A consumer waits; another thread wakes it. */
    @JCStressTest
    @Outcome(id = "WOKEN", expect = Expect.ACCEPTABLE, desc = "wake -> look, or announce -> look -> wake")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Slept, and nobody woke it.")
    @State
    public static class AwaitAgainstWake {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Waits. */
        @Actor
        public void consumer(L_Result r) {
            Loop loop = meeting.join();
            r.r1 = loop.consumer.await(loop, 1, LIMIT_NS);
            end(loop);
        }

        /** Wakes it. */
        @Actor
        public void waker() {
            Loop loop = meeting.open(() -> Loop.posted(Loop.CONFIG, 1));
            Meeting.headStart(LOOKS);
            loop.consumer.wake();
            end(loop);
        }

        private void end(Loop loop) {
            if (meeting.isLast()) {
                loop.queue.close();
            }
        }
    }

    /** A producer waits; the consumer answers. */
    @JCStressTest
    @JCStressMeta(InTime.class)
    @State
    public static class ProducerAgainstAnswer {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Waits for an answer. */
        @Actor
        public void producer(L_Result r) {
            Loop loop = meeting.open(Loop::delivered);
            r.r1 = waitsInside(loop);
            end(loop);
        }

        /** Answers, and sends the answer. */
        @Actor
        public void consumer() {
            Loop loop = meeting.join();
            Meeting.headStart(LOOKS);
            must(loop.answer() == Result.OK);
            end(loop);
        }

        private void end(Loop loop) {
            if (meeting.isLast()) {
                loop.queue.close();
            }
        }
    }

    /** A producer waits; a thread that is not the consumer's answers LATER. */
    @JCStressTest
    @JCStressMeta(InTime.class)
    @State
    public static class ProducerAgainstLater {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Waits for an answer. */
        @Actor
        public void producer(L_Result r) {
            Loop loop = meeting.open(Loop::postponed);
            r.r1 = waitsInside(loop);
            end(loop);
        }

        /** Answers from a thread that is not the consumer's. */
        @Actor
        public void stranger() {
            Loop loop = meeting.join();
            Meeting.headStart(LOOKS);
            must(loop.answerLater(Answer.SUCCESS) == Result.OK);
            end(loop);
        }

        private void end(Loop loop) {
            if (meeting.isLast()) {
                loop.queue.close();
            }
        }
    }

    private static String waitsInside(Loop loop) {
        long start = System.nanoTime();
        // Refused while a visitor has its task run inside.
        while (!loop.producer.enter()) {
            Thread.onSpinWait();
        }
        boolean inTime = loop.producer.await(LIMIT_NS) && System.nanoTime() - start < LIMIT_NS;
        loop.producer.poll();
        loop.producer.leave();
        return inTime && loop.told() == 1 ? "OK" : "late, told " + loop.told();
    }

    private static void must(boolean held) {
        if (!held) {
            throw new IllegalStateException("the answer was refused");
        }
    }
}
