package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A worker that is given all groups that are there: on a ring and on a descriptor. */
class FaultBatchTest {
    private static final long SECOND = 1_000_000_000L;

    /** What the groups come from. */
    enum Kind {
        RING,
        DESCRIPTOR
    }

    /** Raises groups, whose first address is their tag times 4096, and takes their answers. */
    private interface Source {
        FaultConsumer consumer();

        void raise(int tag, int size);

        /** Sends what was raised, and takes what was answered. */
        void step();

        List<String> answers();

        void close();
    }

    private static final class Ring implements Source {
        final List<String> answers = new ArrayList<>();
        final FaultQueue queue;
        final FaultProducer producer;
        final FaultConsumer consumer;

        Ring(int entries, int largestGroup, long deadlineNs) {
            queue = FaultQueue.open(
                    QueueConfig.of(entries).withLargestGroup(largestGroup).withDeadlineNs(deadlineNs));
            producer = queue.producer(64, (tag, code) -> answers.add(tag + " " + code));
            consumer = queue.consumer();
            assertTrue(producer.enter());
        }

        @Override
        public FaultConsumer consumer() {
            return consumer;
        }

        @Override
        public void raise(int tag, int size) {
            for (int i = 0; i < size; i++) {
                assertEquals(Result.OK, producer.raise(tag, 7, 5, tag, ((long) tag << 12) + i, 1, i == size - 1));
            }
        }

        @Override
        public void step() {
            producer.poll();
        }

        @Override
        public List<String> answers() {
            return answers;
        }

        @Override
        public void close() {
            queue.close();
            producer.leave();
            assertEquals(0, queue.heldBytes());
            assertEquals(0, queue.accounting().outstanding());
        }
    }

    private static final class Descriptor implements Source {
        final SocketPeer peer = new SocketPeer();
        final FaultConsumer consumer;

        Descriptor(int entries, int largestGroup) {
            consumer = DescriptorConsumer.open(peer.descriptor(), entries, largestGroup);
        }

        @Override
        public FaultConsumer consumer() {
            return consumer;
        }

        @Override
        public void raise(int tag, int size) {
            peer.group(tag, size);
        }

        @Override
        public void step() {
            peer.send();
            peer.takeAnswers();
        }

        @Override
        public List<String> answers() {
            return peer.answers;
        }

        @Override
        public void close() {
            consumer.close();
            peer.close();
        }
    }

    private final List<Source> sources = new ArrayList<>();

    private Source open(Kind kind, int entries, int largestGroup) {
        return open(
                kind == Kind.RING
                        ? new Ring(entries, largestGroup, QueueConfig.DEFAULT_DEADLINE_NS)
                        : new Descriptor(entries, largestGroup));
    }

    private <S extends Source> S open(S source) {
        sources.add(source);
        return source;
    }

    @AfterEach
    void everyGroupIsAccountedFor() {
        for (Source source : sources) {
            source.close();
            Accounting after = source.consumer().accounting();
            assertTrue(after.balanced(), after::toString);
        }
    }

    /** Keeps the worker in each batch until the test says what becomes of it. */
    private static final class Stepwise implements BatchHandler {
        final BlockingQueue<List<String>> batches = new LinkedBlockingQueue<>();
        final BlockingQueue<BatchHandler> says = new LinkedBlockingQueue<>();

        @Override
        public Answer handle(FaultBatch batch) {
            batches.add(texts(batch));
            try {
                BatchHandler next = says.take();
                List<String> before = texts(batch);
                Answer answer = next.handle(batch);
                assertEquals(before, texts(batch), "the views stay");
                return answer;
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }

        /** The next batch, while its source goes on. */
        List<String> next(Source source) throws InterruptedException {
            long end = System.nanoTime() + 30 * SECOND;
            for (; ; ) {
                List<String> batch = batches.poll(1, TimeUnit.MILLISECONDS);
                if (batch != null) {
                    return batch;
                }
                source.step();
                assertTrue(
                        System.nanoTime() < end,
                        () -> "no batch, " + source.consumer().accounting());
            }
        }
    }

    private static List<String> texts(FaultBatch batch) {
        List<String> texts = new ArrayList<>();
        for (int g = 0; g < batch.size(); g++) {
            FaultGroup group = batch.group(g);
            StringBuilder text = new StringBuilder();
            for (int i = 0; i < group.size(); i++) {
                text.append(i == 0 ? "" : ",").append(Long.toHexString(group.address(i)));
            }
            texts.add(text.toString());
        }
        return texts;
    }

    private static void stepUntil(Source source, int answers) {
        long end = System.nanoTime() + 30 * SECOND;
        while (source.answers().size() < answers) {
            source.step();
            assertTrue(
                    System.nanoTime() < end,
                    () -> source.answers() + " " + source.consumer().accounting());
            Thread.yield();
        }
    }

    @ParameterizedTest
    @EnumSource(Kind.class)
    void whatIsThereComesTogetherInOrderAndStays(Kind kind) throws Exception {
        Source source = open(kind, 8, 3);
        Stepwise handler = new Stepwise();
        try (FaultWorker worker = source.consumer().run(handler, 5)) {
            source.step();
            source.raise(1, 1);
            source.step();
            assertEquals(List.of("1000"), handler.next(source), "a batch waits for one group only");
            for (int tag = 2; tag <= 8; tag++) {
                source.raise(tag, 1 + tag % 3);
                source.step();
            }
            handler.says.add(batch -> Answer.SUCCESS);
            assertEquals(
                    List.of("2000,2001,2002", "3000", "4000,4001", "5000,5001,5002", "6000"),
                    handler.next(source),
                    "as many as there is room for");
            // The answer to the first group has given its read back: this group's entry is one that was used before.
            source.raise(9, 2);
            stepUntil(source, 1);
            source.step();
            handler.says.add(batch -> {
                assertEquals(5, batch.size());
                assertEquals(2, batch.group(2).size());
                assertEquals(7, batch.group(4).device());
                assertThrows(IndexOutOfBoundsException.class, () -> batch.group(5));
                assertThrows(IndexOutOfBoundsException.class, () -> batch.answer(-1, Answer.SUCCESS));
                return Answer.INVALID;
            });
            assertEquals(List.of("7000,7001", "8000,8001,8002", "9000,9001"), handler.next(source));
            handler.says.add(batch -> Answer.SUCCESS);
            stepUntil(source, 9);
            assertEquals(
                    List.of(
                            "1 SUCCESS",
                            "2 INVALID",
                            "3 INVALID",
                            "4 INVALID",
                            "5 INVALID",
                            "6 INVALID",
                            "7 SUCCESS",
                            "8 SUCCESS",
                            "9 SUCCESS"),
                    source.answers());
            assertEquals(0, worker.failures());
        }
        assertEquals(9, source.consumer().accounting().answered());
    }

    @ParameterizedTest
    @EnumSource(Kind.class)
    void eachGroupIsAnsweredByItselfOrWithTheRest(Kind kind) throws Exception {
        Source source = open(kind, 8, 1);
        FaultConsumer consumer = source.consumer();
        Stepwise handler = new Stepwise();
        int[] later = new int[1];
        try (FaultWorker worker = consumer.run(handler, 8)) {
            source.step();
            raiseTogether(source, handler, 1, 5);
            handler.says.add(batch -> {
                assertEquals(Result.OK, batch.answer(3, Answer.INVALID));
                assertEquals(Result.STALE, batch.answer(3, Answer.SUCCESS));
                later[0] = batch.group(1).cookie();
                assertEquals(Result.OK, batch.answer(1, Answer.LATER));
                assertEquals(Result.STALE, batch.answer(1, Answer.SUCCESS), "it is said what becomes of it");
                // Behind the batch's back: the rest passes over it.
                assertEquals(Result.OK, consumer.answer(batch.group(0).cookie(), Answer.INVALID));
                return Answer.SUCCESS;
            });
            stepUntil(source, 5);
            assertEquals(
                    List.of("4 INVALID", "1 INVALID", "3 SUCCESS", "5 SUCCESS"),
                    source.answers().subList(1, 5),
                    "in the order said");
            assertEquals(1, consumer.accounting().outstanding());
            assertEquals(Result.OK, consumer.answerLater(later[0], Answer.SUCCESS));
            assertEquals(Result.STALE, consumer.answerLater(later[0], Answer.SUCCESS));
            stepUntil(source, 6);
            assertEquals("2 SUCCESS", source.answers().get(5));

            raiseTogether(source, handler, 11, 3);
            int[] cookies = new int[3];
            handler.says.add(batch -> {
                Arrays.setAll(cookies, i -> batch.group(i).cookie());
                return Answer.LATER;
            });
            // Every read came back, those of groups that are open as well, but the one answered behind the batch's
            // back.
            raiseTogether(source, handler, 21, 6);
            handler.says.add(batch -> Answer.SUCCESS);
            stepUntil(source, 14);
            for (int cookie : cookies) {
                assertEquals(Result.OK, consumer.answerLater(cookie, Answer.INVALID));
            }
            stepUntil(source, 17);
            assertEquals(
                    List.of("11 INVALID", "12 INVALID", "13 INVALID"),
                    source.answers().subList(14, 17));
            assertEquals(0, worker.failures());
        }
        assertEquals(0, consumer.accounting().outstanding());
        assertEquals(17, consumer.accounting().answered());
    }

    /** Raises groups that come in one batch, behind one more that keeps the worker meanwhile. */
    private static void raiseTogether(Source source, Stepwise handler, int firstTag, int n) throws Exception {
        source.raise(firstTag + 98, 1);
        source.step();
        assertEquals(List.of(Integer.toHexString((firstTag + 98) << 12)), handler.next(source));
        for (int i = 0; i < n; i++) {
            source.raise(firstTag + i, 1);
        }
        source.step();
        handler.says.add(batch -> Answer.SUCCESS);
        assertEquals(n, handler.next(source).size());
    }

    @ParameterizedTest
    @EnumSource(Kind.class)
    void aHandlerThatFailsLeavesTheRestInvalidAndTheLoopGoesOn(Kind kind) throws Exception {
        Source source = open(kind, 8, 1);
        FaultConsumer consumer = source.consumer();
        Stepwise handler = new Stepwise();
        try (FaultWorker worker = consumer.run(handler, 8)) {
            source.step();
            raiseTogether(source, handler, 1, 4);
            int[] later = new int[1];
            handler.says.add(batch -> {
                assertEquals(Result.OK, batch.answer(1, Answer.SUCCESS));
                assertEquals(Result.OK, batch.answer(2, Answer.LATER));
                later[0] = batch.group(2).cookie();
                throw new IllegalStateException("as the test wants");
            });
            stepUntil(source, 4);
            assertEquals(
                    List.of("2 SUCCESS", "1 INVALID", "4 INVALID"),
                    source.answers().subList(1, 4));
            assertEquals(1, worker.failures());
            assertEquals(Result.OK, consumer.answerLater(later[0], Answer.SUCCESS));

            raiseTogether(source, handler, 11, 2);
            handler.says.add(FaultBatchTest::nothing);
            stepUntil(source, 8);
            assertEquals(2, worker.failures());
            raiseTogether(source, handler, 21, 7);
            handler.says.add(batch -> Answer.SUCCESS);
            stepUntil(source, 16);
            assertTrue(worker.isRunning());
            assertEquals(2, worker.failures());
        }
        if (kind == Kind.RING) {
            assertEquals(Map.of(AutoAnswer.HANDLER, 4L), consumer.accounting().autoBy());
        }
        assertEquals(
                4, source.answers().stream().filter(a -> a.endsWith("INVALID")).count());
    }

    @SuppressWarnings("NullAway") // what a handler in a project without the check may do
    private static Answer nothing(FaultBatch batch) {
        return null;
    }

    @Test
    void aDeadlineThatPassesInsideABatchMakesItsAnswersStale() throws Exception {
        Ring source = open(new Ring(8, 1, 200_000_000));
        Stepwise handler = new Stepwise();
        List<Result> results = new CopyOnWriteArrayList<>();
        try (FaultWorker worker = source.consumer().run(handler, 8)) {
            source.step();
            source.raise(1, 1);
            source.raise(2, 1);
            source.step();
            int there = handler.next(source).size();
            stepUntil(source, 2);
            BatchHandler late = batch -> {
                results.add(batch.answer(0, Answer.SUCCESS));
                return Answer.SUCCESS;
            };
            handler.says.add(late);
            if (there == 1) {
                assertEquals(List.of("2000"), handler.next(source));
                handler.says.add(late);
            }
            source.raise(3, 1);
            source.step();
            assertEquals(List.of("3000"), handler.next(source));
            handler.says.add(batch -> Answer.SUCCESS);
            stepUntil(source, 3);
            assertEquals(List.of("1 INVALID", "2 INVALID", "3 SUCCESS"), source.answers());
            assertFalse(results.contains(Result.OK), results::toString);
            assertEquals(0, worker.failures());
        }
        assertEquals(
                Map.of(AutoAnswer.DEADLINE, 2L), source.consumer().accounting().autoBy());
    }

    @Test
    void aCloseInsideABatchAnswersItAndIsBounded() throws Exception {
        Ring source = new Ring(8, 1, QueueConfig.DEFAULT_DEADLINE_NS);
        Stepwise handler = new Stepwise();
        FaultWorker worker = source.consumer().run(handler, 8);
        source.step();
        source.raise(1, 1);
        source.raise(2, 1);
        source.step();
        int there = handler.next(source).size();
        List<Result> results = new CopyOnWriteArrayList<>();
        Semaphore closed = new Semaphore(0);
        handler.says.add(batch -> {
            closed.acquireUninterruptibly();
            results.add(batch.answer(0, Answer.LATER));
            results.add(batch.answer(0, Answer.SUCCESS));
            return Answer.SUCCESS;
        });
        handler.says.add(batch -> Answer.SUCCESS);
        long start = System.nanoTime();
        Thread closer = Thread.ofPlatform().start(source.queue::close);
        while (source.queue.accounting().autoAnswered() < 2) {
            source.step();
            assertTrue(System.nanoTime() - start < 10 * SECOND);
        }
        closed.release();
        closer.join(5_000);
        assertFalse(closer.isAlive());
        worker.thread().join(5_000);
        assertFalse(worker.isRunning());
        assertEquals(List.of(Result.CLOSED, Result.STALE), results);
        assertEquals(0, worker.failures());
        source.step();
        assertEquals(List.of("1 INVALID", "2 INVALID"), source.answers(), "of which the first batch had " + there);
        source.producer.leave();
        assertEquals(0, source.queue.heldBytes());
        assertEquals(Map.of(AutoAnswer.CLOSE, 2L), source.queue.accounting().autoBy());
    }

    @ParameterizedTest
    @EnumSource(Kind.class)
    void aWorkerStopsAfterTheBatchAtHand(Kind kind) throws Exception {
        Source source = open(kind, 8, 1);
        Stepwise handler = new Stepwise();
        FaultWorker worker = source.consumer().run(handler, 8);
        source.step();
        raiseTogether(source, handler, 1, 3);
        Thread closer = Thread.ofPlatform().start(worker::close);
        while (closer.getState() != Thread.State.TIMED_WAITING) {
            Thread.onSpinWait();
        }
        handler.says.add(batch -> Answer.SUCCESS);
        closer.join(10_000);
        assertFalse(worker.isRunning());
        stepUntil(source, 4);
        assertEquals(4, source.consumer().accounting().answered());
    }

    @ParameterizedTest
    @EnumSource(Kind.class)
    void misuseIsNamed(Kind kind) throws Exception {
        Source source = open(kind, 8, 1);
        FaultConsumer consumer = source.consumer();
        assertEquals("most=0: allowed 1 to 8", message(() -> consumer.run(batch -> Answer.SUCCESS, 0)));
        assertEquals("most=9: allowed 1 to 8", message(() -> consumer.run(batch -> Answer.SUCCESS, 9)));
        Stepwise handler = new Stepwise();
        try (FaultWorker worker = consumer.run(handler, 8)) {
            source.step();
            source.raise(1, 1);
            source.step();
            assertEquals(1, handler.next(source).size());
            CompletableFuture<FaultBatch> shown = new CompletableFuture<>();
            Semaphore seen = new Semaphore(0);
            handler.says.add(batch -> {
                shown.complete(batch);
                seen.acquireUninterruptibly();
                return Answer.SUCCESS;
            });
            FaultBatch batchInHand = shown.get(30, TimeUnit.SECONDS);
            String said = message(() -> assertEquals(Result.OK, batchInHand.answer(0, Answer.SUCCESS)));
            assertTrue(said.contains("which called first; other threads use answerLater and wake"), said);
            assertEquals("i=1: allowed 0 to 0", message(() -> batchInHand.group(1)));
            seen.release();
            stepUntil(source, 1);
            assertEquals(List.of("1 SUCCESS"), source.answers());
            said = message(() -> consumer.run(batch -> Answer.SUCCESS, 8));
            assertTrue(said.contains("this consumer has a worker"), said);
            assertEquals(0, worker.failures());
        }
    }

    private static String message(org.junit.jupiter.api.function.Executable call) {
        return String.valueOf(assertThrows(RuntimeException.class, call).getMessage());
    }

    /** Any sizes, any answers, any way to give them, failures among them: each group gets its own answer, once. */
    @ParameterizedTest
    @EnumSource(Kind.class)
    void everyGroupIsAnsweredOnce(Kind kind) {
        long seed = System.nanoTime();
        Random random = new Random(seed);
        Source source = open(kind, 16, 3);
        FaultConsumer consumer = source.consumer();
        int total = 20_000;
        int[] largest = {0};
        BatchHandler handler = batch -> {
            largest[0] = Math.max(largest[0], batch.size());
            boolean fails = false;
            for (int i = 0; i < batch.size(); i++) {
                int tag = (int) (batch.group(i).address(0) >>> 12);
                switch (tag % 5) {
                    case 0 -> assertEquals(Result.OK, batch.answer(i, Answer.SUCCESS));
                    case 1 -> assertEquals(Result.OK, batch.answer(i, Answer.INVALID));
                    case 2 -> {
                        int cookie = batch.group(i).cookie();
                        assertEquals(Result.OK, batch.answer(i, Answer.LATER));
                        Thread.ofVirtual()
                                .start(() -> assertEquals(Result.OK, consumer.answerLater(cookie, Answer.SUCCESS)));
                    }
                    default -> {}
                }
                fails |= tag % 100 == 3;
            }
            if (fails) {
                throw new IllegalStateException("as the test wants");
            }
            return Answer.SUCCESS;
        };
        try (FaultWorker worker = consumer.run(handler, 7)) {
            int raised = 0;
            long end = System.nanoTime() + 60 * SECOND;
            while (source.answers().size() < total) {
                for (int n = random.nextInt(12);
                        n > 0 && raised < total && raised - source.answers().size() < 48;
                        n--) {
                    source.raise(raised++, 1 + random.nextInt(3));
                }
                source.step();
                assertTrue(System.nanoTime() < end, () -> "seed " + seed + ": " + consumer.accounting());
            }
            Map<Integer, String> codes = new HashMap<>();
            for (String answer : source.answers()) {
                int gap = answer.indexOf(' ');
                assertEquals(
                        null, codes.put(Integer.parseInt(answer.substring(0, gap)), answer.substring(gap + 1)), answer);
            }
            for (int tag = 0; tag < total; tag++) {
                String code = codes.get(tag);
                switch (tag % 5) {
                    case 0, 2 -> assertEquals("SUCCESS", code);
                    case 1 -> assertEquals("INVALID", code);
                    default -> assertTrue(code != null && (tag % 100 != 3 || code.equals("INVALID")), "" + tag);
                }
            }
            assertTrue(worker.failures() > 0 && worker.failures() <= total / 100, "" + worker.failures());
            assertTrue(largest[0] > 1 && largest[0] <= 7, "largest batch " + largest[0]);
        }
        assertEquals(0, consumer.accounting().outstanding());
    }

    @Test
    void aBatchAllocatesNothing() throws Exception {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long counted = 50_000;
        long[] handled = new long[2];
        try (FaultQueue queue =
                FaultQueue.open(QueueConfig.of(64).withLargestGroup(2).withWaiting(Waiting.SPIN))) {
            int[] answered = new int[1];
            FaultProducer producer = queue.producer(64, (tag, code) -> answered[0]++);
            assertTrue(producer.enter());
            FaultWorker worker = queue.consumer()
                    .run(
                            batch -> {
                                handled[0]++;
                                for (int i = 0; i < batch.size(); i++) {
                                    handled[1] += batch.group(i).address(0);
                                }
                                return batch.answer(0, Answer.SUCCESS) == Result.OK ? Answer.SUCCESS : Answer.INVALID;
                            },
                            32);
            long before = 0;
            for (long raised = 0; answered[0] < 2 * counted; ) {
                while (raised < 2 * counted && raised - answered[0] < 64) {
                    boolean pair = raised % 8 == 0;
                    if (pair) {
                        assertEquals(Result.OK, producer.raise(raised, 1, 1, (int) raised & 511, raised, 1, false));
                    }
                    assertEquals(Result.OK, producer.raise(raised, 1, 1, (int) raised & 511, raised, 1, true));
                    raised++;
                }
                producer.poll();
                if (before == 0 && answered[0] >= counted) {
                    before = threads.getThreadAllocatedBytes(worker.thread().threadId());
                }
            }
            long bytes = threads.getThreadAllocatedBytes(worker.thread().threadId()) - before;
            assertTrue(bytes < counted / 100, () -> bytes + " bytes in " + counted + " groups");
            producer.leave();
            worker.close();
            assertTrue(queue.accounting().balanced());
            assertEquals(2 * counted, queue.accounting().answered());
            assertTrue(handled[0] > 0 && handled[1] > 0);
        }
    }
}
