package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Nops, and commands to the engine behind a lane. Everything happens on one thread. */
class OperationsTest {
    private static final long USER_DATA = 0x1234_5678_9abc_def0L;

    private final List<String> happened = new ArrayList<>();
    private final FaultQueue queue = FaultQueue.open(
            QueueConfig.of(8).withWaiting(Waiting.SPIN).withLanes(2).withDeadlineNs(0));
    private final FaultProducer producer =
            queue.producer(8, (tag, code) -> happened.add("answered " + tag + " " + code), (opcode, payload, bytes) -> {
                if (opcode == 99) {
                    throw new IllegalStateException("opcode=99 is none of mine");
                }
                long sum = 0;
                for (int i = 0; i < bytes / 4; i++) {
                    sum += payload.get(ValueLayout.JAVA_INT, i * 4L);
                }
                happened.add("command " + opcode + " " + sum);
                return (int) sum;
            });
    private final FaultConsumer consumer = queue.consumer();
    private final List<Integer> cookies = new ArrayList<>();

    private final CompletionHandler handler = new CompletionHandler() {
        @Override
        public void group(long userData, FaultGroup group) {
            cookies.add(group.cookie());
        }

        @Override
        public void ended(long userData, Result why, int value) {
            happened.add("ended 0x" + Long.toHexString(userData) + " " + why + " " + value);
        }
    };

    OperationsTest() {
        assertTrue(producer.enter());
        assertEquals(Result.OK, consumer.post(1, 8));
        consumer.submit();
        producer.poll();
    }

    private int raise(long tag) {
        assertEquals(Result.OK, producer.raise(tag, 1, FaultProducer.NO_PASID, (int) tag, tag << 12, 1, true));
        producer.flush();
        assertEquals(1, consumer.poll(handler, 1));
        return cookies.getLast();
    }

    private void turn() {
        consumer.submit();
        producer.poll();
        while (consumer.poll(handler, 100) > 0) {}
    }

    @AfterEach
    void everyGroupIsAccountedFor() {
        producer.leave();
        queue.close();
        consumer.close();
        Accounting sum = queue.accounting();
        assertTrue(sum.balanced(), sum::toString);
        assertEquals(0, sum.outstanding());
        assertEquals(0, queue.heldBytes());
    }

    @Test
    void aNopComesBackAfterWhatWasSubmittedBefore() {
        assertEquals(Result.OK, consumer.answer(raise(1), Answer.SUCCESS));
        assertEquals(Result.OK, consumer.nop(USER_DATA));
        assertEquals(List.of(), happened, "nothing happens before it is submitted");
        turn();
        assertEquals(List.of("answered 1 SUCCESS", "ended 0x123456789abcdef0 OK 0"), happened);
    }

    @Test
    void aCommandIsDoneInOrderWithTheAnswers() {
        int first = raise(1);
        int second = raise(2);
        assertEquals(Result.OK, consumer.answer(first, Answer.SUCCESS));
        assertEquals(
                Result.OK,
                consumer.command(second, 64, USER_DATA, MemorySegment.ofArray(new int[] {1, 20, 300, -4000, 5})));
        assertEquals(Result.OK, consumer.answer(second, Answer.INVALID));
        turn();
        assertEquals(
                List.of(
                        "answered 1 SUCCESS",
                        "command 64 -3674",
                        "answered 2 INVALID",
                        "ended 0x123456789abcdef0 OK -3674"),
                happened);
    }

    @Test
    void thePayloadMayBeEmptyOrOfSixtyFourBytes() {
        int cookie = raise(1);
        int[] sixteen = new int[16];
        for (int i = 0; i < 16; i++) {
            sixteen[i] = 1 << i;
        }
        assertEquals(Result.OK, consumer.command(cookie, 255, 2, MemorySegment.ofArray(sixteen)));
        assertEquals(Result.OK, consumer.command(cookie, 65, 3, MemorySegment.ofArray(new byte[0])));
        turn();
        assertEquals(List.of("command 255 65535", "command 65 0", "ended 0x2 OK 65535", "ended 0x3 OK 0"), happened);
    }

    @Test
    void aCommandThatFailsIsRefusedAndWhatFollowsIsDone() {
        int cookie = raise(1);
        assertEquals(Result.OK, consumer.command(cookie, 99, 2, MemorySegment.ofArray(new int[] {1})));
        assertEquals(Result.OK, consumer.command(cookie, 98, 3, MemorySegment.ofArray(new int[] {1})));
        assertEquals(Result.OK, consumer.answer(cookie, Answer.SUCCESS));
        turn();
        assertEquals(List.of("command 98 1", "answered 1 SUCCESS", "ended 0x2 REFUSED 0", "ended 0x3 OK 1"), happened);
    }

    @Test
    void aProducerWithoutCommandsRefusesThem() {
        try (FaultProducer other = queue.producer(2, (tag, code) -> {})) {
            assertTrue(other.enter());
            assertEquals(0, consumer.poll(handler, 1), "joins, and posts the reads that stand");
            assertEquals(0, other.poll());
            assertEquals(Result.OK, other.raise(7, 1, FaultProducer.NO_PASID, 1, 0, 1, true));
            other.flush();
            assertEquals(1, consumer.poll(handler, 1));
            assertEquals(Result.OK, consumer.command(cookies.getLast(), 64, 5, MemorySegment.ofArray(new int[] {1})));
            consumer.submit();
            other.poll();
            consumer.poll(handler, 10);
            other.leave();
        }
        assertEquals("ended 0x5 REFUSED 0", happened.getFirst());
    }

    @Test
    void operationsUnderWayAreBoundedAndNoAnswerOvertakesThem() {
        int cookie = raise(1);
        MemorySegment payload = MemorySegment.ofArray(new int[16]);
        int commands = 0;
        while (consumer.command(cookie, 64, 5, payload) == Result.OK) {
            commands++;
        }
        int nops = 0;
        while (consumer.nop(100 + nops) == Result.OK) {
            nops++;
        }
        assertEquals(LaneLayout.CONTROL_WORDS / 17, commands, "17 words each");
        assertTrue(nops > 0 && nops < LaneLayout.CONTROL_ENTRIES);
        assertEquals(Result.FULL, consumer.command(cookie, 64, 1, MemorySegment.ofArray(new int[1])));
        assertEquals(Result.FULL, consumer.cancel(1));
        assertEquals(Result.OK, consumer.answerAndRepost(cookie, Answer.SUCCESS), "never refused for want of room");
        turn();
        assertEquals(commands + 1 + commands + nops, happened.size(), happened::toString);
        assertEquals(commands, happened.indexOf("answered 1 SUCCESS"), "after the commands before it");
        assertEquals(Result.OK, consumer.nop(0));
        turn();
        assertEquals("ended 0x0 OK 0", happened.getLast());
    }

    @Test
    void completionsKeptFreeAreNotOvercommitted() {
        for (int i = 0; i < LaneLayout.CONTROL_ENTRIES; i++) {
            assertEquals(Result.OK, consumer.nop(5));
            consumer.submit();
            producer.poll();
        }
        assertEquals(Result.FULL, consumer.nop(5), "none of the completions was taken");
        turn();
        assertEquals(LaneLayout.CONTROL_ENTRIES, happened.size());
        assertEquals(Result.OK, consumer.nop(5));
        turn();
    }

    @Test
    void whatCannotBeIsRefusedByName() {
        int cookie = raise(1);
        MemorySegment none = MemorySegment.ofArray(new byte[0]);
        assertEquals("opcode=63: allowed 64 to 255", refusal(cookie, 63, none));
        assertEquals("opcode=256: allowed 64 to 255", refusal(cookie, 256, none));
        assertEquals(
                "payload of bytes=3: allowed 0 to 64, multiples of 4",
                refusal(cookie, 64, MemorySegment.ofArray(new byte[3])));
        assertEquals(
                "payload of bytes=68: allowed 0 to 64, multiples of 4",
                refusal(cookie, 64, MemorySegment.ofArray(new byte[68])));
        assertEquals(Result.STALE, consumer.command(1, 64, 0, none), "lane 1 is not there");
        queue.close();
        assertEquals(Result.CLOSED, consumer.command(cookie, 64, 0, none));
        assertEquals(Result.CLOSED, consumer.nop(1));
    }

    private String refusal(int cookie, int opcode, MemorySegment payload) {
        return String.valueOf(assertThrows(IllegalArgumentException.class, () -> {
                    var _ = consumer.command(cookie, opcode, 0, payload);
                })
                .getMessage());
    }
}
