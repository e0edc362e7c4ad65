package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What goes wrong at the edges: answers that overtake each other, sinks that throw, threads that die or pause. */
class FaultQueueMisfortuneTest {
    private static final long SECOND = 1_000_000_000L;

    private final List<String> told = new ArrayList<>();
    private FaultQueue queue = FaultQueue.open(QueueConfig.of(4).withDeadlineNs(0));

    private FaultQueue open(QueueConfig config) {
        queue.close();
        queue = FaultQueue.open(config);
        return queue;
    }

    private FaultProducer entered(int allocation) {
        FaultProducer producer = queue.producer(allocation, (tag, code) -> told.add(tag + " " + code));
        assertTrue(producer.enter());
        return producer;
    }

    private static void raise(FaultProducer producer, long tag) {
        assertEquals(Result.OK, producer.raise(tag, 1, 2, (int) tag, tag << 12, 1, true));
    }

    @AfterEach
    void everythingIsAccountedFor() {
        queue.close();
        Accounting a = queue.accounting();
        assertTrue(a.balanced() && a.outstanding() == 0, a::toString);
        assertEquals(0, queue.heldBytes());
    }

    @Test
    void anAnswerThatOvertakesLaterCostsNoRead() {
        FaultProducer producer = entered(4);
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(0, 2));
        consumer.poll((userData, group) -> {}, 1);
        for (int i = 1; i <= 20; i++) {
            raise(producer, i);
            producer.poll();
            int n = consumer.poll(
                    (userData, group) -> {
                        // Another thread is quicker than the handler that says LATER.
                        assertEquals(Result.OK, consumer.answerLater(group.cookie(), Answer.SUCCESS));
                        assertEquals(Result.STALE, consumer.answerAndRepost(group.cookie(), Answer.LATER));
                    },
                    1);
            assertEquals(1, n, "a read was lost");
            producer.poll();
            assertEquals(i, told.size());
        }
        producer.leave();
    }

    @Test
    void aReadIsPostedAgainOnceAndNeverBeyondWhatTheLaneHolds() {
        FaultProducer producer = entered(4);
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        consumer.poll((userData, group) -> {}, 1);
        raise(producer, 1);
        producer.poll();
        FaultGroup group = new FaultGroup();
        assertEquals(Result.OK, consumer.take(group, SECOND));
        int cookie = group.cookie();
        assertEquals(Result.OK, consumer.answerAndRepost(cookie, Answer.LATER));
        assertEquals(Result.FULL, consumer.post(0, 1), "the read is back already");
        assertEquals(Result.OK, consumer.answerAndRepost(cookie, Answer.SUCCESS));
        assertEquals(Result.STALE, consumer.answerAndRepost(cookie, Answer.SUCCESS));
        consumer.submit();
        producer.poll();
        assertTrue(queue.dump().contains("4 reads posted"), queue::dump);
        assertEquals(0, queue.accounting().stale());
        producer.leave();
    }

    @Test
    void aThreadThatPausedDoesNotMakeItsNextGroupOverdue() {
        open(QueueConfig.of(4).withDeadlineNs(200_000_000));
        FaultProducer producer = entered(4);
        producer.poll();
        LockSupport.parkNanos(250_000_000);
        raise(producer, 1);
        for (int i = 0; i < 50; i++) {
            producer.poll();
        }
        assertEquals(List.of(), told, "the group is young, whatever the lane's clock said");
        long end = System.nanoTime() + 10 * SECOND;
        while (told.isEmpty()) {
            assertTrue(producer.await(SECOND));
            producer.poll();
            assertTrue(System.nanoTime() < end);
        }
        assertEquals(List.of("1 INVALID"), told);
        producer.leave();
    }

    @Test
    void aSinkThatThrowsLosesNoAnswerAndNoRead() {
        int[] failures = {2};
        FaultProducer producer = queue.producer(4, (tag, code) -> {
            told.add(tag + " " + code);
            if (failures[0]-- > 0) {
                throw new IllegalStateException("as the test wants");
            }
        });
        assertTrue(producer.enter());
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        consumer.poll((userData, group) -> {}, 1);
        for (int i = 1; i <= 4; i++) {
            raise(producer, i);
        }
        producer.poll();
        consumer.poll(
                (userData, group) -> assertEquals(Result.OK, consumer.answerAndRepost(group.cookie(), Answer.SUCCESS)),
                4);
        assertThrows(IllegalStateException.class, producer::poll);
        assertThrows(IllegalStateException.class, producer::poll);
        assertEquals(2, producer.poll());
        assertEquals(List.of("1 SUCCESS", "2 SUCCESS", "3 SUCCESS", "4 SUCCESS"), told);
        assertTrue(queue.dump().contains("4 reads posted"), queue::dump);
        assertEquals(0, queue.accounting().stale());
        producer.leave();
    }

    @Test
    void aSinkMayRaiseAndMayClose() {
        AtomicReference<FaultProducer> self = new AtomicReference<>();
        FaultProducer producer = queue.producer(4, (tag, code) -> {
            told.add(tag + " " + code);
            FaultProducer me = java.util.Objects.requireNonNull(self.get());
            if (tag == 1) {
                assertEquals(Result.OK, me.raise(2, 1, 2, 2, 0, 1, true));
            } else if (tag == 3) {
                me.close();
            }
        });
        self.set(producer);
        assertTrue(producer.enter());
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        consumer.poll((userData, group) -> {}, 1);
        raise(producer, 1);
        producer.poll();
        CompletionHandler answer =
                (userData, group) -> assertEquals(Result.OK, consumer.answerAndRepost(group.cookie(), Answer.SUCCESS));
        consumer.poll(answer, 4);
        assertEquals(1, producer.poll());
        assertEquals(1, consumer.poll(answer, 4), "what the sink raised");
        assertEquals(1, producer.poll());
        raise(producer, 3);
        raise(producer, 4);
        producer.poll();
        consumer.poll(
                (userData, group) -> {
                    if (group.groupIndex() == 3) {
                        assertEquals(Result.OK, consumer.answer(group.cookie(), Answer.SUCCESS));
                    }
                },
                4);
        producer.poll();
        assertEquals(List.of("1 SUCCESS", "2 SUCCESS", "3 SUCCESS", "4 INVALID"), told);
        producer.leave();
        assertEquals(Map.of(AutoAnswer.DETACH, 1L), queue.accounting().autoBy());
    }

    @Test
    void closingAProducerNobodyIsInTellsItsSink() {
        FaultProducer producer = entered(4);
        raise(producer, 1);
        producer.leave();
        producer.close();
        assertEquals(List.of("1 INVALID"), told);
    }

    @Test
    void aThreadThatDiedInsideIsAsGoodAsGone() throws Exception {
        open(QueueConfig.of(4).withDeadlineNs(20_000_000));
        FaultProducer producer = queue.producer(4, (tag, code) -> told.add(tag + " " + code));
        Thread dying = Thread.ofPlatform().start(() -> {
            assertTrue(producer.enter());
            raise(producer, 1);
        });
        dying.join();
        long end = System.nanoTime() + 10 * SECOND;
        while (queue.accounting().outstanding() > 0) {
            assertTrue(System.nanoTime() < end, "its deadline is kept");
            LockSupport.parkNanos(1_000_000);
        }
        assertTrue(producer.enter());
        assertEquals(1, producer.poll());
        assertEquals(List.of("1 INVALID"), told);
        producer.leave();
    }

    @Test
    void anIdleLaneKeepsNoReadsFromTheOthers() {
        open(QueueConfig.of(4));
        FaultProducer busy = entered(8);
        FaultProducer idle = queue.producer(8, (tag, code) -> {});
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        int[] groups = {0};
        CompletionHandler count = (userData, group) -> {
            groups[0]++;
            assertEquals(Result.OK, consumer.answer(group.cookie(), Answer.SUCCESS));
        };
        consumer.poll(count, 8);
        for (int i = 1; i <= 40; i++) {
            raise(busy, i);
            busy.poll();
            consumer.poll(count, 8);
            assertEquals(Result.OK, consumer.post(0, 1), "the busy lane has room");
            consumer.submit();
            busy.poll();
        }
        assertEquals(40, groups[0]);
        busy.leave();
        idle.close();
    }

    @Test
    void anInterruptDoesNotEndAWait() {
        FaultConsumer consumer = queue.consumer();
        Thread.currentThread().interrupt();
        long start = System.nanoTime();
        assertEquals(Result.TIMED_OUT, consumer.await((userData, group) -> {}, 1, 30_000_000));
        assertTrue(System.nanoTime() - start >= 30_000_000);
        assertTrue(Thread.interrupted(), "it is kept for whoever wants it");
    }
}
