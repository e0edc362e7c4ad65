package dev.faultline.ring;

import java.util.Objects;
import org.jspecify.annotations.Nullable;
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
        private final Meeting<Loop> meeting = new Meeting<>();

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
        private final Meeting<Loop> meeting = new Meeting<>();

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
            Meeting.headStart(STEPS_OF_A_CONSUMER);
            loop.queue.close();
            end(loop, r);
        }

        private void end(Loop loop, LL_Result r) {
            if (meeting.isLast()) {
                r.r2 = loop.settle();
            }
        }
    }

    /** A lane joins while the consumer posts: the reads reach it, by the post or by the joining. */
    @JCStressTest
    @Outcome(id = "delivered, INVALID", expect = Expect.ACCEPTABLE, desc = "post -> join, or join -> post")
    @Outcome(expect = Expect.FORBIDDEN, desc = "A lane without reads, or with twice as many.")
    @State
    public static class PostAgainstJoin {
        private final Meeting<Joining> meeting = new Meeting<>();

        /** Posts, and sends that. */
        @Actor
        public void consumer(LL_Result r) {
            Joining joining = meeting.join();
            if (joining.consumer.post(Loop.READS, 1) != Result.OK) {
                throw new IllegalStateException("the post was refused");
            }
            joining.consumer.submit();
            end(joining, r);
        }

        /** Makes a producer, and raises two groups. */
        @Actor
        public void owner(LL_Result r) {
            Joining joining = meeting.open(Joining::new);
            joining.join();
            end(joining, r);
        }

        private void end(Joining joining, LL_Result r) {
            if (meeting.isLast()) {
                r.r1 = joining.delivered();
                r.r2 = joining.close();
            }
        }
    }

    /** A queue that has no lane yet. */
    private static final class Joining implements CompletionHandler {
        final FaultQueue queue = FaultQueue.open(Loop.CONFIG);
        final RingConsumer consumer = RingConsumer.of(queue, false);
        private final StringBuilder told = new StringBuilder();
        private @Nullable FaultProducer producer;
        private int groups;

        void join() {
            FaultProducer made = queue.producer(2, (tag, code) -> told.append(code));
            producer = made;
            if (!made.enter()
                    || made.raise(1, 1, 0, 1, 0x1000, 1, true) != Result.OK
                    || made.raise(2, 1, 0, 2, 0x2000, 1, true) != Result.OK) {
                throw new IllegalStateException("the lane could not be set up");
            }
            made.poll();
            made.leave();
        }

        /** One read was posted, so one group is delivered. */
        String delivered() {
            for (int i = 0; i < 2; i++) {
                consumer.poll(this, Integer.MAX_VALUE);
                poll();
            }
            consumer.poll(this, Integer.MAX_VALUE);
            return groups == 1 ? "delivered" : groups + " groups";
        }

        private void poll() {
            FaultProducer made = Objects.requireNonNull(producer);
            if (made.enter()) {
                made.poll();
                made.leave();
            }
        }

        String close() {
            queue.close();
            poll();
            consumer.close();
            Accounting after = queue.accounting();
            boolean good = after.balanced() && after.outstanding() == 0 && queue.heldBytes() == 0;
            return good && told.toString().equals("INVALIDINVALID") ? "INVALID" : told + "; " + after;
        }

        @Override
        public void group(long userData, FaultGroup group) {
            groups++;
        }
    }

    /** Somebody looks into a lane while its owner enters, works, and leaves. */
    @JCStressTest
    @Outcome(id = "good, INVALID", expect = Expect.ACCEPTABLE, desc = "look before, during, or after the visit")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Counts of no one moment, or a group that came twice or never.")
    @State
    public static class LookAgainstOwner {
        private final Meeting<Loop> meeting = new Meeting<>();

        /** Reads the counts, twice, and all that is open. */
        @Actor
        public void watcher(LL_Result r) {
            Loop loop = meeting.join();
            Accounting first = loop.queue.accounting();
            String dump = loop.queue.dump();
            Accounting second = loop.queue.accounting();
            boolean good = first.balanced() && second.balanced() && first.raised() <= second.raised();
            r.r1 = good && dump.contains("lane 0") ? "good" : first + "; " + dump + "; " + second;
            end(loop, r);
        }

        /** Enters as soon as no visitor is there, raises, polls, leaves. */
        @Actor
        public void owner(LL_Result r) {
            Loop loop = meeting.open(() -> Loop.posted(Loop.CONFIG, 1));
            while (!loop.producer.enter()) {
                Thread.onSpinWait();
            }
            loop.raise();
            loop.producer.poll();
            loop.producer.leave();
            end(loop, r);
        }

        private void end(Loop loop, LL_Result r) {
            if (meeting.isLast()) {
                r.r2 = loop.settle();
            }
        }
    }
}
