package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.IoUring;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** By io_uring, over a socket. */
class UringConsumerTest extends DescriptorConsumerTest {
    @BeforeEach
    void thisMachineHasIt() {
        Assumptions.assumeTrue(IoUring.missing().isEmpty(), () -> String.valueOf(IoUring.missing()));
    }

    @Override
    DescriptorConsumer over(int fd, int entries, int largestGroup) {
        return DescriptorConsumer.openUring(fd, entries, largestGroup);
    }

    @Test
    void aDescriptorClosedUnderAWaitingReadGoesOnUntilTheConsumerIsClosed() throws Exception {
        DescriptorConsumer consumer = open(4, 1);
        List<Result> results = new ArrayList<>();
        CountDownLatch waits = new CountDownLatch(1);
        Thread waiter = Thread.ofPlatform().start(() -> {
            ok(consumer.post(0, 2));
            waits.countDown();
            results.add(consumer.await(
                    (userData, group) -> ok(consumer.answer(group.cookie(), Answer.SUCCESS)), 1, 30 * SECOND));
            consumer.close();
        });
        waits.await();
        LockSupport.parkNanos(20_000_000);
        peer.closeConsumersEnd();
        peer.raise(1, 1);
        assertEquals(1, peer.takeAnswers(10_000));
        waiter.join(30_000);
        assertEquals(List.of(Result.OK), results);
        assertEquals(0, peer.takeAnswers(10_000), "it is told of the end, now");
    }

    @Test
    void aDescriptorClosedBeforeTheFirstCallIsNamed() {
        DescriptorConsumer consumer = open(4, 1);
        peer.closeConsumersEnd();
        ok(consumer.post(0, 1));
        assertEquals(
                "fd=" + peer.descriptor() + ": EBADF, allowed an open descriptor until the consumer is closed",
                message(() -> consumer.poll(seen, 1)));
    }

    @Test
    void whatIsTakenBackStaysAtTheOtherEnd() {
        DescriptorConsumer consumer = open(4, 1);
        ok(consumer.post(1, 2));
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 2_000_000));
        ok(consumer.cancelAll());
        assertEquals(1, consumer.poll(seen, 10));
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 2_000_000));
        peer.raise(1, 1);
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 2_000_000));
        assertEquals(0, consumer.accounting().raised(), "no read of the kernel's is posted either");
        ok(consumer.post(2, 1));
        ok(consumer.await(seen, 1, SECOND));
        assertEquals(List.of("0:CANCELLED 2", "2:1"), seen.texts);
    }

    @Test
    void aThreadThatEndsWithAReadUnderWayCanBeClosedFor() throws Exception {
        DescriptorConsumer consumer = open(4, 1);
        Thread thread = Thread.ofPlatform().start(() -> {
            ok(consumer.post(0, 1));
            assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 1_000_000));
        });
        thread.join();
        consumer.close();
        assertEquals(Result.CLOSED, consumer.post(0, 1));
    }

    @Test
    void aVirtualThreadMayBeTheConsumer() throws Exception {
        DescriptorConsumer consumer = open(4, 1);
        List<Result> results = new ArrayList<>();
        Thread thread = Thread.ofVirtual().start(() -> {
            ok(consumer.post(0, 4));
            for (int i = 0; i < 50; i++) {
                results.add(consumer.await(
                        (userData, group) -> ok(consumer.answerAndRepost(group.cookie(), Answer.SUCCESS)),
                        1,
                        30 * SECOND));
                Thread.yield();
            }
            consumer.close();
        });
        for (int i = 0; i < 50; i++) {
            peer.raise(i, 1);
            assertEquals(1, peer.takeAnswers(10_000));
        }
        thread.join();
        assertEquals(50, results.size());
        assertFalse(results.contains(Result.TIMED_OUT));
    }

    @Test
    void aMachineThatRefusesIoUringSaysWhyAndTheOtherWayWorks() {
        System.setProperty("dev.faultline.refuse", "io_uring_setup=EPERM");
        try {
            String reason = assertThrows(
                            UnsupportedOperationException.class,
                            () -> DescriptorConsumer.openUring(peer.descriptor(), 4, 1))
                    .getMessage();
            assertTrue(String.valueOf(reason).startsWith("io_uring_setup: EPERM: "), reason);
            DescriptorConsumer consumer = DescriptorConsumer.open(peer.descriptor(), 4, 1);
            consumers.add(consumer);
            ok(consumer.post(0, 1));
            peer.raise(1, 1);
            assertEquals(1, consumer.poll(seen, 1));
        } finally {
            System.clearProperty("dev.faultline.refuse");
        }
    }
}
