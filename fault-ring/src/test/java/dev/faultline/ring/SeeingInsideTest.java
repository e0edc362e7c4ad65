package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The counts and the dump, read by other threads while both ends run. */
class SeeingInsideTest {
    private static final long SECOND = 1_000_000_000L;
    private static final long RUN_NS = 300_000_000;

    private static final Pattern DUMP = Pattern.compile("(lane \\d+: closed\n"
            + "|lane \\d+: \\d+ of 32 slots used, \\d+ reads posted\n"
            + "(  cookie 0x[0-9a-f]+ (waiting, age \\d+ us|assembling), device 7, requests [12], pasid 5, group \\d+,"
            + " first 0x[0-9a-f]+\n"
            + "|  cookie 0x[0-9a-f]+ (delivered, age \\d+ us|answered), device 7, requests [12]\n"
            + ")*)*raised .*\n");

    /** What the threads that look have seen. */
    private static final class Looks {
        final AtomicReference<String> wrong = new AtomicReference<>();
        volatile boolean stop;
        int readings;
        int dumps;

        void look(FaultQueue queue) {
            Accounting before = Accounting.ZERO;
            while (!stop) {
                Accounting now = queue.accounting();
                readings++;
                if (!now.balanced()
                        || now.raised() < before.raised()
                        || now.answered() < before.answered()
                        || now.answers() < before.answers()
                        || now.requests() < before.requests()
                        || now.answers() != now.answered() + now.stale()) {
                    wrong.set(before + " then " + now);
                }
                before = now;
                if (readings % 3 == 0) {
                    String dump = queue.dump();
                    dumps++;
                    if (!DUMP.matcher(dump).matches()) {
                        wrong.set(dump);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(Waiting.class)
    void everyReadingBalancesWhileBothEndsRun(Waiting waiting) throws Exception {
        Looks looks = new Looks();
        long[] answered = new long[1];
        try (FaultQueue queue =
                FaultQueue.open(QueueConfig.of(32).withLargestGroup(2).withWaiting(waiting))) {
            FaultProducer producer = queue.producer(32, (tag, code) -> answered[0]++);
            assertTrue(producer.enter());
            try (FaultWorker worker = queue.consumer().run(group -> Answer.SUCCESS)) {
                Thread looking = Thread.ofPlatform().start(() -> looks.look(queue));
                long raised = 0;
                int last = 1;
                for (long end = System.nanoTime() + RUN_NS; System.nanoTime() < end; ) {
                    // Groups of one and of two: some lack their last request when somebody looks.
                    while (producer.raise(raised, 7, 5, (int) raised & 0xffff, raised << 12, 1, last == 1)
                            == Result.OK) {
                        raised += last;
                        last = (raised & 1) == 0 ? 1 : 1 - last;
                    }
                    producer.poll();
                }
                looks.stop = true;
                long end = System.nanoTime() + 30 * SECOND;
                // Whoever looks may be waiting for this thread to poll.
                while (looking.isAlive()) {
                    producer.poll();
                    assertTrue(System.nanoTime() < end, "a look does not end");
                }
                assertTrue(looks.readings > 0 && looks.dumps > 0, looks.readings + " readings");
                assertTrue(answered[0] > 0);
                assertEquals(0, worker.failures());
            }
            producer.leave();
        }
        assertEquals(null, looks.wrong.get());
    }

    @Test
    void aProducerThatDoesNotPollIsReadFromOutside() throws Exception {
        try (FaultQueue queue = FaultQueue.open(QueueConfig.of(32).withLargestGroup(2))) {
            FaultProducer producer = queue.producer(32, (tag, code) -> {});
            assertTrue(producer.enter());
            assertEquals(Result.OK, producer.raise(1, 7, 5, 1, 0x1000, 1, true));
            List<Object> seen = new ArrayList<>();
            Thread looking = Thread.ofPlatform().start(() -> {
                seen.add(queue.accounting());
                seen.add(queue.dump());
            });
            looking.join(10_000);
            assertFalse(looking.isAlive());
            assertEquals(2, seen.size());
            assertTrue(((Accounting) seen.get(0)).balanced());
            assertEquals(1, ((Accounting) seen.get(0)).outstanding());
            assertTrue(DUMP.matcher((String) seen.get(1)).matches(), () -> "" + seen.get(1));
            producer.poll();
            producer.leave();
        }
    }

    /** Lanes come and go under those who look. */
    @Test
    void lanesThatComeAndGoStayInTheSum() throws Exception {
        Looks looks = new Looks();
        long raised = 0;
        FaultQueue queue = FaultQueue.open(QueueConfig.of(32).withLargestGroup(2));
        try (FaultWorker worker = queue.consumer().run(group -> Answer.SUCCESS)) {
            Thread looking = Thread.ofPlatform().start(() -> looks.look(queue));
            for (long end = System.nanoTime() + RUN_NS; System.nanoTime() < end; ) {
                FaultProducer producer = queue.producer(32, (tag, code) -> {});
                assertTrue(producer.enter());
                for (int i = 0; i < 20; i++) {
                    assertEquals(Result.OK, producer.raise(i, 7, 5, i, i << 12, 1, true));
                    raised++;
                }
                producer.poll();
                producer.close();
                producer.leave();
            }
            looks.stop = true;
            looking.join(10_000);
            assertFalse(looking.isAlive());
            assertEquals(0, worker.failures());
        }
        queue.close();
        assertEquals(null, looks.wrong.get());
        assertEquals(raised, queue.accounting().raised());
        assertEquals(0, queue.accounting().outstanding());
    }

    /** Every number there is moves for what it is named after, and for nothing else. */
    @Test
    void everyCountIsReachable() throws Exception {
        FaultQueue queue =
                FaultQueue.open(QueueConfig.of(16).withLargestGroup(2).withDeadlineNs(100_000_000));
        FaultProducer producer = queue.producer(16, (tag, code) -> {});
        FaultProducer leaving = queue.producer(16, (tag, code) -> {});
        assertTrue(producer.enter());
        assertTrue(leaving.enter());
        FaultConsumer consumer = queue.consumer();
        assertEquals(Result.OK, consumer.post(0, 8));
        consumer.submit();
        producer.poll();
        leaving.poll();

        // One that is answered in time, and one whose answer meets the deadline under way.
        assertEquals(Result.OK, producer.raise(1, 7, 5, 1, 0, 1, true));
        assertEquals(Result.OK, producer.raise(2, 7, 5, 2, 0, 1, true));
        producer.poll();
        List<Integer> cookies = new ArrayList<>();
        assertEquals(2, consumer.poll((userData, group) -> cookies.add(group.cookie()), 2));
        assertEquals(Result.OK, consumer.answer(cookies.get(0), Answer.SUCCESS));
        consumer.submit();
        producer.poll();
        assertEquals(Result.OK, consumer.answer(cookies.get(1), Answer.SUCCESS));
        long end = System.nanoTime() + 30 * SECOND;
        while (queue.accounting().autoAnswered() == 0) {
            producer.poll();
            assertTrue(System.nanoTime() < end, "nothing expires");
        }
        consumer.submit();
        producer.poll();
        // Too large for the queue.
        assertEquals(Result.OK, producer.raise(3, 7, 5, 3, 0, 1, false));
        assertEquals(Result.OK, producer.raise(3, 7, 5, 3, 0, 1, false));
        assertEquals(Result.SHORT_BUFFER, producer.raise(3, 7, 5, 3, 0, 1, true));
        // One without its last request, and one without an answer, when their producer goes.
        assertEquals(Result.OK, leaving.raise(4, 7, 5, 4, 0, 1, false));
        assertEquals(Result.OK, leaving.raise(5, 7, 5, 5, 0, 1, true));
        leaving.close();
        leaving.leave();
        // And one when the queue closes.
        assertEquals(Result.OK, producer.raise(6, 7, 5, 6, 0, 1, true));
        queue.close();
        producer.leave();

        Accounting a = queue.accounting();
        assertEquals(8, a.requests());
        assertEquals(6, a.raised());
        assertEquals(1, a.answered());
        assertEquals(3, a.autoAnswered());
        assertEquals(2, a.dropped());
        assertEquals(0, a.outstanding());
        assertEquals(Map.of(AutoAnswer.DEADLINE, 1L, AutoAnswer.DETACH, 1L, AutoAnswer.CLOSE, 1L), a.autoBy());
        assertEquals(Map.of(DropRule.OVERSIZED, 1L, DropRule.ABANDONED, 1L), a.droppedBy());
        assertEquals(2, a.answers());
        assertEquals(1, a.stale());
        assertTrue(a.balanced());
    }
}
