package dev.faultline.ring.contract;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.Accounting;
import dev.faultline.ring.Answer;
import dev.faultline.ring.CompletionHandler;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultWorker;
import dev.faultline.ring.Result;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/**
 * What every {@link FaultConsumer} keeps, whatever is behind it: extend this class with a source of one's own, and run it.
 *
 * <p>Threads: the source is used by the test's thread, its consumer by that thread too where a test does not say otherwise.
 */
public abstract class ConsumerContract {
    static final long SECOND = 1_000_000_000L;

    /** What is behind a consumer: one device, which raises groups and is told the answers. */
    public interface Source {
        /**
         * The consumer under test.
         *
         * @return the same each time
         */
        FaultConsumer consumer();

        /**
         * The largest group its device makes when asked to.
         *
         * @return requests: 1 if it makes groups of one only
         */
        default int mostRequests() {
            return Integer.MAX_VALUE;
        }

        /**
         * Raises a whole group and sends it, if there is room for it.
         *
         * @param tag what the answer is told with; its first address is the tag times 4096, and each further request lies on the
         *     same page
         * @param size requests, 1 to {@link #mostRequests}
         */
        void raise(int tag, int size);

        /** Lets the source send what was raised and take what was answered. Called again and again; never waits. */
        void step();

        /**
         * What its device was told.
         *
         * @return each answer as tag and code, "7 SUCCESS", in the order of the answers
         */
        List<String> answers();

        /** Ends the source as its owner would: closes the queue, or hangs up. */
        void end();

        /** Frees everything, and fails if something is left. */
        void close();
    }

    private final List<Source> sources = new ArrayList<>();

    /** For a subclass. */
    protected ConsumerContract() {}

    /**
     * Opens a source whose device may have 16 groups open.
     *
     * @param entries reads that can be posted at once
     * @param largestGroup requests in its largest group
     * @return the source, whose consumer nobody has called
     */
    protected abstract Source source(int entries, int largestGroup);

    private Source open(int entries, int largestGroup) {
        return opened(source(entries, largestGroup));
    }

    /** Has a source looked after when the test is over. */
    final <S extends Source> S opened(S source) {
        sources.add(source);
        return source;
    }

    @AfterEach
    void theCountsBalance() {
        for (Source source : sources) {
            Accounting now = source.consumer().accounting();
            assertTrue(now.balanced(), now::toString);
            source.close();
            Accounting after = source.consumer().accounting();
            assertTrue(after.balanced(), after::toString);
        }
    }

    /** The size asked for, or the most the source makes. */
    static int size(Source source, int wanted) {
        return Math.min(wanted, source.mostRequests());
    }

    /** What {@link Seen} notes of a group. */
    static String text(Source source, long userData, int tag, int wanted) {
        return userData + ":" + (tag + ",").repeat(size(source, wanted) - 1) + tag;
    }

    /** Writes down what a consumer is handed. */
    public static final class Seen implements CompletionHandler {
        /** Of each group. */
        public final List<Integer> cookies = new ArrayList<>();

        /** Of each completion: its user data, and the page numbers of a group or the end of reads. */
        public final List<String> texts = new ArrayList<>();

        /** Nothing seen. */
        public Seen() {}

        @Override
        public void group(long userData, FaultGroup group) {
            cookies.add(group.cookie());
            StringBuilder text = new StringBuilder(userData + ":");
            for (int i = 0; i < group.size(); i++) {
                text.append(i == 0 ? "" : ",").append(group.address(i) >>> 12);
            }
            texts.add(text.toString());
        }

        @Override
        public void ended(long userData, Result why, int reads) {
            texts.add(userData + ":" + why + " " + reads);
        }
    }

    /** Steps and polls until a number of completions has come. */
    static void poll(Source source, CompletionHandler handler, int n) {
        long end = System.nanoTime() + 10 * SECOND;
        for (int got = 0; got < n; ) {
            source.consumer().submit();
            source.step();
            got += source.consumer().poll(handler, n - got);
            assertTrue(System.nanoTime() < end, "too few completions");
        }
    }

    static void answered(Source source, int n) {
        long end = System.nanoTime() + 10 * SECOND;
        while (source.answers().size() < n) {
            source.consumer().submit();
            source.step();
            assertTrue(System.nanoTime() < end, "too few answers");
        }
    }

    @Test
    void aGroupCompletesOneReadWholeAndGroupsComeInOrder() {
        Source source = open(8, 3);
        FaultConsumer consumer = source.consumer();
        assertEquals(Result.OK, consumer.post(1, 2));
        assertEquals(Result.OK, consumer.post(2, 2));
        Seen seen = new Seen();
        source.raise(10, 1);
        source.raise(11, size(source, 3));
        source.raise(12, size(source, 2));
        poll(source, seen, 3);
        assertEquals(List.of("1:10", text(source, 1, 11, 3), text(source, 2, 12, 2)), seen.texts);
        assertEquals(3, consumer.accounting().outstanding());
        for (int cookie : seen.cookies) {
            assertNotEquals(0, cookie);
            assertEquals(Result.OK, consumer.answer(cookie, Answer.SUCCESS));
        }
        answered(source, 3);
        assertEquals(List.of("10 SUCCESS", "11 SUCCESS", "12 SUCCESS"), source.answers());
    }

    @Test
    void aGroupWaitsForARead() {
        Source source = open(8, 1);
        FaultConsumer consumer = source.consumer();
        Seen seen = new Seen();
        for (int i = 1; i <= 3; i++) {
            source.raise(i, 1);
        }
        source.step();
        assertEquals(0, consumer.poll(seen, 10));
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 5_000_000));
        assertEquals(Result.OK, consumer.post(5, 2));
        poll(source, seen, 2);
        source.step();
        assertEquals(0, consumer.poll(seen, 10));
        assertEquals(Result.OK, consumer.answerAndRepost(seen.cookies.get(0), Answer.INVALID));
        poll(source, seen, 1);
        assertEquals(List.of("5:1", "5:2", "5:3"), seen.texts);
    }

    @Test
    void answersMayComeInAnyOrderAndOnlyOnce() {
        Source source = open(8, 1);
        FaultConsumer consumer = source.consumer();
        assertEquals(Result.OK, consumer.post(0, 8));
        Seen seen = new Seen();
        for (int i = 1; i <= 3; i++) {
            source.raise(i, 1);
        }
        poll(source, seen, 3);
        int cookie = seen.cookies.get(2);
        assertEquals(Result.STALE, consumer.answer(0, Answer.SUCCESS));
        assertEquals(Result.STALE, consumer.answer(-5, Answer.SUCCESS));
        assertEquals(Result.STALE, consumer.answerLater(-5, Answer.SUCCESS));
        assertEquals(Result.OK, consumer.answer(cookie, Answer.LATER));
        assertEquals(Result.OK, consumer.answer(cookie, Answer.INVALID));
        assertEquals(Result.STALE, consumer.answer(cookie, Answer.SUCCESS));
        assertEquals(Result.STALE, consumer.answer(cookie, Answer.LATER));
        assertEquals(Result.STALE, consumer.answerAndRepost(cookie, Answer.SUCCESS));
        assertEquals(Result.STALE, consumer.answerLater(cookie, Answer.SUCCESS));
        assertEquals(Result.OK, consumer.answer(seen.cookies.get(0), Answer.SUCCESS));
        answered(source, 2);
        assertEquals(List.of("3 INVALID", "1 SUCCESS"), source.answers());
        assertEquals(Result.STALE, consumer.answer(cookie, Answer.SUCCESS));
        assertEquals(1, consumer.accounting().outstanding());
        assertEquals(2, consumer.accounting().answered());
    }

    @Test
    void laterIsAnsweredByOneOfSeveralThreads() throws Exception {
        Source source = open(8, 1);
        FaultConsumer consumer = source.consumer();
        assertEquals(Result.OK, consumer.post(0, 8));
        for (int round = 1; round <= 100; round++) {
            Seen seen = new Seen();
            source.raise(round, 1);
            poll(source, seen, 1);
            int cookie = seen.cookies.get(0);
            assertEquals(Result.OK, consumer.answerAndRepost(cookie, Answer.LATER));
            AtomicInteger ok = new AtomicInteger();
            CountDownLatch go = new CountDownLatch(2);
            Runnable answer = () -> {
                go.countDown();
                while (go.getCount() > 0) {
                    Thread.onSpinWait();
                }
                if (consumer.answerLater(cookie, Answer.SUCCESS) == Result.OK) {
                    ok.incrementAndGet();
                }
            };
            Thread a = Thread.ofPlatform().start(answer);
            Thread b = Thread.ofPlatform().start(answer);
            a.join();
            b.join();
            assertEquals(1, ok.get());
            assertEquals(Result.STALE, consumer.answer(cookie, Answer.SUCCESS));
            answered(source, round);
        }
        assertEquals(100, consumer.accounting().answered());
        assertThrows(IllegalArgumentException.class, () -> consumer.answerLater(1, Answer.LATER));
    }

    @Test
    void cancelEndsReadsThatHaveNoGroup() {
        Source source = open(8, 1);
        FaultConsumer consumer = source.consumer();
        assertEquals(Result.OK, consumer.post(1, 2));
        assertEquals(Result.OK, consumer.post(2, 3));
        Seen seen = new Seen();
        source.raise(1, 1);
        poll(source, seen, 1);
        assertEquals(Result.OK, consumer.cancel(1));
        poll(source, seen, 1);
        assertEquals(Result.OK, consumer.cancel(9));
        poll(source, seen, 1);
        source.raise(2, 1);
        poll(source, seen, 1);
        assertEquals(Result.OK, consumer.cancelAll());
        poll(source, seen, 1);
        assertEquals(List.of("1:1", "1:CANCELLED 1", "9:CANCELLED 0", "2:2", "0:CANCELLED 2"), seen.texts);
        source.raise(3, 1);
        source.step();
        assertEquals(0, consumer.poll(seen, 10));
        assertEquals(Result.OK, consumer.post(4, 8));
        poll(source, seen, 1);
        assertEquals("4:3", seen.texts.get(5));
    }

    @Test
    void moreReadsThanThereIsRoomForAreRefusedTogether() {
        Source source = open(4, 1);
        FaultConsumer consumer = source.consumer();
        source.step();
        assertEquals(Result.OK, consumer.post(0, 3));
        assertEquals(Result.FULL, consumer.post(0, 2));
        assertEquals(Result.OK, consumer.post(0, 1));
        assertEquals(Result.FULL, consumer.post(0, 1));
        assertThrows(IllegalArgumentException.class, () -> consumer.post(0, 0));
    }

    @Test
    void aWaitEndsInTime() {
        Source source = open(4, 1);
        FaultConsumer consumer = source.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        Seen seen = new Seen();
        long start = System.nanoTime();
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 20_000_000));
        assertTrue(System.nanoTime() - start >= 20_000_000);
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 0));
        assertEquals(Result.TIMED_OUT, consumer.take(new FaultGroup(), 1_000));
        assertEquals(List.of(), seen.texts);
    }

    @Test
    void aWaitEndsWhenSomebodyWakesIt() throws Exception {
        Source source = open(4, 1);
        FaultConsumer consumer = source.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        Seen seen = new Seen();
        consumer.wake();
        consumer.wake();
        assertEquals(Result.WOKEN, consumer.await(seen, 1, 30 * SECOND));
        for (int i = 0; i < 20; i++) {
            Thread waker = Thread.ofPlatform().start(() -> {
                LockSupport.parkNanos(2_000_000);
                consumer.wake();
            });
            assertEquals(Result.WOKEN, consumer.take(new FaultGroup(), 30 * SECOND));
            waker.join();
        }
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 1_000_000));
    }

    @Test
    void takeGivesOneGroupAfterAnother() {
        Source source = open(4, 2);
        FaultConsumer consumer = source.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        assertEquals(Result.OK, consumer.cancel(3));
        consumer.submit();
        source.raise(1, size(source, 2));
        source.raise(2, 1);
        source.step();
        FaultGroup group = new FaultGroup();
        assertEquals(Result.OK, consumer.take(group, SECOND), "reads that end are passed over");
        assertEquals(size(source, 2), group.size());
        assertEquals(0x1000, group.address(0));
        assertEquals(Result.OK, consumer.answer(group.cookie(), Answer.SUCCESS));
        answered(source, 1);
        assertEquals(Result.OK, consumer.take(group, SECOND));
        assertEquals(0x2000, group.address(0));
        assertEquals(Result.OK, consumer.answer(group.cookie(), Answer.INVALID));
        answered(source, 2);
        assertEquals(List.of("1 SUCCESS", "2 INVALID"), source.answers());
    }

    @Test
    void aSourceThatEndsEndsItsConsumer() {
        Source source = open(4, 1);
        FaultConsumer consumer = source.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        Seen seen = new Seen();
        source.raise(1, 1);
        poll(source, seen, 1);
        source.end();
        Result result = Result.OK;
        for (int i = 0; i < 10 && result == Result.OK; i++) {
            result = consumer.await(seen, 1, SECOND);
        }
        assertEquals(Result.CLOSED, result);
        assertEquals(Result.CLOSED, consumer.take(new FaultGroup(), SECOND));
        assertEquals(Result.CLOSED, consumer.post(0, 1));
        assertEquals(Result.CLOSED, consumer.answer(seen.cookies.get(0), Answer.SUCCESS));
        assertEquals(Result.CLOSED, consumer.answerLater(seen.cookies.get(0), Answer.SUCCESS));
        assertEquals(Result.CLOSED, consumer.cancelAll());
        assertEquals(0, consumer.submit());
        assertEquals(0, consumer.poll(seen, 1));
        assertEquals(0, consumer.accounting().outstanding());
        assertEquals(1, consumer.accounting().autoAnswered());
        consumer.wake();
    }

    @Test
    void aConsumerThatLeftIsClosed() {
        Source source = open(4, 1);
        FaultConsumer consumer = source.consumer();
        assertEquals(Result.OK, consumer.post(0, 4));
        consumer.close();
        consumer.close();
        assertEquals(Result.CLOSED, consumer.post(0, 1));
        assertEquals(Result.CLOSED, consumer.await(new Seen(), 1, SECOND));
        assertEquals(Result.CLOSED, consumer.answerLater(1, Answer.SUCCESS));
        consumer.wake();
    }

    @Test
    void anotherThreadIsRefused() throws Exception {
        Source source = open(4, 1);
        FaultConsumer consumer = source.consumer();
        assertEquals(Result.OK, consumer.post(0, 1));
        List<String> messages = new ArrayList<>();
        Thread other = Thread.ofPlatform().start(() -> {
            for (Runnable call : List.<Runnable>of(
                    () -> assertEquals(Result.OK, consumer.post(0, 1)),
                    () -> assertEquals(Result.OK, consumer.answer(1, Answer.SUCCESS)),
                    () -> assertEquals(Result.OK, consumer.cancelAll()),
                    consumer::submit,
                    () -> consumer.poll(new Seen(), 1),
                    () -> assertEquals(Result.OK, consumer.take(new FaultGroup(), 0)),
                    consumer::close)) {
                messages.add(
                        assertThrows(IllegalStateException.class, call::run).getMessage());
            }
        });
        other.join();
        assertEquals(7, messages.size());
        for (String message : messages) {
            assertTrue(message.contains("which called first; other threads use answerLater and wake"), message);
        }
        assertThrows(IllegalStateException.class, () -> consumer.run(g -> Answer.SUCCESS));
    }

    @Test
    void pollingInsideAHandlerIsRefused() {
        Source source = open(4, 1);
        FaultConsumer consumer = source.consumer();
        assertEquals(Result.OK, consumer.post(0, 1));
        source.raise(1, 1);
        String[] message = new String[1];
        poll(
                source,
                (userData, group) ->
                        message[0] = assertThrows(IllegalStateException.class, () -> consumer.poll(new Seen(), 1))
                                .getMessage(),
                1);
        assertTrue(String.valueOf(message[0]).contains("inside a completion handler"));
    }

    @Test
    void badArgumentsAreNamed() {
        Source source = open(4, 1);
        FaultConsumer consumer = source.consumer();
        Seen seen = new Seen();
        assertRefused("reads=0: allowed 1 to", () -> ignore(consumer.post(0, 0)));
        assertRefused("reads=-1: allowed 1 to", () -> ignore(consumer.post(0, -1)));
        assertRefused("limit=-1: allowed 0 or more", () -> consumer.poll(seen, -1));
        assertRefused("atLeast=-1: allowed 0 or more", () -> ignore(consumer.await(seen, -1, 0)));
        assertRefused("code=LATER: allowed SUCCESS, INVALID", () -> ignore(consumer.answerLater(1, Answer.LATER)));
        assertRefused("most=0: allowed 1 to", () -> consumer.run(batch -> Answer.SUCCESS, 0));
        assertRefused("handler=null: allowed a CompletionHandler", () -> consumer.poll(absent(), 1));
        assertRefused("handler=null: allowed a CompletionHandler", () -> ignore(consumer.await(absent(), 1, 0)));
        assertRefused("into=null: allowed a FaultGroup", () -> ignore(consumer.take(absent(), 0)));
        assertRefused("code=null: allowed SUCCESS, INVALID, LATER", () -> ignore(consumer.answer(1, absent())));
        assertRefused(
                "code=null: allowed SUCCESS, INVALID, LATER", () -> ignore(consumer.answerAndRepost(1, absent())));
        assertRefused("code=null: allowed SUCCESS, INVALID", () -> ignore(consumer.answerLater(1, absent())));
        assertEquals(Result.OK, consumer.post(0, 4), "what was refused has changed nothing");
        assertEquals(0, consumer.poll(seen, 0));
        assertEquals(Result.OK, consumer.await(seen, 0, 0));
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, -1));
    }

    private static void ignore(Result result) {
        assertTrue(result != null);
    }

    /** A null where the compiler would not let one stand. */
    @SuppressWarnings({"NullAway", "TypeParameterUnusedInFormals"})
    private static <T> T absent() {
        return null;
    }

    private static void assertRefused(String message, Executable call) {
        RuntimeException refused = assertThrows(RuntimeException.class, call);
        assertTrue(String.valueOf(refused.getMessage()).startsWith(message), refused::toString);
    }

    @Test
    void aWorkerAnswersEverything() throws Exception {
        Source source = open(16, 2);
        FaultConsumer consumer = source.consumer();
        FaultWorker worker = consumer.run(group -> switch ((int) (group.address(0) >>> 12) % 4) {
            case 0 -> Answer.SUCCESS;
            case 1 -> Answer.INVALID;
            case 2 -> {
                int cookie = group.cookie();
                Thread.ofVirtual().start(() -> {
                    LockSupport.parkNanos(5_000_000);
                    assertEquals(Result.OK, consumer.answerLater(cookie, Answer.SUCCESS));
                });
                yield Answer.LATER;
            }
            default -> throw new IllegalStateException("on purpose");
        });
        long end = System.nanoTime() + 30 * SECOND;
        int raised = 0;
        while (source.answers().size() < 400) {
            if (raised < 400 && raised - source.answers().size() < 8) {
                source.raise(raised, size(source, 1 + raised % 2));
                raised++;
            }
            source.step();
            assertTrue(
                    System.nanoTime() < end, () -> "answers " + source.answers().size());
        }
        assertEquals(100, worker.failures());
        assertEquals(
                200,
                source.answers().stream().filter(a -> a.endsWith("INVALID")).count());
        worker.close();
        worker.thread().join(5_000);
        assertFalse(worker.isRunning());
        assertEquals(0, consumer.accounting().outstanding());
        assertEquals(400, consumer.accounting().raised());
    }
}
