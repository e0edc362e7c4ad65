package dev.faultline.ring;

import java.util.ArrayList;
import java.util.List;
import java.util.function.BooleanSupplier;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressMeta;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.LL_Result;

/**
 * Groups and answers go round a lane of few entries several times, while both ends are at work.
 *
 * <p>Would catch: an entry that is written before the other end has read what was there, or read before it is written; a group
 * or an answer that comes twice, out of order, torn, or not at all.
 */
public final class Laps {
    private static final int GROUPS = 6;
    private static final long LIMIT_NS = 20_000_000_000L;
    private static final int LOOKS_PER_CLOCK = 1_000;

    private Laps() {}

    /** All came round. */
    @Outcome(id = "123456, 123456", expect = Expect.ACCEPTABLE, desc = "each group and each answer once, in order")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Lost, torn, twice, or out of order.")
    private static final class AllCameRound {}

    /** A queue whose lane holds so many entries, and what came out of it. */
    private static final class Round {
        final FaultQueue queue;
        final FaultProducer producer;
        final RingConsumer consumer;
        private final List<Long> groups = new ArrayList<>();
        private final List<Long> answers = new ArrayList<>();

        Round(int entries) {
            queue = FaultQueue.open(
                    QueueConfig.of(entries).withLanes(1).withDeadlineNs(0).withLargestGroup(2));
            producer = queue.producer(entries, (tag, code) -> answers.add(code == Answer.SUCCESS ? tag : -tag));
            consumer = RingConsumer.of(queue, false);
            if (consumer.post(Loop.READS, entries) != Result.OK) {
                throw new IllegalStateException("the post was refused");
            }
        }

        /** Groups of one and of two by turns, whose every field follows from their number. */
        void produce() {
            if (!producer.enter()) {
                throw new IllegalStateException("somebody has entered");
            }
            int[] raised = {0};
            until(() -> {
                int n = raised[0] + 1;
                if (n <= GROUPS && (n % 2 == 0 || request(n, false) == Result.OK) && request(n, true) == Result.OK) {
                    raised[0]++;
                }
                producer.poll();
                return answers.size() == GROUPS;
            });
            producer.leave();
        }

        private Result request(int n, boolean last) {
            Result result = producer.raise(n, n, n, n, (long) n << 12 | (last ? 1 : 0), 1, last);
            if (last && result != Result.OK && n % 2 != 0) {
                throw new IllegalStateException("a group that was begun was refused: " + result);
            }
            return result;
        }

        void consume() {
            until(() -> {
                consumer.poll(
                        (userData, group) -> {
                            groups.add(number(userData, group));
                            if (consumer.answerAndRepost(group.cookie(), Answer.SUCCESS) != Result.OK) {
                                groups.add(-1L);
                            }
                        },
                        Integer.MAX_VALUE);
                return groups.size() >= GROUPS;
            });
            // What the last poll has staged.
            consumer.submit();
        }

        private static long number(long userData, FaultGroup group) {
            long n = group.device();
            boolean whole = userData == Loop.READS && group.size() == (n % 2 == 0 ? 1 : 2) && group.groupIndex() == n;
            for (int i = 0; i < group.size(); i++) {
                whole &= group.pasid(i) == n && group.address(i) == (n << 12 | (i == group.size() - 1 ? 1 : 0));
            }
            return whole ? n : -n;
        }

        private static void until(BooleanSupplier done) {
            long start = System.nanoTime();
            for (int looks = 1; !done.getAsBoolean(); looks++) {
                Thread.onSpinWait();
                if (looks % LOOKS_PER_CLOCK == 0) {
                    if (System.nanoTime() - start > LIMIT_NS) {
                        throw new IllegalStateException("a group or an answer was lost");
                    }
                    Thread.yield();
                }
            }
        }

        static String text(List<Long> numbers) {
            StringBuilder text = new StringBuilder();
            numbers.forEach(text::append);
            return text.toString();
        }
    }

    private static void produce(Meeting<Round> meeting, int entries, LL_Result r) {
        Round round = meeting.open(() -> new Round(entries));
        round.produce();
        r.r2 = Round.text(round.answers);
        end(meeting, round);
    }

    private static void consume(Meeting<Round> meeting, LL_Result r) {
        Round round = meeting.join();
        round.consume();
        r.r1 = Round.text(round.groups);
        end(meeting, round);
    }

    private static void end(Meeting<Round> meeting, Round round) {
        if (meeting.isLast()) {
            round.queue.close();
            round.consumer.close();
        }
    }

    /** Every entry is used again at once. */
    @JCStressTest
    @JCStressMeta(AllCameRound.class)
    @State
    public static class OneEntry {
        private final Meeting<Round> meeting = new Meeting<>();

        /** Raises, and takes the answers. */
        @Actor
        public void producer(LL_Result r) {
            produce(meeting, 1, r);
        }

        /** Takes the groups, and answers. */
        @Actor
        public void consumer(LL_Result r) {
            consume(meeting, r);
        }
    }

    /** Two under way. */
    @JCStressTest
    @JCStressMeta(AllCameRound.class)
    @State
    public static class TwoEntries {
        private final Meeting<Round> meeting = new Meeting<>();

        /** Raises, and takes the answers. */
        @Actor
        public void producer(LL_Result r) {
            produce(meeting, 2, r);
        }

        /** Takes the groups, and answers. */
        @Actor
        public void consumer(LL_Result r) {
            consume(meeting, r);
        }
    }
}
