package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Several workers on several queues, and a clean stop; LATER from any thread, also while the queue closes. */
class WorkersTest {
    private static final long SECOND = 1_000_000_000L;

    /** A queue, and its producer, which the test's thread steps; what each group was told. */
    private static final class Line implements AutoCloseable {
        final FaultQueue queue;
        final FaultProducer producer;
        final int[] told = new int[1_000];
        int raised;
        int answered;
        int invalid;

        Line(QueueConfig config) {
            queue = FaultQueue.open(config);
            producer = queue.producer(32, (tag, code) -> {
                told[(int) tag]++;
                answered++;
                invalid += code == Answer.INVALID ? 1 : 0;
            });
            assertTrue(producer.enter());
        }

        /** Raises up to a number of groups, as many as may be open, and takes answers. */
        void step(int most) {
            while (raised < most && producer.raise(raised, 1, 1, raised, (long) raised << 12, 1, true) == Result.OK) {
                raised++;
            }
            producer.poll();
        }

        /** Everything raised was answered once, and is accounted for. */
        void check() {
            producer.poll();
            for (int tag = 0; tag < raised; tag++) {
                assertEquals(1, told[tag], "tag " + tag);
            }
            Accounting a = queue.accounting();
            assertEquals(raised, a.raised());
            assertEquals(0, a.outstanding());
            assertTrue(a.balanced(), a::toString);
        }

        @Override
        public void close() {
            queue.close();
            check();
            producer.leave();
            assertEquals(0, queue.heldBytes());
        }
    }

    private static void stepUntil(List<Line> lines, int answered) {
        long end = System.nanoTime() + 60 * SECOND;
        while (lines.stream().anyMatch(line -> line.answered < answered)) {
            lines.forEach(line -> line.step(answered));
            assertTrue(
                    System.nanoTime() < end,
                    () -> lines.stream().map(line -> line.queue.dump()).toList().toString());
            Thread.yield();
        }
    }

    private static FaultHandler slow(long ns) {
        return group -> {
            LockSupport.parkNanos(ns);
            return Answer.SUCCESS;
        };
    }

    @ParameterizedTest
    @EnumSource(Waiting.class)
    void oneThatFailsStopsNoOther(Waiting waiting) {
        QueueConfig config = QueueConfig.of(16).withWaiting(waiting);
        try (Line good = new Line(config);
                Line throwing = new Line(config);
                Line failing = new Line(config);
                Line together = new Line(config);
                FaultWorker goods = good.queue.consumer().run(slow(10_000));
                FaultWorker throwings = throwing.queue.consumer().run(group -> {
                    throw new IllegalStateException("as the test wants");
                });
                FaultWorker failings = failing.queue.consumer().run(group -> {
                    if (group.groupIndex() % 2 == 0) {
                        throw new AssertionError("as the test wants");
                    }
                    return Answer.SUCCESS;
                });
                FaultWorker togethers = together.queue.consumer().run(batch -> Answer.SUCCESS, 8)) {
            stepUntil(List.of(good, throwing, failing, together), 200);
            assertEquals(0, goods.failures() + togethers.failures());
            assertEquals(200, throwings.failures());
            assertEquals(100, failings.failures());
            assertEquals(
                    Map.of(AutoAnswer.HANDLER, 200L),
                    throwing.queue.accounting().autoBy());
            assertEquals(
                    Map.of(AutoAnswer.HANDLER, 100L), failing.queue.accounting().autoBy());
            assertEquals(0, good.invalid + together.invalid);
            assertEquals(200, throwing.invalid);
            for (FaultWorker worker : List.of(goods, throwings, failings, togethers)) {
                assertTrue(worker.isRunning());
            }
        }
    }

    /** Workers are closed first, as try-with-resources does, while groups are on their way; the queues answer the rest. */
    @ParameterizedTest
    @EnumSource(Waiting.class)
    void aStopUnderLoadIsBoundedAndAnswersAll(Waiting waiting) {
        QueueConfig config = QueueConfig.of(16).withWaiting(waiting);
        List<Line> lines = new ArrayList<>();
        List<FaultWorker> workers = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            Line line = new Line(config);
            lines.add(line);
            FaultConsumer consumer = line.queue.consumer();
            workers.add(i % 2 == 0 ? consumer.run(slow(50_000)) : consumer.run(batch -> Answer.SUCCESS, 8));
        }
        stepUntil(lines, 100);
        lines.forEach(line -> line.step(500));
        long start = System.nanoTime();
        for (FaultWorker worker : workers) {
            worker.close();
            assertFalse(worker.isRunning());
        }
        lines.forEach(line -> line.step(1_000));
        lines.forEach(Line::close);
        assertTrue(System.nanoTime() - start < 5 * SECOND);
        for (Line line : lines) {
            assertTrue(line.invalid > 0, "what was raised after its worker had stopped");
            assertEquals(
                    line.invalid,
                    line.queue
                            .accounting()
                            .autoBy()
                            .getOrDefault(AutoAnswer.CLOSE, 0L)
                            .intValue());
        }
    }

    /** The other order: a queue that closes stops its worker, whatever that is doing. */
    @Test
    void aQueueThatClosesStopsItsWorker() {
        QueueConfig config = QueueConfig.of(16);
        List<Line> lines = new ArrayList<>();
        List<FaultWorker> workers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            Line line = new Line(config);
            lines.add(line);
            workers.add(line.queue.consumer().run(slow(1_000_000L * i)));
        }
        stepUntil(lines, 20);
        lines.forEach(line -> line.step(50));
        long start = System.nanoTime();
        lines.forEach(Line::close);
        assertTrue(System.nanoTime() - start < 5 * SECOND);
        for (FaultWorker worker : workers) {
            assertFalse(worker.isRunning());
            assertEquals(0, worker.failures());
        }
    }

    /** A handler that does not return keeps its own thread, and nobody else. */
    @Test
    void aHandlerThatHangsHoldsUpItsOwnQueueOnlyAndNotForLong() throws Exception {
        QueueConfig config = QueueConfig.of(16).withCloseLimitNs(50_000_000);
        Line hanging = new Line(config);
        Line other = new Line(config);
        CountDownLatch in = new CountDownLatch(1);
        CountDownLatch out = new CountDownLatch(1);
        FaultWorker hung = hanging.queue
                .consumer()
                .run(
                        batch -> {
                            in.countDown();
                            boolean _ = uninterrupted(out);
                            return Answer.SUCCESS;
                        },
                        4);
        FaultWorker running = other.queue.consumer().run(group -> Answer.SUCCESS);
        long end = System.nanoTime() + 30 * SECOND;
        while (in.getCount() > 0) {
            hanging.step(3);
            assertTrue(System.nanoTime() < end);
        }
        stepUntil(List.of(other), 100);
        long start = System.nanoTime();
        hung.close();
        running.close();
        hanging.queue.close();
        other.close();
        assertTrue(System.nanoTime() - start < 5 * SECOND);
        assertTrue(hung.isRunning());
        assertFalse(running.isRunning());
        hanging.check();
        assertEquals(3, hanging.invalid, "its devices do not wait for it");
        assertTrue(hanging.queue.heldBytes() > 0, "memory in use is not freed");
        out.countDown();
        hung.thread().join(5_000);
        assertFalse(hung.isRunning());
        hanging.producer.leave();
        assertEquals(0, hanging.queue.heldBytes(), "it is when its last user leaves");
        assertEquals(0, hung.failures());
    }

    private static boolean uninterrupted(CountDownLatch latch) {
        try {
            return latch.await(60, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            return false;
        }
    }

    /** Each cookie is answered by two of three threads, or by the close: one of them is the one. */
    @ParameterizedTest
    @EnumSource(Waiting.class)
    void laterComesFromAnyThreadWhileTheQueueCloses(Waiting waiting) throws Exception {
        long seed = System.nanoTime();
        Random random = new Random(seed);
        for (int round = 0; round < 40; round++) {
            later(QueueConfig.of(16).withWaiting(waiting), random, "seed " + seed + ", round " + round);
        }
    }

    private static void later(QueueConfig config, Random random, String name) throws InterruptedException {
        Line line = new Line(config);
        FaultConsumer consumer = line.queue.consumer();
        List<ConcurrentLinkedQueue<Integer>> cookies = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            cookies.add(new ConcurrentLinkedQueue<>());
        }
        FaultWorker worker = consumer.run(group -> {
            int cookie = group.cookie();
            cookies.get(group.groupIndex() % 3).add(cookie);
            cookies.get((group.groupIndex() + 1) % 3).add(cookie);
            return Answer.LATER;
        });
        AtomicInteger ok = new AtomicInteger();
        AtomicInteger unexpected = new AtomicInteger();
        List<Thread> threads = new ArrayList<>();
        for (ConcurrentLinkedQueue<Integer> mine : cookies) {
            threads.add(Thread.ofPlatform().start(() -> {
                Result last = Result.OK;
                while (last != Result.CLOSED) {
                    Integer cookie = mine.poll();
                    // Cookie 0 names nobody: so a thread with nothing to do hears of the close.
                    last = consumer.answerLater(cookie == null ? 0 : cookie, Answer.SUCCESS);
                    switch (last) {
                        case OK -> ok.incrementAndGet();
                        case STALE -> Thread.yield();
                        case CLOSED -> {}
                        default -> unexpected.incrementAndGet();
                    }
                }
            }));
        }
        int most = random.nextInt(200);
        long end = System.nanoTime() + 30 * SECOND;
        while (line.answered < most) {
            line.step(1_000);
            assertTrue(System.nanoTime() < end, () -> name + ": " + line.queue.dump());
        }
        long start = System.nanoTime();
        line.queue.close();
        assertTrue(System.nanoTime() - start < 5 * SECOND, name);
        for (Thread thread : threads) {
            thread.join(10_000);
            assertFalse(thread.isAlive(), name);
        }
        worker.thread().join(10_000);
        assertFalse(worker.isRunning(), name);
        line.check();
        line.producer.leave();
        Accounting a = line.queue.accounting();
        assertEquals(line.answered - line.invalid, a.answered(), name);
        assertEquals(line.invalid, a.autoAnswered(), name);
        assertTrue(ok.get() >= a.answered(), () -> name + ": " + ok + " were told OK, " + a);
        assertEquals(0, unexpected.get(), name);
        assertEquals(0, worker.failures(), name);
        assertEquals(0, line.queue.heldBytes(), name);
    }
}
