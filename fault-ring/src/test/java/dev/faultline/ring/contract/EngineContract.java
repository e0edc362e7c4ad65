package dev.faultline.ring.contract;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.faultline.ring.Accounting;
import dev.faultline.ring.Answer;
import dev.faultline.ring.AutoAnswer;
import dev.faultline.ring.CompletionHandler;
import dev.faultline.ring.DropRule;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultWorker;
import dev.faultline.ring.Guarantee;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;

/**
 * What a {@link dev.faultline.ring.FaultQueue} with an engine on its producers' side promises besides {@link ConsumerContract}:
 * every {@link Guarantee}. Extend it with a device model of one's own, and run it.
 */
public abstract class EngineContract extends ConsumerContract {
    private static final int ALLOCATION = 16;
    private static final long SHORT_NS = 20_000_000;

    /** A device behind a queue of its own. {@link #end} closes the queue. */
    public interface Engine extends Source {
        /**
         * Raises a whole group and sends it.
         *
         * @param tag as {@link #raise}
         * @param size as {@link #raise}
         * @return {@link Result#OK}; {@link Result#FULL} if as many groups are open as the device may have, and nothing was
         *     raised; {@link Result#SHORT_BUFFER} if the queue takes no group of that size
         */
        @CheckReturnValue
        Result tryRaise(int tag, int size);

        @Override
        default void raise(int tag, int size) {
            assertEquals(Result.OK, tryRaise(tag, size), () -> "raise of tag " + tag);
        }

        /** The device leaves as its owner would have it: its producer is closed, or its address space detached. */
        void detach();
    }

    /** For a subclass. */
    protected EngineContract() {}

    /**
     * Opens a queue with one device.
     *
     * @param config the queue's settings
     * @param allocation groups the device may have open
     * @return the engine, whose consumer nobody has called
     */
    protected abstract Engine engine(QueueConfig config, int allocation);

    @Override
    protected final Source source(int entries, int largestGroup) {
        return engine(QueueConfig.of(entries).withLargestGroup(largestGroup), ALLOCATION);
    }

    private Engine open(QueueConfig config, int allocation) {
        return opened(engine(config, allocation));
    }

    private static void guarantees(Engine engine, Guarantee guarantee) {
        Set<Guarantee> all = engine.consumer().guarantees();
        assertTrue(all.contains(guarantee), () -> guarantee + " is not in " + all);
    }

    /** Raises so many, and takes those that have come to the consumer. */
    private static Seen delivered(Engine engine, int firstTag, int groups) {
        for (int i = 0; i < groups; i++) {
            engine.raise(firstTag + i, 1);
        }
        Seen seen = new Seen();
        poll(engine, seen, groups);
        return seen;
    }

    @Test
    void everyGuaranteeIsGivenButADeadlineThatIsNotAskedFor() {
        assertEquals(
                EnumSet.allOf(Guarantee.class),
                open(QueueConfig.of(4), 4).consumer().guarantees());
        assertEquals(
                EnumSet.complementOf(EnumSet.of(Guarantee.DEADLINE)),
                open(QueueConfig.of(4).withDeadlineNs(0), 4).consumer().guarantees());
    }

    @Test
    void whatIsNeverDeliveredIsCountedToo() {
        Engine engine = open(QueueConfig.of(4), 4);
        guarantees(engine, Guarantee.RAISED_COUNTED);
        engine.raise(1, 1);
        engine.raise(2, 1);
        engine.step();
        Accounting now = engine.consumer().accounting();
        assertEquals(2, now.raised(), now::toString);
        assertEquals(2, now.outstanding(), now::toString);
        assertEquals(Result.OK, engine.consumer().post(0, 1));
        Seen seen = new Seen();
        poll(engine, seen, 1);
        assertEquals(List.of("0:1"), seen.texts);
        assertEquals(2, engine.consumer().accounting().outstanding());
    }

    @Test
    void aDeviceBeyondItsQuotaIsToldFullAndNoAnswerEverIs() {
        Engine engine = open(QueueConfig.of(2), 6);
        guarantees(engine, Guarantee.QUOTA);
        FaultConsumer consumer = engine.consumer();
        for (int tag = 1; tag <= 6; tag++) {
            assertEquals(Result.OK, engine.tryRaise(tag, 1));
        }
        assertEquals(Result.FULL, engine.tryRaise(7, 1));
        engine.step();
        assertEquals(Result.FULL, engine.tryRaise(7, 1));
        assertEquals(6, consumer.accounting().raised(), "what is refused was not raised");
        assertEquals(Result.OK, consumer.post(0, 2));
        Seen seen = new Seen();
        for (int i = 0; i < 6; i++) {
            poll(engine, seen, 1);
            assertEquals(Result.OK, consumer.answerAndRepost(seen.cookies.get(i), Answer.SUCCESS));
        }
        answered(engine, 6);
        assertEquals(Result.OK, engine.tryRaise(7, 1), "answered groups make room");
        assertEquals(7, consumer.accounting().raised());
    }

    @Test
    void aGroupBeyondTheLargestIsDroppedWholeAndItsDeviceTold() {
        Engine engine = open(QueueConfig.of(4).withLargestGroup(2), 4);
        assumeTrue(engine.mostRequests() > 2, "this device makes no such group");
        assertEquals(Result.OK, engine.consumer().post(0, 4));
        assertEquals(Result.SHORT_BUFFER, engine.tryRaise(1, 3));
        engine.raise(2, 2);
        Seen seen = new Seen();
        poll(engine, seen, 1);
        assertEquals(List.of("0:2,2"), seen.texts);
        assertEquals(
                Map.of(DropRule.OVERSIZED, 1L), engine.consumer().accounting().droppedBy());
    }

    @Test
    void anOverdueGroupIsAnsweredInvalidDeliveredOrNot() {
        Engine engine = open(QueueConfig.of(2).withDeadlineNs(SHORT_NS), 4);
        guarantees(engine, Guarantee.DEADLINE);
        FaultConsumer consumer = engine.consumer();
        assertEquals(Result.OK, consumer.post(0, 2));
        long start = System.nanoTime();
        Seen seen = delivered(engine, 1, 2);
        engine.raise(3, 1);
        answered(engine, 3);
        assertTrue(System.nanoTime() - start >= SHORT_NS, "not before its time");
        assertEquals(
                List.of("1 INVALID", "2 INVALID", "3 INVALID"), engine.answers(), "in the order they became whole");
        for (int cookie : seen.cookies) {
            assertEquals(Result.STALE, consumer.answerLater(cookie, Answer.SUCCESS));
            assertEquals(Result.STALE, consumer.answerAndRepost(cookie, Answer.SUCCESS));
        }
        assertEquals(Map.of(AutoAnswer.DEADLINE, 3L), consumer.accounting().autoBy());
        assertEquals(1, delivered(engine, 4, 1).cookies.size(), "a stale answer gives its read back");
    }

    @Test
    void aGroupAnsweredInTimeIsNotAnsweredAgain() {
        Engine engine = open(QueueConfig.of(2).withDeadlineNs(SHORT_NS), 4);
        FaultConsumer consumer = engine.consumer();
        assertEquals(Result.OK, consumer.post(0, 2));
        int tag = 0;
        // A long wait for the processor may make a group overdue; what holds is that each is told once.
        for (long end = System.nanoTime() + 5 * SHORT_NS; System.nanoTime() < end; ) {
            int cookie = delivered(engine, ++tag, 1).cookies.getFirst();
            Result _ = consumer.answerAndRepost(cookie, Answer.SUCCESS);
            answered(engine, tag);
        }
        assertEquals(tag, engine.answers().size());
        Accounting now = consumer.accounting();
        assertEquals(tag, now.answered() + now.autoAnswered(), now::toString);
        assertTrue(now.answered() > 0, now::toString);
    }

    @Test
    void aDeviceThatLeavesHasAllItsGroupsAnswered() {
        Engine engine = open(QueueConfig.of(3), 8);
        guarantees(engine, Guarantee.ANSWERED_AT_DETACH);
        FaultConsumer consumer = engine.consumer();
        assertEquals(Result.OK, consumer.post(0, 3));
        Seen seen = delivered(engine, 1, 3);
        engine.raise(4, 1);
        assertEquals(Result.OK, consumer.answer(seen.cookies.get(0), Answer.LATER));
        assertEquals(Result.OK, consumer.answer(seen.cookies.get(1), Answer.SUCCESS));
        consumer.submit();
        engine.step();
        engine.detach();
        answered(engine, 4);
        assertEquals(Set.of("1 INVALID", "2 SUCCESS", "3 INVALID", "4 INVALID"), Set.copyOf(engine.answers()));
        assertEquals(4, engine.answers().size());
        for (int cookie : seen.cookies) {
            assertNotEquals(Result.OK, consumer.answer(cookie, Answer.SUCCESS));
            assertNotEquals(Result.OK, consumer.answerLater(cookie, Answer.SUCCESS));
        }
        Accounting now = consumer.accounting();
        assertEquals(Map.of(AutoAnswer.DETACH, 3L), now.autoBy(), now::toString);
        assertEquals(0, now.outstanding(), now::toString);
    }

    @Test
    void closingAnswersWhateverIsOpen() {
        Engine engine = open(QueueConfig.of(4), 8);
        guarantees(engine, Guarantee.ANSWERED_AT_CLOSE);
        FaultConsumer consumer = engine.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        Seen seen = delivered(engine, 1, 4);
        engine.raise(5, 1);
        assertEquals(Result.OK, consumer.answer(seen.cookies.get(0), Answer.LATER));
        assertEquals(Result.OK, consumer.answer(seen.cookies.get(1), Answer.SUCCESS));
        assertEquals(Result.OK, consumer.answerLater(seen.cookies.get(2), Answer.SUCCESS));
        consumer.submit();
        engine.end();
        answered(engine, 5);
        assertEquals(
                Set.of("1 INVALID", "2 SUCCESS", "3 SUCCESS", "4 INVALID", "5 INVALID"), Set.copyOf(engine.answers()));
        assertEquals(5, engine.answers().size());
        for (int cookie : seen.cookies) {
            assertEquals(Result.CLOSED, consumer.answer(cookie, Answer.SUCCESS));
            assertEquals(Result.CLOSED, consumer.answerLater(cookie, Answer.SUCCESS));
        }
        assertEquals(Map.of(AutoAnswer.CLOSE, 3L), consumer.accounting().autoBy());
        assertNotEquals(Result.OK, engine.tryRaise(6, 1));
    }

    @Test
    void closingWithoutAConsumerAnswersToo() {
        Engine engine = open(QueueConfig.of(4), 4);
        engine.raise(1, 1);
        engine.raise(2, 1);
        engine.end();
        answered(engine, 2);
        assertEquals(List.of("1 INVALID", "2 INVALID"), engine.answers());
        assertEquals(Result.CLOSED, engine.consumer().await(new Seen(), 1, SECOND));
    }

    @Test
    void aLateAnswerIsNeverAnotherGroups() {
        Engine engine = open(QueueConfig.of(2), 2);
        guarantees(engine, Guarantee.STALE_TOLD_APART);
        FaultConsumer consumer = engine.consumer();
        assertEquals(Result.OK, consumer.post(0, 2));
        Set<Integer> given = new HashSet<>();
        Deque<Integer> late = new ArrayDeque<>();
        for (int tag = 1; tag <= 500; tag++) {
            int cookie = delivered(engine, tag, 1).cookies.getFirst();
            assertTrue(given.add(cookie), "a cookie came again after " + given.size() + " groups");
            for (int before : late) {
                assertEquals(Result.STALE, consumer.answer(before, Answer.INVALID));
                assertEquals(Result.STALE, consumer.answerAndRepost(before, Answer.INVALID));
                assertEquals(Result.STALE, consumer.answerLater(before, Answer.INVALID));
            }
            assertEquals(Result.OK, consumer.answerAndRepost(cookie, Answer.SUCCESS));
            answered(engine, tag);
            assertEquals(tag + " SUCCESS", engine.answers().getLast());
            late.add(cookie);
            if (late.size() > 20) {
                late.remove();
            }
        }
        assertEquals(500, consumer.accounting().answered());
    }

    @Test
    void whatWasNeverGivenIsStale() {
        Engine engine = open(QueueConfig.of(4), 4);
        FaultConsumer consumer = engine.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        Seen seen = delivered(engine, 1, 2);
        long seed = System.nanoTime();
        Random random = new Random(seed);
        for (int i = 0; i < 20_000; i++) {
            // Any number, or one bit beside the truth.
            int cookie = i % 2 == 0 ? random.nextInt() : seen.cookies.get(random.nextInt(2)) ^ 1 << random.nextInt(32);
            if (!seen.cookies.contains(cookie)) {
                String what = "seed " + seed + ", cookie 0x" + Integer.toHexString(cookie);
                assertEquals(Result.STALE, consumer.answer(cookie, Answer.SUCCESS), what);
                assertEquals(Result.STALE, consumer.answerAndRepost(cookie, Answer.LATER), what);
                assertEquals(Result.STALE, consumer.answerLater(cookie, Answer.SUCCESS), what);
            }
        }
        consumer.submit();
        engine.step();
        assertEquals(2, consumer.accounting().outstanding());
        for (int cookie : seen.cookies) {
            assertEquals(Result.OK, consumer.answer(cookie, Answer.SUCCESS));
        }
        answered(engine, 2);
        assertEquals(List.of("1 SUCCESS", "2 SUCCESS"), engine.answers());
    }

    @Test
    void everyReadEndsOnceWithAGroupOrCancelled() {
        Engine engine = open(QueueConfig.of(8), 8);
        FaultConsumer consumer = engine.consumer();
        long seed = System.nanoTime();
        Random random = new Random(seed);
        int[] posted = {0};
        int[] ended = {0};
        int[] cancels = {0};
        int[] results = {0};
        CompletionHandler handler = new CompletionHandler() {
            @Override
            public void group(long userData, FaultGroup group) {
                ended[0]++;
                assertEquals(Result.OK, consumer.answer(group.cookie(), Answer.SUCCESS));
            }

            @Override
            public void ended(long userData, Result why, int reads) {
                assertEquals(Result.CANCELLED, why);
                ended[0] += reads;
                results[0]++;
            }
        };
        int tag = 0;
        for (int i = 0; i < 2_000; i++) {
            switch (random.nextInt(5)) {
                case 0 -> {
                    int reads = 1 + random.nextInt(3);
                    if (consumer.post(random.nextInt(3), reads) == Result.OK) {
                        posted[0] += reads;
                    }
                }
                case 1 -> {
                    Result result = random.nextInt(4) == 0 ? consumer.cancelAll() : consumer.cancel(random.nextInt(3));
                    cancels[0] += result == Result.OK ? 1 : 0;
                }
                case 2 -> engine.step();
                case 3 -> tag += engine.tryRaise(tag + 1, 1) == Result.OK ? 1 : 0;
                default -> consumer.poll(handler, 1 + random.nextInt(4));
            }
        }
        long end = System.nanoTime() + 10 * SECOND;
        Result last;
        while ((last = consumer.cancelAll()) == Result.FULL) {
            engine.step();
            consumer.poll(handler, 100);
            assertTrue(System.nanoTime() < end, "no room for a cancel");
        }
        assertEquals(Result.OK, last);
        cancels[0]++;
        while (results[0] < cancels[0]) {
            consumer.submit();
            engine.step();
            consumer.poll(handler, 100);
            assertTrue(System.nanoTime() < end, () -> "seed " + seed + ": of " + cancels[0] + " cancels " + results[0]);
        }
        assertEquals(posted[0], ended[0], "seed " + seed);
    }

    @Test
    void aSleepingConsumerIsWokenByAGroup() throws Exception {
        Engine engine = open(QueueConfig.of(4), 4);
        FaultConsumer consumer = engine.consumer();
        AtomicReference<Throwable> failure = new AtomicReference<>();
        CountDownLatch posted = new CountDownLatch(1);
        Thread thread = Thread.ofPlatform().start(() -> {
            try {
                assertEquals(Result.OK, consumer.post(0, 4));
                consumer.submit();
                posted.countDown();
                FaultGroup group = new FaultGroup();
                for (int i = 0; i < 20; i++) {
                    assertEquals(Result.OK, consumer.take(group, 60 * SECOND), "group " + i);
                    assertEquals(Result.OK, consumer.answerAndRepost(group.cookie(), Answer.SUCCESS));
                }
                assertEquals(Result.TIMED_OUT, consumer.take(group, 0));
            } catch (Throwable t) {
                failure.set(t);
            }
        });
        posted.await();
        for (int tag = 1; tag <= 20; tag++) {
            // Long enough to be asleep, now and then.
            LockSupport.parkNanos(tag % 4 == 0 ? 5_000_000 : 0);
            engine.raise(tag, 1);
            answeredBy(engine, tag);
        }
        thread.join();
        assertEquals(null, failure.get());
    }

    @Test
    void aHandlerThatThrowsIsCountedAsThat() {
        Engine engine = open(QueueConfig.of(4), 4);
        AtomicInteger calls = new AtomicInteger();
        try (FaultWorker worker = engine.consumer().run(group -> {
            if (calls.incrementAndGet() <= 2) {
                throw new IllegalStateException("on purpose");
            }
            return Answer.SUCCESS;
        })) {
            for (int tag = 1; tag <= 3; tag++) {
                engine.raise(tag, 1);
                answeredBy(engine, tag);
            }
            assertEquals(2, worker.failures());
        }
        assertEquals(List.of("1 INVALID", "2 INVALID", "3 SUCCESS"), engine.answers());
        assertEquals(
                Map.of(AutoAnswer.HANDLER, 2L), engine.consumer().accounting().autoBy());
    }

    /** As {@link #answered}, where the consumer belongs to another thread. */
    private static void answeredBy(Engine engine, int n) {
        long end = System.nanoTime() + 10 * SECOND;
        while (engine.answers().size() < n) {
            engine.step();
            assertTrue(System.nanoTime() < end, "too few answers");
        }
    }

    @Test
    void theCountsBalanceAtEveryMomentAndForEveryThread() throws Exception {
        Engine engine = open(QueueConfig.of(8), 8);
        AtomicBoolean over = new AtomicBoolean();
        List<String> bad = new ArrayList<>();
        AtomicInteger looks = new AtomicInteger();
        Thread reader = Thread.ofPlatform().start(() -> {
            long raised = 0;
            while (!over.get()) {
                Accounting now = engine.consumer().accounting();
                if (!now.balanced() || now.raised() < raised) {
                    bad.add(now.toString());
                }
                raised = now.raised();
                looks.incrementAndGet();
            }
        });
        FaultWorker worker = engine.consumer().run(group -> Answer.SUCCESS);
        int raised = 0;
        long end = System.nanoTime() + 30 * SECOND;
        while (engine.answers().size() < 2_000 || looks.get() < 50) {
            if (raised < 2_000 && engine.tryRaise(raised + 1, 1) == Result.OK) {
                raised++;
            }
            engine.step();
            assertTrue(System.nanoTime() < end, "too few answers");
        }
        over.set(true);
        // The reader may be waiting for this thread to poll.
        while (reader.isAlive()) {
            engine.step();
        }
        reader.join();
        worker.close();
        assertFalse(worker.isRunning());
        assertEquals(List.of(), bad);
        assertEquals(2_000, engine.consumer().accounting().answered());
    }
}
