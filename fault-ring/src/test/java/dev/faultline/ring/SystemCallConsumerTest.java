package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;

/** By system calls: over a socket. */
class SystemCallConsumerTest extends DescriptorConsumerTest {
    @Override
    DescriptorConsumer over(int fd, int entries, int largestGroup) {
        return DescriptorConsumer.open(fd, entries, largestGroup);
    }

    @Test
    void aDescriptorClosedEarlyIsNamed() {
        DescriptorConsumer consumer = open(4, 1);
        ok(consumer.post(0, 1));
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 2_000_000));
        peer.closeConsumersEnd();
        assertEquals(
                "fd=" + peer.descriptor() + " is closed: allowed after the consumer's close",
                message(() -> consumer.poll(seen, 1)));
    }

    @Test
    void aDescriptorClosedUnderAWaitIsNamedByTheNextLook() throws Exception {
        DescriptorConsumer consumer = open(4, 1);
        List<String> messages = new ArrayList<>();
        CountDownLatch waits = new CountDownLatch(1);
        Thread waiter = Thread.ofPlatform().start(() -> {
            ok(consumer.post(0, 1));
            waits.countDown();
            messages.add(message(() -> consumer.await(seen, 1, 30 * SECOND)));
        });
        waits.await();
        LockSupport.parkNanos(20_000_000);
        peer.closeConsumersEnd();
        // poll(2) goes on with what it holds: somebody has to wake it.
        consumer.wake();
        waiter.join(30_000);
        assertEquals(List.of("fd=" + peer.descriptor() + " is closed: allowed after the consumer's close"), messages);
    }
}
