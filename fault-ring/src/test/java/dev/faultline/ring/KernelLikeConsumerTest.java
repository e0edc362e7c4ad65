package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ring.contract.ConsumerContract;
import dev.faultline.ring.contract.ConsumerContract.Seen;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The consumer of a descriptor that behaves as the kernel's fault descriptor does, driven in either way. */
class KernelLikeConsumerTest {
    private static final long SECOND = 1_000_000_000L;

    /** How the descriptor is driven, and what it is like. */
    enum Way {
        CALLS,
        URING,
        URING_THAT_DOES_NOT_BLOCK,
        URING_WITH_ROOM_FOR_ONE;

        DescriptorConsumer open(KernelLikeEngine engine, LinuxCalls linux, int entries, int largestGroup) {
            return switch (this) {
                case CALLS -> DescriptorConsumer.open(NO_FD, entries, largestGroup, engine);
                case URING -> over(new KernelLikeUring(engine, linux, 8, true), entries, largestGroup);
                case URING_THAT_DOES_NOT_BLOCK ->
                    over(new KernelLikeUring(engine, linux, 8, false), entries, largestGroup);
                case URING_WITH_ROOM_FOR_ONE ->
                    over(new KernelLikeUring(engine, linux, 1, true), entries, largestGroup);
            };
        }
    }

    private static final int NO_FD = 1_000_000;

    private static DescriptorConsumer over(KernelLikeUring uring, int entries, int largestGroup) {
        return DescriptorConsumer.openUring(NO_FD, entries, largestGroup, user -> uring);
    }

    private final Held before = Held.now();
    private final LinuxCalls linux = LinuxCalls.open();
    private final KernelLikeEngine engine = new KernelLikeEngine(linux);
    private final List<DescriptorConsumer> consumers = new ArrayList<>();
    private final Seen seen = new Seen();

    @AfterEach
    void nothingIsLeft() {
        for (DescriptorConsumer consumer : consumers) {
            consumer.close();
            Accounting a = consumer.accounting();
            assertTrue(a.balanced(), a::toString);
        }
        linux.close();
        assertEquals(before, Held.now());
    }

    private DescriptorConsumer open(Way way, int entries, int largestGroup) {
        return opened(way.open(engine, linux, entries, largestGroup));
    }

    private DescriptorConsumer opened(DescriptorConsumer consumer) {
        consumers.add(consumer);
        return consumer;
    }

    private static void ok(Result result) {
        assertEquals(Result.OK, result);
    }

    // ---- the contract ----

    /** A contract, and a way. */
    abstract static class Contract extends ConsumerContract {
        private final Way way;

        Contract(Way way) {
            this.way = way;
        }

        @Override
        protected Source source(int entries, int largestGroup) {
            return new EngineSource(way, entries, largestGroup);
        }
    }

    @Nested
    class ByCalls extends Contract {
        ByCalls() {
            super(Way.CALLS);
        }
    }

    @Nested
    class ByUring extends Contract {
        ByUring() {
            super(Way.URING);
        }
    }

    @Nested
    class ByUringThatDoesNotBlock extends Contract {
        ByUringThatDoesNotBlock() {
            super(Way.URING_THAT_DOES_NOT_BLOCK);
        }
    }

    /** A submission ring that is full after each entry. */
    @Nested
    class ByUringWithRoomForOne extends Contract {
        ByUringWithRoomForOne() {
            super(Way.URING_WITH_ROOM_FOR_ONE);
        }
    }

    private static final class EngineSource implements ConsumerContract.Source {
        private final LinuxCalls linux = LinuxCalls.open();
        private final KernelLikeEngine engine = new KernelLikeEngine(linux);
        private final DescriptorConsumer consumer;

        EngineSource(Way way, int entries, int largestGroup) {
            consumer = way.open(engine, linux, entries, largestGroup);
        }

        @Override
        public FaultConsumer consumer() {
            return consumer;
        }

        @Override
        public void raise(int tag, int size) {
            engine.raise(tag, size);
        }

        @Override
        public void step() {}

        @Override
        public List<String> answers() {
            return engine.answersSoFar();
        }

        @Override
        public void end() {
            engine.hangUp();
        }

        @Override
        public void close() {
            consumer.close();
            linux.close();
        }
    }

    // ---- what the recordings show ----

    @Test
    void aReadThatLosesIsPostedAgainBehindAPoll() {
        KernelLikeUring uring = new KernelLikeUring(engine, linux, 8, true);
        DescriptorConsumer consumer = opened(over(uring, 4, 1));
        ok(consumer.post(0, 4));
        assertEquals(0, consumer.poll(seen, 1));
        assertEquals(List.of(), uring.history, "the read waits");
        uring.losses = 1;
        engine.raise(1, 1);
        ok(consumer.await(seen, 1, SECOND));
        assertEquals(List.of("read 0", "poll 1", "read 40"), uring.history);
        engine.raise(2, 1);
        ok(consumer.await(seen, 1, SECOND));
        assertEquals(List.of("0:1", "0:2"), seen.texts);
    }

    @Test
    void aDescriptorThatDoesNotBlockIsPolledAndNotReadInVain() {
        KernelLikeUring uring = new KernelLikeUring(engine, linux, 8, false);
        DescriptorConsumer consumer = opened(over(uring, 4, 1));
        ok(consumer.post(0, 4));
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 20_000_000));
        assertEquals(List.of("read 0"), uring.history, "once is enough to know");
        engine.raise(1, 1);
        engine.raise(2, 1);
        ok(consumer.await(seen, 2, SECOND));
        assertEquals(List.of("read 0", "poll 1", "read 80"), uring.history);
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 20_000_000));
        assertEquals(3, uring.history.size());
    }

    @Test
    void aReadIsTakenBackWithTheReadsItWasFor() {
        KernelLikeUring uring = new KernelLikeUring(engine, linux, 8, true);
        DescriptorConsumer consumer = opened(over(uring, 4, 1));
        ok(consumer.post(0, 4));
        assertEquals(0, consumer.poll(seen, 1));
        ok(consumer.cancelAll());
        assertEquals(1, consumer.poll(seen, 1));
        engine.raise(1, 1);
        assertEquals(0, consumer.poll(seen, 1));
        assertEquals(List.of("read -125"), uring.history);
        assertEquals(List.of(), engine.reads);
    }

    @Test
    void aShortReadCannotBe() {
        KernelLikeUring uring = new KernelLikeUring(engine, linux, 8, true);
        DescriptorConsumer consumer = opened(over(uring, 4, 2));
        ok(consumer.post(0, 4));
        assertEquals(0, consumer.poll(seen, 1));
        engine.raise(1, 2);
        ok(consumer.await(seen, 1, SECOND));
        assertEquals(List.of("read 80"), uring.history);
    }

    // ---- answers ----

    @ParameterizedTest
    @EnumSource(Way.class)
    void answersTheEngineRefusesAreStaleAndTheOthersGoOn(Way way) {
        DescriptorConsumer consumer = open(way, 16, 1);
        ok(consumer.post(0, 16));
        for (int i = 1; i <= 8; i++) {
            engine.raise(i, 1);
        }
        assertEquals(8, consumer.poll(seen, 10));
        engine.detach(1);
        engine.detach(4);
        engine.detach(5);
        engine.detach(8);
        for (int cookie : seen.cookies) {
            ok(consumer.answer(cookie, Answer.SUCCESS));
        }
        assertEquals(4, consumer.submit());
        assertEquals(List.of("2 SUCCESS", "3 SUCCESS", "6 SUCCESS", "7 SUCCESS"), engine.answers);
        assertEquals(List.of(-22L, 16L, -22L, -22L, 16L, -22L), engine.writes);
        Accounting a = consumer.accounting();
        assertEquals(4, a.answered());
        assertEquals(Map.of(AutoAnswer.DETACH, 4L), a.autoBy());
        assertEquals(8, a.answers());
        assertEquals(4, a.stale());
        assertEquals(0, a.outstanding());
    }

    @Test
    void aCookieThatComesAgainNamesTheNewGroup() {
        DescriptorConsumer consumer = open(Way.CALLS, 16, 1);
        ok(consumer.post(0, 16));
        engine.raise(1, 1);
        engine.raise(2, 1);
        assertEquals(2, consumer.poll(seen, 10));
        engine.againTimes = 1;
        ok(consumer.answer(2, Answer.SUCCESS));
        assertEquals(0, consumer.submit());
        engine.detach(1);
        engine.detach(2);
        engine.raise(3, 1);
        engine.raise(4, 1);
        engine.againTimes = 1;
        assertEquals(2, consumer.poll(seen, 10));
        assertEquals(List.of(1, 2, 1, 2), seen.cookies);
        assertEquals(0, consumer.submit(), "the former group's answer is not the new one's");
        Accounting a = consumer.accounting();
        assertEquals(Map.of(AutoAnswer.DETACH, 2L), a.autoBy());
        assertEquals(2, a.outstanding());
        ok(consumer.answer(1, Answer.SUCCESS));
        ok(consumer.answer(2, Answer.INVALID));
        assertEquals(2, consumer.submit());
        assertEquals(List.of("3 SUCCESS", "4 INVALID"), engine.answers);
    }

    @Test
    void aCookieThatComesAgainWhileItsAnswerIsBeingWrittenNamesTheNewGroup() {
        KernelLikeUring uring = new KernelLikeUring(engine, linux, 8, true);
        DescriptorConsumer consumer = opened(over(uring, 16, 1));
        ok(consumer.post(0, 16));
        engine.raise(1, 1);
        engine.raise(2, 1);
        ok(consumer.await(seen, 2, SECOND));
        uring.holdsWrites = true;
        ok(consumer.answer(1, Answer.SUCCESS));
        ok(consumer.answer(2, Answer.SUCCESS));
        assertEquals(0, consumer.submit(), "the write is under way");
        engine.detach(1);
        engine.raise(3, 1);
        ok(consumer.await(seen, 1, SECOND));
        assertEquals(List.of(1, 2, 1), seen.cookies);
        // Answers what is open under that cookie by now: the protocol can not tell them apart.
        uring.holdsWrites = false;
        long end = System.nanoTime() + SECOND;
        while (consumer.accounting().answered() < 1 && System.nanoTime() < end) {
            consumer.submit();
        }
        assertEquals(List.of("3 SUCCESS", "2 SUCCESS"), engine.answers);
        Accounting a = consumer.accounting();
        assertEquals(1, a.answered(), "the other one was taken back");
        assertEquals(Map.of(AutoAnswer.DETACH, 1L), a.autoBy());
        assertEquals(1, a.outstanding());
        ok(consumer.answer(1, Answer.SUCCESS));
        assertEquals(0, consumer.submit(), "and so the engine refuses this");
        assertEquals(0, consumer.accounting().outstanding());
        assertEquals(1, consumer.accounting().stale());
    }

    @Test
    void anEmptyReadIsNoEndAndABusyEngineIsAskedAgain() {
        DescriptorConsumer consumer = open(Way.CALLS, 200, 2);
        ok(consumer.post(0, 200));
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 2_000_000));
        for (int i = 1; i <= 100; i++) {
            engine.raise(i, 2);
        }
        ok(consumer.await(seen, 100, SECOND));
        assertEquals(List.of(64 * 80L, 36 * 80L), engine.reads, "as many as fit, each whole");
        engine.againTimes = 3;
        for (int cookie : seen.cookies) {
            ok(consumer.answer(cookie, Answer.SUCCESS));
        }
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 2_000_000));
        engine.againTimes = -2;
        assertEquals(100, engine.answers.size());
        engine.raise(101, 1);
        ok(consumer.await(seen, 1, SECOND));
        ok(consumer.answer(seen.cookies.getLast(), Answer.SUCCESS));
        assertEquals(1, consumer.submit());
        engine.raise(102, 129);
        assertTrue(String.valueOf(assertThrows(IllegalStateException.class, () -> consumer.poll(seen, 1))
                        .getMessage())
                .contains("more requests than largestGroup=2"));
    }
}
