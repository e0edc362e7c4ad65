package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.EpollCalls;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ring.contract.ConsumerContract.Seen;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A queue in somebody else's epoll. */
class WakeDescriptorTest {
    private static final QueueConfig CONFIG = QueueConfig.of(16).withWaiting(Waiting.EVENTFD);
    private static final long MINE = 77;
    private static final int LONG_MS = 20_000;

    private final Seen seen = new Seen();
    private Held before;
    private FaultQueue queue;
    private FaultProducer producer;
    private long answered;
    private final EpollCalls epoll = EpollCalls.open();
    private int set;

    @BeforeEach
    void open() {
        before = Held.now();
        queue = FaultQueue.open(CONFIG);
        producer = queue.producer(16, (tag, code) -> answered++);
        set = epoll.create();
        assertTrue(set >= 0);
    }

    @AfterEach
    void nothingIsLeft() {
        queue.close();
        assertTrue(queue.accounting().balanced(), () -> queue.accounting().toString());
        LinuxCalls linux = LinuxCalls.open();
        assertEquals(0, linux.close(set));
        linux.close();
        epoll.close();
        assertEquals(before, Held.now());
    }

    private WakeDescriptor inTheSet() {
        WakeDescriptor wake = queue.wakeDescriptor();
        assertEquals(0, epoll.add(set, wake.descriptor(), EpollCalls.IN, MINE));
        return wake;
    }

    private void raise(int tag) {
        assertTrue(producer.enter());
        producer.poll();
        assertEquals(Result.OK, producer.raise(tag, 1, 1, tag, (long) tag << 12, 1, true));
        producer.leave();
    }

    private int await(int ms) {
        int n = epoll.await(set, ms);
        if (n > 0) {
            assertEquals(1, n);
            assertEquals(MINE, epoll.data(0));
        }
        return n;
    }

    @Test
    void aProducerWritesOnlyForAConsumerThatSleeps() {
        FaultConsumer consumer = queue.consumer();
        WakeDescriptor wake = inTheSet();
        assertSame(wake, queue.wakeDescriptor());
        assertEquals(Result.OK, consumer.post(0, 16));
        consumer.poll(seen, 1);
        raise(1);
        assertEquals(0, await(0), "nobody has armed it");
        assertFalse(wake.arm(), "there is a group");
        assertEquals(0, await(0), "so it is not armed");
        assertEquals(1, consumer.poll(seen, 10));
        assertTrue(wake.arm());
        assertEquals(0, await(0));
        raise(2);
        raise(3);
        assertEquals(1, await(LONG_MS));
        assertEquals(1, await(0), "until it is cleared");
        wake.clear();
        assertEquals(0, await(0));
        raise(4);
        assertEquals(0, await(0), "it is not armed any more");
        assertEquals(3, consumer.poll(seen, 10));
        assertEquals(List.of("0:1", "0:2", "0:3", "0:4"), seen.texts);
    }

    @Test
    void armingSendsWhatIsStaged() {
        FaultConsumer consumer = queue.consumer();
        WakeDescriptor wake = inTheSet();
        assertEquals(Result.OK, consumer.post(0, 16));
        consumer.poll(seen, 1);
        raise(1);
        assertEquals(1, consumer.poll(seen, 10));
        assertEquals(Result.OK, consumer.answer(seen.cookies.get(0), Answer.SUCCESS));
        assertTrue(wake.arm());
        assertTrue(producer.enter());
        assertEquals(1, producer.poll());
        producer.leave();
        wake.clear();
        assertEquals(1, answered);
    }

    @Test
    void wakesAndClosesAreTold() throws Exception {
        FaultConsumer consumer = queue.consumer();
        WakeDescriptor wake = inTheSet();
        assertFalse(wake.arm(), "there is a lane to join");
        consumer.poll(seen, 1);
        assertTrue(wake.arm());
        consumer.wake();
        assertEquals(1, await(LONG_MS));
        wake.clear();
        assertFalse(wake.arm(), "a wake is told once by arm");
        assertTrue(wake.arm());
        CountDownLatch asleep = new CountDownLatch(1);
        Thread closer = Thread.ofPlatform().start(() -> {
            try {
                asleep.await();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            queue.close();
        });
        asleep.countDown();
        assertEquals(1, await(LONG_MS));
        wake.clear();
        long end = System.nanoTime() + 10_000_000_000L;
        while (consumer.await(seen, 1, 0) != Result.CLOSED) {
            assertTrue(System.nanoTime() < end);
        }
        closer.join();
        assertFalse(wake.arm());
        wake.clear();
        assertEquals(
                "the eventfd is closed: allowed while its queue is open",
                assertThrows(IllegalStateException.class, wake::descriptor).getMessage());
        assertEquals(0, epoll.await(set, 0), "a closed descriptor is in no set");
    }

    @Test
    void misuseIsNamed() throws Exception {
        assertEquals(
                "the queue has no consumer: allowed after consumer()",
                assertThrows(IllegalStateException.class, () -> queue.wakeDescriptor())
                        .getMessage());
        WakeDescriptor wake = queueWithConsumer();
        List<String> messages = new ArrayList<>();
        Thread other = Thread.ofPlatform().start(() -> {
            messages.add(String.valueOf(assertThrows(IllegalStateException.class, () -> {
                        boolean _ = wake.arm();
                    })
                    .getMessage()));
            messages.add(String.valueOf(
                    assertThrows(IllegalStateException.class, wake::clear).getMessage()));
        });
        other.join();
        assertTrue(messages.get(0).startsWith("arm by "), messages::toString);
        assertTrue(messages.get(1).startsWith("clear by "), messages::toString);
        try (FaultQueue parks = FaultQueue.open(QueueConfig.of(1))) {
            parks.consumer();
            assertEquals(
                    "waiting=SPIN_THEN_PARK: allowed EVENTFD",
                    assertThrows(IllegalStateException.class, parks::wakeDescriptor)
                            .getMessage());
        }
    }

    private WakeDescriptor queueWithConsumer() {
        FaultConsumer consumer = queue.consumer();
        consumer.submit();
        return queue.wakeDescriptor();
    }

    /** A wake-up that falls between the last look and the sleep would be a wait of twenty seconds. */
    @Test
    void noWakeUpIsLostBesideAnotherDescriptor() throws Exception {
        int faults = 20_000;
        long seed = System.nanoTime();
        LinuxCalls linux = LinuxCalls.open();
        int[] other = new int[2];
        assertEquals(0, linux.socketpair(LinuxCalls.SOCK_SEQPACKET, other));
        assertEquals(0, epoll.add(set, other[0], EpollCalls.IN, 1));
        FaultConsumer consumer = queue.consumer();
        AtomicLong told = new AtomicLong();
        FaultProducer raising = queue.producer(8, (tag, code) -> told.incrementAndGet());
        Thread device = Thread.ofPlatform().start(() -> {
            SplittableRandom random = new SplittableRandom(seed);
            assertTrue(raising.enter());
            for (int i = 0; i < faults; i++) {
                while (raising.raise(i, 1, 1, i, 0, 1, true) == Result.FULL) {
                    raising.poll();
                    if (told.get() < i - 7) {
                        assertTrue(raising.await(20_000_000_000L), "seed " + seed);
                    }
                }
                raising.flush();
                for (int spins = random.nextInt(1 << random.nextInt(12)); spins > 0; spins--) {
                    Thread.onSpinWait();
                }
                raising.poll();
            }
            while (told.get() < faults) {
                if (raising.poll() == 0) {
                    assertTrue(raising.await(20_000_000_000L), "seed " + seed);
                }
            }
            raising.leave();
            LinuxCalls own = LinuxCalls.open();
            assertEquals(0, own.close(other[1]));
            own.close();
        });
        WakeDescriptor wake = inTheSet();
        assertEquals(Result.OK, consumer.post(0, 8));
        int sleeps = 0;
        CompletionHandler answer =
                (userData, group) -> assertEquals(Result.OK, consumer.answerAndRepost(group.cookie(), Answer.SUCCESS));
        for (boolean over = false; !over; ) {
            while (consumer.poll(answer, 64) > 0) {}
            if (wake.arm()) {
                sleeps++;
                int n = epoll.await(set, LONG_MS);
                assertTrue(n > 0, () -> "asleep, and nobody woke it; seed " + seed + ", told " + told);
                wake.clear();
                for (int i = 0; i < n; i++) {
                    over |= epoll.data(i) == 1;
                }
            }
        }
        device.join();
        assertEquals(faults, told.get());
        assertTrue(sleeps > 0);
        assertEquals(0, linux.close(other[0]));
        linux.close();
    }

    @Test
    void aWorkerSleepsOnItToo() {
        try (FaultWorker worker = queue.consumer().run(group -> Answer.SUCCESS)) {
            assertTrue(producer.enter());
            for (int i = 0; i < 200; i++) {
                assertEquals(Result.OK, producer.raise(i, 1, 1, i, 0, 1, true));
                while (answered <= i) {
                    if (producer.poll() == 0) {
                        assertTrue(producer.await(10_000_000_000L));
                    }
                }
                if (i % 4 == 0) {
                    LockSupport.parkNanos(1_000_000);
                }
            }
            producer.leave();
            assertTrue(worker.isRunning());
        }
    }

    @Test
    void theFileLikeDoorSleepsOnItToo() throws Exception {
        FaultFile file = queue.file();
        for (int i = 0; i < 50; i++) {
            int tag = i;
            Thread other = Thread.ofPlatform().start(() -> {
                LockSupport.parkNanos(2_000_000);
                raise(tag);
            });
            assertEquals(FaultFile.POLLIN, file.poll(FaultFile.POLLIN, 10_000_000_000L));
            other.join();
            MemorySegment record = MemorySegment.ofArray(new long[5]);
            assertEquals(40, file.read(record));
            assertEquals(8, file.write(MemorySegment.ofArray(new int[] {record.get(ValueLayout.JAVA_INT, 36), 0})));
        }
    }
}
