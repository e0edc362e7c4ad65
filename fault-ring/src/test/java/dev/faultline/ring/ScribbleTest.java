package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

/**
 * A consumer that writes garbage wherever it may write, while the engine runs. It may lose its own groups, their answers and its
 * reads; the engine neither fails nor loops, writes nothing outside, and groups of other lanes are answered by nobody else.
 */
class ScribbleTest {
    private static final int ALLOCATION = 32;
    private static final int ENTRIES = 16;
    private static final int HONEST = 40_000;

    private final FaultQueue queue = FaultQueue.open(
            QueueConfig.of(ENTRIES).withLanes(2).withLargestGroup(2).withWaiting(Waiting.YIELD));

    /** How many requests of the lane under attack were answered; nothing is said about the order. */
    private final AtomicLong scribbledAnswers = new AtomicLong();

    private final AtomicLong honestAnswers = new AtomicLong();
    private final AtomicBoolean stop = new AtomicBoolean();

    @Test
    void garbageInTheSubmissionRingHurtsNobodyElse() {
        long seed = Long.getLong("faultline.seed", System.nanoTime());
        assertTimeoutPreemptively(Duration.ofSeconds(60), () -> run(seed), () -> "seed=" + seed);
    }

    private void run(long seed) throws Exception {
        FaultProducer attacked = queue.producer(
                ALLOCATION, (tag, code) -> scribbledAnswers.incrementAndGet(), (opcode, payload, bytes) -> opcode);
        FaultProducer honest = queue.producer(ALLOCATION, (tag, code) -> {
            assertEquals(honestAnswers.getAndIncrement(), tag, "seed=" + seed);
            assertEquals(tag % 3 == 0 ? Answer.INVALID : Answer.SUCCESS, code);
        });
        Lane lane = java.util.Objects.requireNonNull(queue.lanes()[0]);
        LaneLayout layout = lane.layout;
        byte[] header = bytes(lane.memory, 0, (int) LaneLayout.REVOKED_OFFSET);
        FaultConsumer consumer = queue.consumer();

        Thread scribbler = Thread.ofPlatform().start(() -> scribble(lane.memory, layout, seed));
        Thread reader = Thread.ofPlatform().start(() -> consume(consumer));

        // One thread steps both lanes, as an engine does.
        assertTrue(attacked.enter());
        assertTrue(honest.enter());
        long raised = 0;
        long attackedRaised = 0;
        // Garbage has to have answered something, and something in vain, or it tests little.
        while (honestAnswers.get() < HONEST || attackedRaised <= ALLOCATION) {
            if (raised < HONEST && honest.raise(raised, 1, 7, (int) raised, raised << 12, 1, true) == Result.OK) {
                raised++;
            }
            if (attacked.raise(attackedRaised, 2, 7, (int) attackedRaised, 0, 1, true) == Result.OK) {
                attackedRaised++;
            }
            attacked.poll();
            honest.poll();
        }
        while (queue.accounting().stale() == 0) {
            attacked.poll();
        }
        stop.set(true);
        scribbler.join();
        assertArrayEquals(header, bytes(lane.memory, 0, header.length));
        Accounting now = queue.accounting();
        assertTrue(now.balanced(), () -> "seed=" + seed + ": " + now);

        attacked.leave();
        honest.leave();
        queue.close();
        reader.join();
        Accounting end = queue.accounting();
        assertTrue(end.balanced(), () -> "seed=" + seed + ": " + end);
        assertEquals(0, end.outstanding());
        assertEquals(raised + attackedRaised, end.raised());
        assertEquals(attackedRaised, scribbledAnswers.get(), "every group was answered once, whoever did it");
        assertEquals(0, queue.heldBytes());
    }

    /** Garbage of every kind, where it hurts most: from the word on that the engine takes next, and of the lap that is due there. */
    private void scribble(MemorySegment memory, LaneLayout layout, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        int words = layout.submissionWords();
        while (!stop.get()) {
            long garbage = random.nextLong();
            long due = SharedWords.getLongAcquire(memory, LaneLayout.TAKEN_OFFSET) + random.nextInt(4);
            long lap = (due / words + 1) << 48;
            int value = (int) garbage;
            long word = switch (random.nextInt(4)) {
                case 0 -> garbage;
                case 1 -> lap | (garbage >>> 16);
                case 2 -> lap | LaneLayout.submission(random.nextInt(12), random.nextInt(256), value);
                default -> {
                    // An answer to a cookie of either lane that may be open.
                    int cookie = (random.nextInt(64) << 1) | random.nextInt(2) | (random.nextInt(64) << 6);
                    yield lap | LaneLayout.submission(LaneLayout.OPCODE_ANSWER, random.nextInt(16), cookie);
                }
            };
            SharedWords.setLongRelease(memory, layout.submissionsOffset() + due % words * 8, word);
        }
    }

    /** Answers what comes, and takes garbage for what it is: its own lane's completions may be anything by now. */
    private static void consume(FaultConsumer consumer) {
        CompletionHandler handler = (userData, group) -> {
            Answer code = group.device() == 1 && (group.address(0) >>> 12) % 3 == 0 ? Answer.INVALID : Answer.SUCCESS;
            var _ = consumer.answerAndRepost(group.cookie(), code);
        };
        Result result = consumer.post(1, ENTRIES);
        assertEquals(Result.OK, result);
        do {
            result = consumer.await(handler, 1, 100_000_000);
        } while (result != Result.CLOSED);
        consumer.close();
        assertFalse(Thread.currentThread().isInterrupted());
    }

    private static byte[] bytes(MemorySegment memory, long offset, int count) {
        return memory.asSlice(offset, count).toArray(java.lang.foreign.ValueLayout.JAVA_BYTE);
    }
}
