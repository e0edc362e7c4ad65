package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Round trips without end: positions, laps and cookies go round, nothing grows, and every group is accounted for. */
class EnduranceTest {
    private static final long SECOND = 1_000_000_000L;

    /** How many round trips the long run makes: {@code -Dfaultline.endurance=1000000} for fewer. */
    private static final long LONG_RUN = Long.getLong("faultline.endurance", 1_000_000_000L);

    /** What is dear is looked at once in so many round trips. */
    private static final int CHECKED = 1 << 24;

    /** With so many lanes a cookie has few bits of generation. */
    private static final int MOST_LANES = 4096;

    /**
     * One thread at both ends, and so few slots and entries that all goes round: 20 bits of a cookie are left for slot and
     * generation, so it comes again after some 2^20 groups; what counts an entry's laps goes round no later.
     */
    @ParameterizedTest
    @CsvSource({"1,1", "2,2", "3,2", "64,1"})
    void cookiesAndLapsGoRound(int entries, int allocation) {
        long[] told = new long[2];
        try (FaultQueue queue =
                FaultQueue.open(QueueConfig.of(entries).withLanes(MOST_LANES).withDeadlineNs(0))) {
            FaultProducer producer = queue.producer(allocation, (tag, code) -> {
                told[0]++;
                told[1] = code == Answer.SUCCESS ? tag : -tag;
            });
            FaultConsumer consumer = queue.consumer();
            assertTrue(producer.enter());
            assertEquals(Result.OK, consumer.post(7, entries));
            consumer.submit();
            int[] cookies = new int[2 * allocation];
            int[] given = new int[1];
            CompletionHandler handler = (userData, group) -> given[0] = group.cookie();
            long uses = (1L << 20) + 50_000;
            long revoked = 0;
            int first = 0;
            long repeated = 0;
            for (long tag = 1; tag <= uses; tag++) {
                assertEquals(Result.OK, producer.raise(tag, 1, 1, 1, tag << 12, 1, true));
                producer.poll();
                assertEquals(1, consumer.poll(handler, 1));
                int cookie = given[0];
                assertNotEquals(0, cookie);
                for (int before : cookies) {
                    assertNotEquals(before, cookie);
                    if (before != 0 && (tag & 1023) == 0) {
                        assertEquals(Result.STALE, consumer.answer(before, Answer.INVALID));
                        assertEquals(Result.STALE, consumer.answerLater(before, Answer.INVALID));
                    }
                }
                cookies[(int) (tag % cookies.length)] = cookie;
                first = tag == 1 ? cookie : first;
                repeated += cookie == first && tag > 1 ? 1 : 0;
                if (tag % 1000 == 0) {
                    // The device takes it back; its cookie is stale from here on.
                    assertEquals(1, producer.revoke(any -> true, AutoAnswer.DETACH));
                    revoked++;
                    assertEquals(-tag, told[1]);
                    assertEquals(Result.STALE, consumer.answerAndRepost(cookie, Answer.SUCCESS));
                    consumer.submit();
                    producer.poll();
                } else {
                    assertEquals(Result.OK, consumer.answerAndRepost(cookie, Answer.SUCCESS));
                    consumer.submit();
                    assertEquals(1, producer.poll());
                    assertEquals(tag, told[1]);
                }
            }
            assertEquals(1, repeated, "cookies have gone round once");
            assertEquals(uses, told[0]);
            Accounting now = queue.accounting();
            assertEquals(uses - revoked, now.answered(), now::toString);
            assertEquals(revoked, now.autoAnswered(), now::toString);
            assertTrue(now.balanced() && now.outstanding() == 0 && now.stale() == 0, now::toString);
            producer.leave();
        }
    }

    /** What the consumer's thread does: checks each group against its number, and answers as the number says. */
    private static final class Checking implements CompletionHandler {
        final FaultConsumer consumer;
        long next = 1;
        private int later;
        private long laterAt;

        Checking(FaultConsumer consumer) {
            this.consumer = consumer;
        }

        @Override
        public void group(long userData, FaultGroup group) {
            long tag = next++;
            int size = sizeOf(tag);
            if (userData != 7
                    || group.size() != size
                    || group.device() != (int) tag
                    || group.address(size - 1) != (tag << 12 | size - 1)
                    || group.groupIndex() != (int) (tag & 0x1ff)) {
                throw new IllegalStateException("instead of group " + tag + ": " + group);
            }
            int cookie = group.cookie();
            if ((tag & 4095) == 0 && later == 0) {
                must(consumer.answerAndRepost(cookie, Answer.LATER));
                later = cookie;
                laterAt = tag + 100;
            } else {
                must(consumer.answerAndRepost(cookie, tag % 1000 == 0 ? Answer.INVALID : Answer.SUCCESS));
            }
            if (tag == laterAt) {
                giveLater();
            }
        }

        void giveLater() {
            if (later != 0) {
                int cookie = later;
                later = 0;
                must(consumer.answerLater(cookie, Answer.SUCCESS));
                if (consumer.answerLater(cookie, Answer.SUCCESS) != Result.STALE) {
                    throw new IllegalStateException("answered twice: cookie 0x" + Integer.toHexString(cookie));
                }
            }
        }
    }

    private static int sizeOf(long tag) {
        return (tag & 63) == 0 ? 3 : 1;
    }

    /** Two threads, 4096 slots with 255 generations each: cookies go round about a thousand times. */
    @Test
    @Tag("slow")
    @Timeout(value = 80, unit = TimeUnit.MINUTES)
    void aThousandMillionRoundTrips() throws Exception {
        long[] told = new long[2];
        try (FaultQueue queue = FaultQueue.open(
                QueueConfig.of(256).withLanes(MOST_LANES).withLargestGroup(4).withDeadlineNs(100 * SECOND))) {
            FaultProducer producer = queue.producer(4096, (tag, code) -> {
                told[0]++;
                told[1] += code == Answer.SUCCESS ? tag : 0;
            });
            FaultConsumer consumer = queue.consumer();
            Checking checking = new Checking(consumer);
            AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
            Thread worker = Thread.ofPlatform().start(() -> {
                try {
                    must(consumer.post(7, 256));
                    while (checking.next <= LONG_RUN) {
                        if (consumer.await(checking, 1, SECOND) == Result.TIMED_OUT) {
                            checking.giveLater();
                        }
                    }
                    checking.giveLater();
                    must(consumer.await(checking, 0, 0));
                    consumer.close();
                } catch (Throwable t) {
                    failure.set(t);
                }
            });
            assertTrue(producer.enter());
            long held = queue.heldBytes();
            long heap = 0;
            long checks = 0;
            long raised = 0;
            long lastMove = System.nanoTime();
            while (told[0] < LONG_RUN) {
                while (raised < LONG_RUN && raised - told[0] < 256) {
                    raise(producer, ++raised);
                }
                if (producer.poll() > 0) {
                    lastMove = System.nanoTime();
                } else if (!producer.await(SECOND)) {
                    assertEquals(null, failure.get());
                    assertTrue(System.nanoTime() - lastMove < 60 * SECOND, queue::dump);
                }
                if (raised / CHECKED > checks) {
                    checks = raised / CHECKED;
                    Accounting now = queue.accounting();
                    assertTrue(now.balanced(), now::toString);
                    assertEquals(raised, now.raised(), now::toString);
                    assertEquals(held, queue.heldBytes());
                    long used = usedHeap();
                    heap = heap == 0 ? used : heap;
                    assertTrue(used - heap < 1 << 20, "the heap has grown from " + heap + " to " + used + " bytes");
                }
            }
            worker.join();
            assertEquals(null, failure.get());
            Accounting end = queue.accounting();
            assertEquals(LONG_RUN, end.raised(), end::toString);
            assertEquals(LONG_RUN, end.answered(), end::toString);
            assertTrue(end.balanced() && end.outstanding() == 0 && end.stale() == 0, end::toString);
            assertEquals(LONG_RUN, told[0]);
            assertEquals(tagsAnsweredSuccess(), told[1], "the sum of the tags that were answered SUCCESS");
            producer.leave();
        }
    }

    private static long tagsAnsweredSuccess() {
        long sum = LONG_RUN % 2 == 0 ? LONG_RUN / 2 * (LONG_RUN + 1) : (LONG_RUN + 1) / 2 * LONG_RUN;
        for (long tag = 1000; tag <= LONG_RUN; tag += 1000) {
            sum -= (tag & 4095) == 0 ? 0 : tag;
        }
        return sum;
    }

    private static long usedHeap() {
        System.gc();
        Runtime runtime = Runtime.getRuntime();
        return runtime.totalMemory() - runtime.freeMemory();
    }

    private static void must(Result result) {
        if (result != Result.OK) {
            throw new IllegalStateException("refused: " + result);
        }
    }

    private static void raise(FaultProducer producer, long tag) {
        int size = sizeOf(tag);
        for (int i = 0; i < size; i++) {
            must(producer.raise(tag, (int) tag, 1, (int) (tag & 0x1ff), tag << 12 | i, 1, i == size - 1));
        }
    }
}
