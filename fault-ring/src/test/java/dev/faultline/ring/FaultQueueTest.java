package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class FaultQueueTest {
    private static final int READ = 1;
    private static final long SECOND = 1_000_000_000L;

    private final List<FaultQueue> queues = new ArrayList<>();
    private final List<String> answers = new ArrayList<>();
    private final AnswerSink sink = (tag, code) -> answers.add(tag + " " + code);

    private FaultQueue open(QueueConfig config) {
        FaultQueue queue = FaultQueue.open(config);
        queues.add(queue);
        return queue;
    }

    @AfterEach
    void everyGroupIsAccountedForAndNoMemoryIsHeld() {
        for (FaultQueue queue : queues) {
            queue.close();
            Accounting a = queue.accounting();
            assertTrue(a.balanced(), a::toString);
            assertEquals(0, a.outstanding(), a::toString);
            assertEquals(0, queue.heldBytes());
        }
    }

    private static FaultProducer entered(FaultQueue queue, int allocation, AnswerSink sink) {
        FaultProducer producer = queue.producer(allocation, sink);
        assertTrue(producer.enter());
        return producer;
    }

    private static Result raise(FaultProducer producer, long tag) {
        return producer.raise(tag, 7, 5, (int) tag, tag << 12, READ, true);
    }

    /** Collects what a consumer is handed. */
    private static final class Seen implements CompletionHandler {
        final List<Integer> cookies = new ArrayList<>();
        final List<String> texts = new ArrayList<>();

        @Override
        public void group(long userData, FaultGroup group) {
            cookies.add(group.cookie());
            texts.add(userData + ":" + group.groupIndex() + "/" + group.size() + "@"
                    + Long.toHexString(group.address(0)));
        }

        @Override
        public void ended(long userData, Result why, int reads) {
            texts.add(userData + ":" + why + " " + reads);
        }
    }

    @Test
    void aGroupGoesIntoAPostedReadAndItsAnswerGoesBack() {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultProducer producer = entered(queue, 4, sink);
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(9, 2));
        Seen seen = new Seen();
        assertEquals(0, consumer.poll(seen, 10));

        assertEquals(Result.OK, producer.raise(70, 3, 5, 44, 0x7000_1234L, 3, true));
        assertEquals(0, producer.poll());
        int n = consumer.poll(
                (userData, group) -> {
                    assertEquals(9, userData);
                    assertEquals(1, group.size());
                    assertEquals(3, group.device());
                    assertEquals(5, group.pasid(0));
                    assertTrue(group.hasPasid(0));
                    assertEquals(44, group.groupIndex());
                    assertEquals(0x7000_1234L, group.address(0));
                    assertEquals(3, group.access(0));
                    assertEquals(0, group.length(0));
                    assertTrue(System.nanoTime() - group.raisedAtNs() < 10 * SECOND);
                    assertNotEquals(0, group.cookie());
                    assertThrows(IndexOutOfBoundsException.class, () -> group.address(1));
                    assertEquals(Result.OK, consumer.answer(group.cookie(), Answer.SUCCESS));
                },
                10);
        assertEquals(1, n);
        assertEquals(1, producer.poll());
        assertEquals(List.of("70 SUCCESS"), answers);
        Accounting a = queue.accounting();
        assertEquals(
                "raised 1 = answered 1 + auto-answered 0 + dropped 0 + outstanding 0 (requests 1, answers 1, stale 0)",
                a.toString());
        producer.leave();
    }

    @Test
    void groupsWaitForReadsInOrderAndNoReadEndsEmpty() {
        FaultQueue queue = open(QueueConfig.of(8));
        FaultProducer producer = entered(queue, 8, sink);
        FaultConsumer consumer = queue.consumer();
        for (int i = 1; i <= 3; i++) {
            assertEquals(Result.OK, raise(producer, i));
        }
        producer.flush();
        Seen seen = new Seen();
        assertEquals(0, consumer.poll(seen, 10), "no read, no completion");
        assertEquals(3, queue.accounting().outstanding());
        assertEquals(Result.OK, consumer.post(1, 2));
        consumer.submit();
        producer.poll();
        assertEquals(2, consumer.poll(seen, 10));
        assertEquals(Result.OK, consumer.post(2, 5));
        consumer.submit();
        producer.poll();
        assertEquals(1, consumer.poll(seen, 10));
        assertEquals(List.of("1:1/1@1000", "1:2/1@2000", "2:3/1@3000"), seen.texts);
        for (int cookie : seen.cookies) {
            assertEquals(Result.OK, consumer.answer(cookie, Answer.INVALID));
        }
        consumer.submit();
        assertEquals(3, producer.poll());
        assertEquals(List.of("1 INVALID", "2 INVALID", "3 INVALID"), answers);
        producer.leave();
    }

    @Test
    void aLargerGroupArrivesWholeAndIsAnsweredOnce() {
        FaultQueue queue = open(QueueConfig.of(4).withLargestGroup(5));
        FaultProducer producer = entered(queue, 4, sink);
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        consumer.submit();
        // Two groups of one device interleaved; PASIDs may differ inside a group, as the kernel has it.
        assertEquals(Result.OK, producer.raise(1, 2, 8, 1, 0xa000, READ, false));
        assertEquals(Result.OK, producer.raise(2, 2, 8, 2, 0xb000, READ, false));
        assertEquals(Result.OK, producer.raise(3, 2, 9, 2, 0xc000, 2, true));
        assertEquals(Result.OK, producer.raise(4, 2, FaultProducer.NO_PASID, 1, 0xd000, 4, true));
        producer.poll();
        List<String> got = new ArrayList<>();
        consumer.poll(
                (userData, g) -> {
                    StringBuilder s = new StringBuilder("" + g.groupIndex());
                    for (int i = 0; i < g.size(); i++) {
                        s.append(' ')
                                .append(Long.toHexString(g.address(i)))
                                .append('/')
                                .append(g.pasid(i));
                        assertEquals(i != 1 || g.groupIndex() != 1, g.hasPasid(i));
                    }
                    got.add(s.toString());
                    assertEquals(Result.OK, consumer.answer(g.cookie(), Answer.SUCCESS));
                },
                10);
        assertEquals(List.of("2 b000/8 c000/9", "1 a000/8 d000/0"), got);
        consumer.submit();
        assertEquals(2, producer.poll());
        assertEquals(List.of("3 SUCCESS", "4 SUCCESS"), answers, "the tag is that of the last request");
        Accounting a = queue.accounting();
        assertEquals(4, a.requests());
        assertEquals(2, a.raised());
        producer.leave();
    }

    @Test
    void aGroupLargerThanTheQueueTakesIsDroppedWhole() {
        FaultQueue queue = open(QueueConfig.of(4).withLargestGroup(2));
        FaultProducer producer = entered(queue, 4, sink);
        assertEquals(Result.OK, producer.raise(1, 2, 8, 1, 0xa000, READ, false));
        assertEquals(Result.OK, producer.raise(1, 2, 8, 1, 0xb000, READ, false));
        assertEquals(Result.SHORT_BUFFER, producer.raise(1, 2, 8, 1, 0xc000, READ, true));
        producer.poll();
        assertEquals(Map.of(DropRule.OVERSIZED, 1L), queue.accounting().droppedBy());
        assertEquals(List.of(), answers);
        producer.leave();
    }

    @Test
    void fullIsSaidWhereAGroupIsStarted() {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultProducer producer = entered(queue, 2, sink);
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        assertEquals(Result.FULL, consumer.post(0, 1));
        consumer.submit();
        assertEquals(Result.OK, raise(producer, 1));
        assertEquals(Result.OK, raise(producer, 2));
        assertEquals(Result.FULL, raise(producer, 3));
        assertEquals(2, queue.accounting().raised(), "what is refused was not raised");
        producer.poll();
        Seen seen = new Seen();
        consumer.poll(seen, 1);
        assertEquals(Result.OK, consumer.answer(seen.cookies.get(0), Answer.SUCCESS));
        consumer.submit();
        assertEquals(1, producer.poll());
        assertEquals(Result.OK, raise(producer, 3));
        producer.leave();
    }

    @Test
    void lateRepeatedAndForeignAnswersAreStale() {
        FaultQueue queue = open(QueueConfig.of(4).withDeadlineNs(20_000_000));
        FaultProducer producer = entered(queue, 2, sink);
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        consumer.submit();
        raiseOk(producer, 1);
        raiseOk(producer, 2);
        producer.poll();
        Seen seen = new Seen();
        consumer.poll(seen, 10);
        int first = seen.cookies.get(0);
        int second = seen.cookies.get(1);
        assertEquals(Result.STALE, consumer.answer(0, Answer.SUCCESS));
        assertEquals(Result.STALE, consumer.answer(first ^ 0x4000_0000, Answer.SUCCESS));
        assertEquals(Result.STALE, consumer.answer(first ^ 1, Answer.SUCCESS), "another lane's");
        assertEquals(Result.STALE, consumer.answer(-1, Answer.SUCCESS));
        assertEquals(Result.OK, consumer.answer(first, Answer.SUCCESS));
        assertEquals(Result.STALE, consumer.answer(first, Answer.SUCCESS), "repeated");
        consumer.submit();
        assertEquals(1, producer.poll());
        LockSupport.parkNanos(25_000_000);
        pollUntil(producer, 1);
        assertEquals(List.of("1 SUCCESS", "2 INVALID"), answers);
        assertEquals(Result.STALE, consumer.answer(second, Answer.SUCCESS), "late");
        Accounting a = queue.accounting();
        assertEquals(1, a.answered());
        assertEquals(Map.of(AutoAnswer.DEADLINE, 1L), a.autoBy());
        assertEquals(0, a.stale(), "a stale answer is refused where it is given");
        producer.leave();
    }

    private static void raiseOk(FaultProducer producer, long tag) {
        assertEquals(Result.OK, raise(producer, tag));
    }

    private static void pollUntil(FaultProducer producer, int n) {
        long end = System.nanoTime() + 10 * SECOND;
        for (int got = 0; got < n; got += producer.poll()) {
            assertTrue(System.nanoTime() < end, "no answer");
        }
    }

    private static void pollUntil(FaultProducer producer, CountDownLatch latch) {
        long end = System.nanoTime() + 10 * SECOND;
        while (latch.getCount() > 0) {
            producer.poll();
            assertTrue(System.nanoTime() < end, "not reached");
        }
    }

    @Test
    void anAnswerThatCrossesTheDeadlineChangesNothing() {
        FaultQueue queue = open(QueueConfig.of(4).withDeadlineNs(5_000_000));
        FaultProducer producer = entered(queue, 2, sink);
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(3, 1));
        consumer.submit();
        raiseOk(producer, 1);
        producer.poll();
        Seen seen = new Seen();
        consumer.poll(seen, 10);
        // Staged in time, submitted too late: the deadline decides, the read comes back all the same.
        assertEquals(Result.OK, consumer.answerAndRepost(seen.cookies.get(0), Answer.SUCCESS));
        LockSupport.parkNanos(6_000_000);
        pollUntil(producer, 1);
        assertEquals(List.of("1 INVALID"), answers);
        consumer.submit();
        producer.poll();
        assertEquals(1, queue.accounting().stale());
        raiseOk(producer, 2);
        producer.poll();
        assertEquals(1, consumer.poll(seen, 10), "the read was posted again");
        assertEquals("3:2/1@2000", seen.texts.get(1));
        LockSupport.parkNanos(6_000_000);
        pollUntil(producer, 1);
        assertEquals(Result.STALE, consumer.answerAndRepost(seen.cookies.get(1), Answer.SUCCESS));
        consumer.submit();
        producer.poll();
        raiseOk(producer, 3);
        producer.poll();
        assertEquals(1, consumer.poll(seen, 10), "also where the answer was refused as stale");
        producer.leave();
    }

    @Test
    void cookiesAreNotReusedAtOnce() {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultProducer producer = entered(queue, 2, sink);
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(0, 1));
        consumer.submit();
        Set<Integer> cookies = new HashSet<>();
        for (int i = 1; i <= 100_000; i++) {
            raiseOk(producer, i);
            producer.poll();
            assertEquals(
                    1,
                    consumer.poll(
                            (userData, g) -> {
                                assertTrue(cookies.add(g.cookie()), "seen before");
                                assertNotEquals(0, g.cookie());
                                assertEquals(Result.OK, consumer.answerAndRepost(g.cookie(), Answer.SUCCESS));
                            },
                            1));
            assertEquals(1, producer.poll());
        }
        producer.leave();
    }

    @Test
    void laterIsAnsweredFromAnotherThreadAndOnlyOnce() throws Exception {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultProducer producer = queue.producer(4, sink);
        AtomicInteger cookie = new AtomicInteger();
        CountDownLatch handled = new CountDownLatch(1);
        FaultConsumer consumer = queue.consumer();
        try (FaultWorker worker = consumer.run(group -> {
            cookie.set(group.cookie());
            handled.countDown();
            return Answer.LATER;
        })) {
            assertTrue(producer.enter());
            raiseOk(producer, 1);
            pollUntil(producer, handled);
            assertEquals(Result.OK, consumer.answerLater(cookie.get(), Answer.SUCCESS));
            assertEquals(Result.STALE, consumer.answerLater(cookie.get(), Answer.SUCCESS));
            assertThrows(IllegalArgumentException.class, () -> consumer.answerLater(1, Answer.LATER));
            assertTrue(producer.await(5 * SECOND));
            assertEquals(1, producer.poll());
            assertEquals(List.of("1 SUCCESS"), answers);
            assertEquals(0, worker.failures());
            producer.leave();
        }
    }

    @Test
    void anAnswerToALaneNobodyStepsIsKeptForItsThread() {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultProducer producer = entered(queue, 4, sink);
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        consumer.submit();
        raiseOk(producer, 1);
        producer.poll();
        producer.leave();
        Seen seen = new Seen();
        consumer.poll(seen, 1);
        assertEquals(Result.OK, consumer.answerLater(seen.cookies.get(0), Answer.SUCCESS));
        assertEquals(List.of(), answers, "no thread but the one that enters is told");
        assertEquals(1, queue.accounting().answered());
        assertTrue(producer.enter());
        assertEquals(1, producer.poll());
        assertEquals(List.of("1 SUCCESS"), answers);
        producer.leave();
    }

    @Test
    void aHandlerThatThrowsAnswersInvalidAndTheLoopGoesOn() {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultProducer producer = entered(queue, 4, sink);
        AtomicInteger calls = new AtomicInteger();
        try (FaultWorker worker = queue.consumer().run(group -> {
            if (calls.incrementAndGet() <= 2) {
                throw new IllegalStateException("as the test wants");
            }
            return Answer.SUCCESS;
        })) {
            for (int i = 1; i <= 3; i++) {
                raiseOk(producer, i);
                producer.flush();
                pollUntil(producer, 1);
            }
            assertEquals(List.of("1 INVALID", "2 INVALID", "3 SUCCESS"), answers);
            assertEquals(2, worker.failures());
            assertEquals(Map.of(AutoAnswer.HANDLER, 2L), queue.accounting().autoBy());
            assertTrue(worker.isRunning());
        }
        producer.leave();
    }

    @Test
    void cancelledReadsEndWithTheirOwnCompletionAndNothingIsLost() {
        FaultQueue queue = open(QueueConfig.of(8));
        FaultProducer producer = entered(queue, 8, sink);
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(1, 2));
        assertEquals(Result.OK, consumer.post(2, 3));
        assertEquals(Result.OK, consumer.post(1, 1));
        assertEquals(Result.OK, consumer.cancel(1));
        assertEquals(Result.OK, consumer.cancel(77));
        consumer.submit();
        raiseOk(producer, 1);
        producer.poll();
        Seen seen = new Seen();
        consumer.poll(seen, 10);
        assertEquals(
                List.of("1:CANCELLED 3", "77:CANCELLED 0", "2:1/1@1000"), seen.texts, "the group found the read left");
        assertEquals(Result.OK, consumer.cancelAll());
        consumer.submit();
        producer.poll();
        raiseOk(producer, 2);
        producer.poll();
        consumer.poll(seen, 10);
        assertEquals("0:CANCELLED 2", seen.texts.get(3));
        assertEquals(4, seen.texts.size());
        assertEquals(Result.OK, consumer.post(5, 8), "all room is back");
        consumer.submit();
        producer.poll();
        consumer.poll(seen, 10);
        assertEquals("5:2/1@2000", seen.texts.get(4));
        producer.leave();
    }

    @Test
    void closeAnswersEverybodyEndsEveryReadAndRefusesWhatComesAfter() {
        FaultQueue queue = open(QueueConfig.of(4).withLargestGroup(2));
        FaultProducer producer = entered(queue, 8, sink);
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(6, 3));
        consumer.submit();
        for (int i = 1; i <= 2; i++) {
            raiseOk(producer, i);
        }
        producer.poll();
        Seen seen = new Seen();
        consumer.poll(seen, 1);
        assertEquals(Result.OK, consumer.answer(seen.cookies.get(0), Answer.SUCCESS));
        consumer.submit();
        raiseOk(producer, 3);
        raiseOk(producer, 4);
        assertEquals(Result.OK, producer.raise(5, 1, 1, 5, 0, READ, false));
        queue.close();
        assertEquals(List.of("1 SUCCESS", "2 INVALID", "3 INVALID", "4 INVALID"), answers);
        assertEquals(Result.CLOSED, raise(producer, 9));
        assertEquals(0, producer.poll());
        assertEquals(Result.CLOSED, consumer.post(1, 1));
        assertEquals(Result.CLOSED, consumer.answer(seen.cookies.get(0), Answer.SUCCESS));
        assertEquals(Result.CLOSED, consumer.answerLater(seen.cookies.get(0), Answer.SUCCESS));
        assertEquals(Result.CLOSED, consumer.await(seen, 1, SECOND));
        Accounting a = queue.accounting();
        assertEquals(1, a.answered());
        assertEquals(Map.of(AutoAnswer.CLOSE, 3L), a.autoBy());
        assertEquals(Map.of(DropRule.ABANDONED, 1L), a.droppedBy());
        assertThrows(IllegalStateException.class, () -> queue.producer(1, sink));
        producer.leave();
        producer.close();
    }

    @ParameterizedTest
    @EnumSource(Waiting.class)
    void aWaitingConsumerIsToldOfTheClose(Waiting waiting) throws Exception {
        FaultQueue queue = open(QueueConfig.of(4).withWaiting(waiting));
        FaultProducer producer = queue.producer(4, sink);
        FaultConsumer consumer = queue.consumer();
        Seen seen = new Seen();
        AtomicReference<Result> result = new AtomicReference<>();
        Thread thread = Thread.ofPlatform().start(() -> {
            assertEquals(Result.OK, consumer.post(4, 3));
            Result r;
            do {
                r = consumer.await(seen, 1, 30 * SECOND);
            } while (r == Result.OK);
            result.set(r);
        });
        while (thread.getState() == Thread.State.NEW || queue.dump().contains("0 reads")) {
            assertTrue(producer.enter());
            producer.poll();
            producer.leave();
        }
        queue.close();
        thread.join(5_000);
        assertEquals(Result.CLOSED, result.get());
        assertEquals(List.of("4:CLOSED 3"), seen.texts);
    }

    @ParameterizedTest
    @EnumSource(Waiting.class)
    void takeWakeAndTimeOut(Waiting waiting) throws Exception {
        FaultQueue queue = open(QueueConfig.of(4).withWaiting(waiting));
        FaultProducer producer = entered(queue, 4, sink);
        FaultConsumer consumer = queue.consumer();
        FaultGroup group = new FaultGroup();
        assertEquals("no group", group.toString());
        assertEquals(Result.TIMED_OUT, consumer.take(group, 1_000_000));
        Thread waker = Thread.ofPlatform().start(() -> {
            LockSupport.parkNanos(20_000_000);
            consumer.wake();
        });
        assertEquals(Result.WOKEN, consumer.take(group, 30 * SECOND));
        waker.join();
        assertEquals(Result.OK, consumer.post(0, 2));
        consumer.submit();
        raiseOk(producer, 1);
        raiseOk(producer, 2);
        producer.poll();
        assertEquals(Result.OK, consumer.take(group, SECOND));
        assertEquals(0x1000, group.address(0));
        assertEquals(Result.OK, consumer.answer(group.cookie(), Answer.SUCCESS));
        assertEquals(Result.OK, consumer.take(group, SECOND));
        assertEquals(0x2000, group.address(0));
        assertEquals(Result.OK, consumer.answer(group.cookie(), Answer.SUCCESS));
        assertEquals(Result.TIMED_OUT, consumer.take(group, 1_000_000));
        assertEquals(2, producer.poll());
        producer.leave();
    }

    @Test
    void takeBlocksVirtualThreadsToo() throws Exception {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultProducer producer = entered(queue, 4, sink);
        FaultConsumer consumer = queue.consumer();
        AtomicInteger taken = new AtomicInteger();
        Thread thread = Thread.ofVirtual().start(() -> {
            assertEquals(Result.OK, consumer.post(0, 4));
            FaultGroup group = new FaultGroup();
            while (consumer.take(group, 30 * SECOND) == Result.OK) {
                taken.incrementAndGet();
                assertEquals(Result.OK, consumer.answerAndRepost(group.cookie(), Answer.SUCCESS));
            }
        });
        for (int i = 1; i <= 200; i++) {
            raiseOk(producer, i);
            while (producer.poll() == 0) {
                assertTrue(producer.await(10 * SECOND));
            }
        }
        assertEquals(200, taken.get());
        producer.leave();
        queue.close();
        thread.join(5_000);
        assertFalse(thread.isAlive());
    }

    @Test
    void severalLanesAreServedInTurnAndComeAndGo() {
        FaultQueue queue = open(QueueConfig.of(4).withLanes(3));
        List<String> a = new ArrayList<>();
        List<String> b = new ArrayList<>();
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(0, 4), "lanes that join later are given these");
        FaultProducer first = entered(queue, 4, (tag, code) -> a.add(tag + " " + code));
        FaultProducer second = entered(queue, 4, (tag, code) -> b.add(tag + " " + code));
        Set<Integer> cookies = new HashSet<>();
        CompletionHandler answer = (userData, g) -> {
            assertTrue(cookies.add(g.cookie()), "one numbering for the queue");
            assertEquals(Result.OK, consumer.answerAndRepost(g.cookie(), Answer.SUCCESS));
        };
        consumer.poll(answer, 10);
        for (int i = 1; i <= 4; i++) {
            raiseOk(first, i);
            raiseOk(second, 10 + i);
        }
        first.poll();
        second.poll();
        assertEquals(8, consumer.poll(answer, 100));
        assertEquals(4, first.poll());
        assertEquals(4, second.poll());
        assertEquals(List.of("1 SUCCESS", "2 SUCCESS", "3 SUCCESS", "4 SUCCESS"), a);
        assertEquals(List.of("11 SUCCESS", "12 SUCCESS", "13 SUCCESS", "14 SUCCESS"), b);
        raiseOk(first, 5);
        first.flush();
        first.close();
        assertEquals("5 INVALID", a.get(4));
        first.leave();
        FaultProducer third = queue.producer(1, sink);
        FaultProducer fourth = queue.producer(1, sink);
        assertThrows(IllegalStateException.class, () -> queue.producer(1, sink));
        consumer.poll((userData, g) -> assertEquals(Result.STALE, consumer.answer(g.cookie(), Answer.SUCCESS)), 100);
        assertTrue(third.enter());
        raiseOk(third, 31);
        third.poll();
        assertEquals(1, consumer.poll(answer, 10));
        assertEquals(1, third.poll());
        third.leave();
        fourth.close();
        second.leave();
        assertEquals(10, queue.accounting().raised(), "a lane that is gone stays counted");
    }

    @Test
    void anUnsteppedLaneHasItsDeadlineKept() {
        FaultQueue queue = open(QueueConfig.of(4).withDeadlineNs(10_000_000));
        FaultProducer producer = entered(queue, 4, sink);
        raiseOk(producer, 1);
        producer.leave();
        long end = System.nanoTime() + 10 * SECOND;
        while (queue.accounting().outstanding() > 0) {
            assertTrue(System.nanoTime() < end);
            LockSupport.parkNanos(1_000_000);
        }
        assertEquals(List.of(), answers);
        assertTrue(producer.enter());
        assertEquals(1, producer.poll());
        assertEquals(List.of("1 INVALID"), answers);
        producer.leave();
    }

    @Test
    void detachRevokesWhatItsTagsName() {
        FaultQueue queue = open(QueueConfig.of(8).withLargestGroup(2));
        FaultProducer producer = entered(queue, 8, sink);
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(0, 2));
        consumer.submit();
        for (int i = 1; i <= 4; i++) {
            raiseOk(producer, i);
        }
        assertEquals(Result.OK, producer.raise(6, 1, 1, 66, 0, READ, false));
        assertEquals(Result.OK, producer.raise(7, 1, 1, 77, 0, READ, false));
        producer.poll();
        Seen seen = new Seen();
        consumer.poll(seen, 10);
        assertEquals(2, producer.revoke(tag -> tag % 2 == 0, AutoAnswer.DETACH));
        assertEquals(List.of("4 INVALID", "2 INVALID"), answers, "what no read has taken first");
        assertEquals(Result.OK, consumer.answer(seen.cookies.get(0), Answer.SUCCESS));
        assertEquals(Result.STALE, consumer.answer(seen.cookies.get(1), Answer.SUCCESS));
        consumer.submit();
        producer.poll();
        Accounting a = queue.accounting();
        assertEquals(Map.of(DropRule.ABANDONED, 1L), a.droppedBy());
        assertEquals(Map.of(AutoAnswer.DETACH, 2L), a.autoBy());
        assertEquals(2, a.outstanding(), "group 3 waits, group 7 lacks its last request");
        producer.leave();
    }

    @Test
    void dumpTellsCookieAgeDeviceAndState() {
        FaultQueue queue = open(QueueConfig.of(8).withLargestGroup(3));
        FaultProducer producer = entered(queue, 8, sink);
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(0, 1));
        consumer.submit();
        raiseOk(producer, 1);
        raiseOk(producer, 2);
        assertEquals(Result.OK, producer.raise(3, 12, 34, 56, 0x789000, READ, false));
        String dump = queue.dump();
        assertTrue(dump.contains("3 of 8 slots used"), dump);
        assertTrue(dump.contains("waiting, age "), dump);
        assertTrue(dump.contains("assembling, device 12, requests 1, pasid 34, group 56, first 0x789000"), dump);
        producer.poll();
        dump = queue.dump();
        assertTrue(dump.contains("delivered, age "), dump);
        assertTrue(dump.contains("outstanding 3"), dump);
        producer.leave();
    }

    /** The worker dies under load; every group is answered within the deadline and the identity holds. */
    @ParameterizedTest
    @EnumSource(Waiting.class)
    void shutdownDrill(Waiting waiting) throws Exception {
        FaultQueue queue = open(QueueConfig.of(64)
                .withDeadlineNs(100_000_000)
                .withWaiting(waiting)
                .withCloseLimitNs(200_000_000));
        CountDownLatch dead = new CountDownLatch(1);
        FaultConsumer consumer = queue.consumer();
        Thread worker = Thread.ofPlatform().start(() -> {
            assertEquals(Result.OK, consumer.post(0, 64));
            int[] handled = {0};
            while (handled[0] < 5_000) {
                Result _ = consumer.await(
                        (userData, g) -> {
                            handled[0]++;
                            // STALE if this thread was kept from running for longer than the deadline.
                            Result _ = consumer.answerAndRepost(g.cookie(), Answer.SUCCESS);
                        },
                        1,
                        SECOND);
            }
            dead.countDown();
            // The thread ends here with groups in its hands and reads posted.
        });
        AtomicInteger open = new AtomicInteger();
        int[] codes = new int[2];
        FaultProducer producer = entered(queue, 64, (tag, code) -> {
            open.decrementAndGet();
            codes[code == Answer.SUCCESS ? 0 : 1]++;
        });
        long tag = 0;
        long stop = 0;
        long latest = System.nanoTime() + 60 * SECOND;
        while (stop == 0 || System.nanoTime() < stop) {
            assertTrue(System.nanoTime() < latest, queue::dump);
            while (open.get() < 64 && raise(producer, ++tag) == Result.OK) {
                open.incrementAndGet();
            }
            producer.poll();
            if (stop == 0 && dead.getCount() == 0) {
                stop = System.nanoTime() + 150_000_000;
            }
        }
        worker.join();
        long start = System.nanoTime();
        while (open.get() > 0) {
            if (producer.poll() == 0) {
                assertTrue(producer.await(5 * SECOND));
            }
            assertTrue(System.nanoTime() - start < SECOND, () -> "a device waits: " + queue.dump());
        }
        Accounting a = queue.accounting();
        assertTrue(a.balanced(), a::toString);
        assertEquals(0, a.outstanding());
        assertTrue(codes[0] > 0, a::toString);
        assertTrue(a.autoBy().getOrDefault(AutoAnswer.DEADLINE, 0L) >= 64, a::toString);
        producer.leave();
    }
}
