package dev.faultline.ring.contract;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ring.Accounting;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultHandler;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.FaultWorker;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * What a {@link FaultHandler} keeps when a worker calls it: every group gets an answer of the handler's own, at once or LATER,
 * whatever its size, and a close finds it done. Extend it with a handler of one's own, and run it.
 */
public abstract class HandlerContract {
    private static final long SECOND = 1_000_000_000L;
    private static final int WINDOW = 16;
    private static final int DEVICE = 3;

    private final List<String> answers = new ArrayList<>();
    private FaultQueue queue;
    private FaultProducer producer;
    private FaultConsumer consumer;

    /** For a subclass. */
    protected HandlerContract() {}

    /**
     * Makes the handler.
     *
     * @param mine the consumer it serves, for {@link FaultConsumer#answerLater}
     * @return the handler
     */
    protected abstract FaultHandler handler(FaultConsumer mine);

    /**
     * The i-th address that faults.
     *
     * @param i 0 to 63
     * @return an address the handler can make present; another page for every i
     */
    protected long address(int i) {
        return 0x7000_0000L + ((long) i << 12);
    }

    /**
     * The access that faults.
     *
     * @return bits of {@link PageFaultLayout}, a write unless overridden
     */
    protected int access() {
        return PageFaultLayout.PERM_WRITE;
    }

    /**
     * The largest group it is given.
     *
     * @return requests, 1 or more
     */
    protected int mostRequests() {
        return 4;
    }

    /**
     * How long the handler may take for a group.
     *
     * @return nanoseconds, 5 seconds unless overridden
     */
    protected long limitNs() {
        return 5 * SECOND;
    }

    @BeforeEach
    void open() {
        queue = FaultQueue.open(QueueConfig.of(WINDOW)
                .withLargestGroup(mostRequests())
                .withDeadlineNs(limitNs())
                .withCloseLimitNs(limitNs()));
        producer = queue.producer(WINDOW, (tag, code) -> answers.add(tag + " " + code));
        consumer = queue.consumer();
        assertTrue(producer.enter());
    }

    @AfterEach
    void everyGroupIsAccountedFor() {
        queue.close();
        producer.leave();
        Accounting after = queue.accounting();
        assertTrue(after.balanced(), after::toString);
        assertEquals(0, after.outstanding(), after::toString);
        assertEquals(0, queue.heldBytes(), "the handler holds the queue's memory");
    }

    private boolean tryRaise(int tag, int first, int size) {
        for (int i = 0; i < size; i++) {
            Result result = producer.raise(
                    tag, DEVICE, FaultProducer.NO_PASID, tag, address((first + i) % 64), access(), i == size - 1);
            if (result == Result.FULL) {
                return false;
            }
            assertEquals(Result.OK, result);
        }
        return true;
    }

    private void serve(FaultWorker worker, int groups) {
        int raised = 0;
        long end = System.nanoTime() + 2 * limitNs();
        while (answers.size() < groups) {
            if (raised < groups && tryRaise(raised, raised, 1 + raised % mostRequests())) {
                raised++;
            } else if (producer.poll() == 0) {
                boolean _ = producer.await(1_000_000);
            }
            assertTrue(worker.isRunning(), "the worker has died");
            assertTrue(System.nanoTime() < end, () -> "a group waits: " + queue.dump());
        }
    }

    @Test
    void everyGroupIsAnsweredByTheHandlerAndOnce() {
        try (FaultWorker worker = consumer.run(handler(consumer))) {
            serve(worker, 256);
            assertEquals(0, worker.failures(), "the handler threw, or returned null");
        }
        Accounting now = queue.accounting();
        assertEquals(256, now.answered(), now::toString);
        assertEquals(0, now.autoAnswered(), now::toString);
        assertEquals(
                256,
                answers.stream()
                        .map(a -> a.substring(0, a.indexOf(' ')))
                        .distinct()
                        .count());
    }

    @Test
    void aPageThatIsThereIsAnsweredAlike() {
        try (FaultWorker worker = consumer.run(handler(consumer))) {
            for (int tag = 0; tag < 3; tag++) {
                assertTrue(tryRaise(tag, 0, 1));
                for (long end = System.nanoTime() + 2 * limitNs(); answers.size() <= tag; ) {
                    if (producer.poll() == 0) {
                        boolean _ = producer.await(1_000_000);
                    }
                    assertTrue(System.nanoTime() < end, () -> "a group waits: " + queue.dump());
                }
            }
            assertEquals(0, worker.failures());
        }
        assertEquals(List.of("0 " + Answer.SUCCESS, "1 " + Answer.SUCCESS, "2 " + Answer.SUCCESS), answers);
    }

    @Test
    void aCloseFindsItDone() {
        FaultWorker worker = consumer.run(handler(consumer));
        for (int tag = 0; tag < WINDOW; tag++) {
            assertTrue(tryRaise(tag, tag, 1));
        }
        producer.poll();
        long start = System.nanoTime();
        queue.close();
        assertTrue(System.nanoTime() - start < 2 * limitNs(), "the close took too long");
        assertFalse(worker.isRunning());
        producer.poll();
        assertEquals(WINDOW, answers.size());
    }
}
