package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.PageResponseLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class FaultFileTest {
    private static final int READ = 1;
    private static final int SIZE = PageFaultLayout.SIZE;
    private static final int ANY = 0x7fff;
    private static final int READABLE = FaultFile.POLLIN | FaultFile.POLLRDNORM | FaultFile.POLLOUT;
    private static final long MS = 1_000_000L;
    private static final long SECOND = 1_000 * MS;

    private final List<FaultQueue> queues = new ArrayList<>();
    private final List<String> answers = new ArrayList<>();
    private final AnswerSink sink = (tag, code) -> answers.add(tag + " " + code);
    private final MemorySegment buffer = MemorySegment.ofArray(new long[8 * SIZE / Long.BYTES]);

    private FaultQueue open(QueueConfig config) {
        FaultQueue queue = FaultQueue.open(config);
        queues.add(queue);
        return queue;
    }

    @AfterEach
    void everyGroupIsAccountedForAndNoMemoryIsHeld() {
        for (FaultQueue queue : queues) {
            queue.close();
            Accounting a = queue.accounting();
            assertTrue(a.balanced(), a::toString);
            assertEquals(0, a.outstanding(), a::toString);
            assertEquals(0, queue.heldBytes());
        }
    }

    private FaultProducer entered(FaultQueue queue, int allocation) {
        FaultProducer producer = queue.producer(allocation, sink);
        assertTrue(producer.enter());
        return producer;
    }

    /** Raises a group of one. */
    private static void raise(FaultProducer producer, int tag) {
        assertEquals(Result.OK, producer.raise(tag, 7, 5, tag, (long) tag << 12, READ, true));
        producer.flush();
    }

    private static void raise(FaultProducer producer, int tag, int requests) {
        for (int i = 1; i <= requests; i++) {
            assertEquals(Result.OK, producer.raise(tag, 7, 5, tag, (long) i << 12, READ, i == requests));
        }
        producer.flush();
    }

    private long read(FaultFile file, int records) {
        return file.read(buffer.asSlice(0, (long) records * SIZE));
    }

    private int cookie(int record) {
        return buffer.get(ValueLayout.JAVA_INT, (long) record * SIZE + PageFaultLayout.COOKIE_OFFSET);
    }

    private int group(int record) {
        return buffer.get(ValueLayout.JAVA_INT, (long) record * SIZE + PageFaultLayout.GROUP_OFFSET);
    }

    private static long answer(FaultFile file, int cookie, int code) {
        return file.write(MemorySegment.ofArray(new int[] {cookie, code}));
    }

    private static long answer(FaultFile file, int cookie) {
        return answer(file, cookie, PageResponseLayout.CODE_SUCCESS);
    }

    private static void join(Thread thread) throws InterruptedException {
        assertTrue(thread.join(Duration.ofSeconds(20)), () -> thread + " does not end");
    }

    /** Waits until a thread sleeps, for a test that wants to wake it, or has ended. */
    private static void awaitSleep(Thread thread) {
        while (thread.getState() != Thread.State.TIMED_WAITING
                && thread.getState() != Thread.State.WAITING
                && thread.getState() != Thread.State.TERMINATED) {
            Thread.onSpinWait();
        }
    }

    // ---- reading and answering

    @Test
    void aGroupOfSeveralIsReadWholeUnderOneCookie() {
        FaultQueue queue = open(QueueConfig.of(4).withLargestGroup(4));
        FaultFile file = queue.file();
        FaultProducer producer = entered(queue, 4);
        assertEquals(Result.OK, producer.raise(1, 7, 5, 1, 0x1000, READ, false));
        producer.flush();
        assertEquals(FaultFile.POLLOUT, file.poll(ANY, 0), "a group that is not whole is not there");
        assertEquals(0, read(file, 4));
        assertEquals(Result.OK, producer.raise(1, 7, 5, 1, 0x2000, READ, false));
        assertEquals(Result.OK, producer.raise(1, 7, 5, 1, 0x3000, READ, true));
        raise(producer, 2);
        assertEquals(READABLE, file.poll(ANY, 0));

        assertEquals(3 * SIZE, read(file, 3));
        for (int i = 0; i < 3; i++) {
            assertEquals(1, cookie(i));
            assertEquals(1, group(i));
            assertEquals(
                    PageFaultLayout.FLAG_PASID_VALID | (i == 2 ? PageFaultLayout.FLAG_LAST_PAGE : 0),
                    buffer.get(ValueLayout.JAVA_INT, (long) i * SIZE));
            assertEquals(
                    (i + 1L) << 12,
                    buffer.get(ValueLayout.JAVA_LONG, (long) i * SIZE + PageFaultLayout.ADDRESS_OFFSET));
        }
        assertEquals(SIZE, read(file, 3));
        assertEquals(2, cookie(0));
        assertEquals(8, answer(file, 2, PageResponseLayout.CODE_INVALID));
        assertEquals(8, answer(file, 1));
        assertEquals(-Errno.EINVAL, answer(file, 1), "answered");
        assertEquals(2, producer.poll());
        assertEquals(List.of("2 INVALID", "1 SUCCESS"), answers);
        producer.leave();
    }

    @Test
    void aGroupThatDoesNotFitBlocksTheReadUntilALargerBufferComes() {
        FaultQueue queue = open(QueueConfig.of(4).withLargestGroup(4));
        FaultFile file = queue.file();
        FaultProducer producer = entered(queue, 4);
        raise(producer, 1);
        raise(producer, 2, 3);
        raise(producer, 3);
        assertEquals(SIZE, read(file, 3), "what comes after one group is swallowed");
        assertEquals(-Errno.EINVAL, read(file, 2));
        assertEquals(-Errno.EINVAL, read(file, 0));
        assertEquals(READABLE, file.poll(ANY, 0), "nothing is lost");
        assertEquals(4 * SIZE, read(file, 4));
        assertEquals(2, cookie(0), "a read that fails takes no cookie");
        assertEquals(3, cookie(3));
        assertEquals(0, read(file, 0));
        producer.leave();
    }

    @Test
    void aCopyThatFailsPartWayLeavesTheGroupAndItsCookie() {
        FaultQueue queue = open(QueueConfig.of(4).withLargestGroup(4));
        FaultFile file = queue.file();
        FaultProducer producer = entered(queue, 4);
        raise(producer, 1);
        raise(producer, 2, 2);
        UserMemory memory = new UserMemory();
        memory.map(0x1000, buffer.asSlice(0, SIZE), true);
        memory.map(0x1000 + SIZE, buffer.asSlice(SIZE, SIZE + 12), true);
        assertEquals(SIZE, file.read(memory, 0x1000, 3L * SIZE), "two mappings side by side are one memory");
        assertEquals(2, cookie(1), "scrap, as far as the memory goes");
        assertEquals(0, group(2));
        assertEquals(-Errno.EFAULT, file.read(memory, 0x1000 + SIZE, 2L * SIZE));
        assertEquals(8, answer(file, 1));
        assertEquals(2 * SIZE, read(file, 2));
        assertEquals(1, cookie(0), "the lowest that is free");
        assertEquals(8, answer(file, 1));
        assertEquals(2, producer.poll());
        producer.leave();
    }

    @Test
    void zeroIsACookieOnceItWasAnsweredWhileAnotherWaited() {
        FaultQueue queue = open(QueueConfig.of(8));
        FaultFile file = queue.file();
        FaultProducer producer = entered(queue, 8);
        for (int tag = 1; tag <= 6; tag++) {
            raise(producer, tag);
        }
        assertEquals(-Errno.EINVAL, answer(file, 0));
        assertEquals(SIZE, read(file, 1));
        assertEquals(1, cookie(0), "with none waiting nothing is forgotten");
        assertEquals(-Errno.EINVAL, answer(file, 0));
        assertEquals(2 * SIZE, read(file, 2));
        assertEquals(0, cookie(0));
        assertEquals(2, cookie(1));
        assertEquals(8, answer(file, 0));
        assertEquals(-Errno.EINVAL, answer(file, 0));
        assertEquals(8, answer(file, 1));
        assertEquals(8, answer(file, 2));
        assertEquals(3 * SIZE, read(file, 3));
        assertEquals(0, cookie(0), "for good");
        assertEquals(1, cookie(1));
        assertEquals(2, cookie(2));
        for (int cookie = 0; cookie < 3; cookie++) {
            assertEquals(8, answer(file, cookie));
        }
        assertEquals(6, producer.poll());
        producer.leave();
    }

    @Test
    void theRangeIsCheckedBeforeAllElse() {
        FaultFile file = open(QueueConfig.of(4)).file();
        UserMemory memory = new UserMemory();
        long end = 0x7fff_ffff_ffff_f000L;
        assertEquals(0, file.read(memory, end, 0));
        assertEquals(0, file.write(memory, end, 0));
        assertEquals(0, file.read(memory, end - SIZE, SIZE));
        assertEquals(-Errno.EFAULT, file.read(memory, end - SIZE + 1, SIZE));
        assertEquals(-Errno.EFAULT, file.read(memory, end + 1, 0));
        assertEquals(-Errno.EFAULT, file.read(memory, 0, -1));
        assertEquals(-Errno.EFAULT, file.write(memory, -8, 8));
        assertEquals(-Errno.EFAULT, file.write(memory, end, Long.MAX_VALUE));
        assertEquals(-Errno.ESPIPE, file.read(memory, 0, 0x7fff_f000L + 8));
        assertEquals(-Errno.EFAULT, file.write(memory, 0, 0x7fff_f000L + 1), "cut to a multiple of 8");
        assertEquals(-Errno.ESPIPE, file.pread(memory, 0, SIZE, 0));
        assertEquals(-Errno.ESPIPE, file.pwrite(memory, 0, 8, 8));
        assertEquals(0, file.read(MemorySegment.ofArray(new byte[0])));
        assertEquals(0, file.write(MemorySegment.ofArray(new byte[0])));
    }

    @Test
    void readsThatAreNotAnsweredDoNotStopTheNext() {
        FaultQueue queue = open(QueueConfig.of(2));
        FaultProducer producer = entered(queue, 8);
        FaultFile file = queue.file();
        producer.poll();
        int seen = 0;
        for (int tag = 1; tag <= 8; tag++) {
            raise(producer, tag);
        }
        for (int i = 0; i < 8; i++) {
            producer.poll();
            if (read(file, 1) > 0) {
                assertEquals(++seen, group(0));
                assertEquals(seen, cookie(0));
            }
        }
        assertEquals(8, seen);
        producer.leave();
    }

    @Test
    void aProducerThatComesLaterNeedsNoPollToBeHeard() {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultProducer first = queue.producer(4, sink);
        FaultFile file = queue.file();
        FaultProducer second = queue.producer(4, sink);
        assertTrue(first.enter());
        assertTrue(second.enter());
        raise(first, 1);
        raise(second, 2);
        assertEquals(2 * SIZE, read(file, 4));
        first.leave();
        second.leave();
    }

    // ---- groups that are answered automatically

    @Test
    void theDeadlineTakesGroupsOffTheListAndFreesTheirCookies() {
        FaultQueue queue = open(QueueConfig.of(4).withDeadlineNs(30 * MS));
        FaultFile file = queue.file();
        FaultProducer producer = entered(queue, 4);
        raise(producer, 1);
        raise(producer, 2);
        assertEquals(SIZE, read(file, 1));
        assertEquals(1, cookie(0));
        assertEquals(READABLE, file.poll(ANY, 0));
        long end = System.nanoTime() + 10 * SECOND;
        while (answers.size() < 2 && System.nanoTime() < end) {
            if (!producer.await(10 * MS)) {
                continue;
            }
            producer.poll();
        }
        assertEquals(List.of("1 INVALID", "2 INVALID"), answers);
        assertEquals(FaultFile.POLLOUT, file.poll(ANY, 0));
        assertEquals(0, read(file, 1));
        assertEquals(-Errno.EINVAL, answer(file, 1));
        raise(producer, 3);
        assertEquals(SIZE, read(file, 1));
        assertEquals(1, cookie(0), "free again");
        assertEquals(8, answer(file, 1));
        assertEquals(1, producer.poll());
        assertEquals(2, queue.accounting().autoBy().get(AutoAnswer.DEADLINE));
        producer.leave();
    }

    @Test
    void aDetachTakesTheGroupsOfItsProducerOnly() {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultFile file = queue.file();
        FaultProducer stays = entered(queue, 4);
        FaultProducer goes = entered(queue, 4);
        raise(goes, 1);
        assertEquals(SIZE, read(file, 1));
        raise(stays, 2);
        assertEquals(SIZE, read(file, 1));
        assertEquals(2, cookie(0));
        raise(goes, 3);
        raise(stays, 4);
        assertEquals(READABLE, file.poll(ANY, 0));
        raise(goes, 5);
        goes.close();
        assertEquals(-Errno.EINVAL, answer(file, 1));
        assertEquals(SIZE, read(file, 4));
        assertEquals(4, group(0));
        assertEquals(1, cookie(0));
        assertEquals(8, answer(file, 2));
        assertEquals(8, answer(file, 1));
        assertEquals(2, stays.poll());
        assertEquals(List.of("1 INVALID", "3 INVALID", "5 INVALID", "2 SUCCESS", "4 SUCCESS"), answers);
        stays.leave();
    }

    // ---- poll

    @ParameterizedTest
    @EnumSource(Waiting.class)
    void aFaultFromAnotherThreadWakesThePoll(Waiting waiting) throws InterruptedException {
        FaultQueue queue = open(QueueConfig.of(4).withWaiting(waiting));
        FaultFile file = queue.file();
        assertEquals(0, file.poll(FaultFile.POLLIN, 5 * MS));
        Thread device = Thread.ofPlatform().start(() -> {
            LockSupport.parkNanos(20 * MS);
            // The lane, too, comes while the poll sleeps.
            FaultProducer producer = entered(queue, 4);
            raise(producer, 1);
            producer.leave();
        });
        long start = System.nanoTime();
        assertEquals(FaultFile.POLLIN, file.poll(FaultFile.POLLIN, 20 * SECOND));
        assertTrue(System.nanoTime() - start < 10 * SECOND);
        assertEquals(SIZE, read(file, 1));
        join(device);
    }

    /** A poll on a thread of its own. */
    private static final class Poller {
        final AtomicReference<@Nullable Integer> revents = new AtomicReference<>();
        final Thread thread;

        Poller(FaultFile file, int events, long limitNs) {
            thread = Thread.ofPlatform().start(() -> revents.set(file.poll(events, limitNs)));
            awaitSleep(thread);
        }

        int result() throws InterruptedException {
            join(thread);
            Integer n = revents.get();
            return n == null ? Integer.MIN_VALUE : n;
        }
    }

    @Test
    void oneGroupWakesAllPollers() throws InterruptedException {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultFile file = queue.file();
        FaultProducer producer = entered(queue, 4);
        Poller first = new Poller(file, FaultFile.POLLIN, -1);
        Poller second = new Poller(file, FaultFile.POLLRDNORM, 20 * SECOND);
        Poller third = new Poller(file, FaultFile.POLLIN, 20 * SECOND);
        raise(producer, 1);
        assertEquals(FaultFile.POLLIN, first.result());
        assertEquals(FaultFile.POLLRDNORM, second.result());
        assertEquals(FaultFile.POLLIN, third.result());
        producer.leave();
    }

    @Test
    void whoeverPollsOnHearsOfItWhenTheFirstHasLeft() throws InterruptedException {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultFile file = queue.file();
        FaultProducer producer = entered(queue, 4);
        Poller first = new Poller(file, FaultFile.POLLIN, 50 * MS);
        Poller second = new Poller(file, FaultFile.POLLIN, 20 * SECOND);
        assertEquals(0, first.result());
        raise(producer, 1);
        assertEquals(FaultFile.POLLIN, second.result());
        producer.leave();
    }

    @Test
    void aPollerThatAsksForNothingKeepsNobodyAsleep() throws InterruptedException {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultFile file = queue.file();
        FaultProducer producer = entered(queue, 4);
        Poller first = new Poller(file, 0, -1);
        Poller second = new Poller(file, FaultFile.POLLIN, 20 * SECOND);
        raise(producer, 1);
        assertEquals(FaultFile.POLLIN, second.result());
        file.close();
        assertEquals(-Errno.EBADF, first.result());
        producer.leave();
    }

    @Test
    void anInterruptEndsThePollAndStays() throws InterruptedException {
        FaultFile file = open(QueueConfig.of(4)).file();
        Poller first = new Poller(file, FaultFile.POLLIN, -1);
        Poller second = new Poller(file, FaultFile.POLLIN, -1);
        first.thread.interrupt();
        assertEquals(-Errno.EINTR, first.result());
        second.thread.interrupt();
        assertEquals(-Errno.EINTR, second.result());
        Thread.currentThread().interrupt();
        assertEquals(FaultFile.POLLOUT, file.poll(ANY, SECOND), "it would not sleep");
        assertEquals(-Errno.EINTR, file.poll(FaultFile.POLLIN, SECOND));
        assertTrue(Thread.interrupted());
    }

    // ---- doors and closing

    @Test
    void aQueueHasOneDoorOnce() {
        FaultQueue file = open(QueueConfig.of(4));
        file.file().close();
        assertEquals(
                "door=file is taken: allowed is one door, once",
                assertThrows(IllegalStateException.class, file::file).getMessage());
        assertEquals(
                "door=file is taken: allowed is one door, once",
                assertThrows(IllegalStateException.class, file::consumer).getMessage());
        FaultQueue ring = open(QueueConfig.of(4));
        assertEquals(0, ring.consumer().submit());
        assertEquals(
                "door=consumer is taken: allowed is one door, once",
                assertThrows(IllegalStateException.class, ring::file).getMessage());
        ring.close();
        assertThrows(IllegalStateException.class, ring::file);
    }

    private void assertShut(FaultFile file) {
        assertEquals(-Errno.EBADF, read(file, 1));
        assertEquals(-Errno.EBADF, file.read(new UserMemory(), -1, -1));
        assertEquals(-Errno.EBADF, answer(file, 1));
        assertEquals(-Errno.EBADF, file.pread(new UserMemory(), 0, 0, 0));
        assertEquals(-Errno.EBADF, file.pwrite(new UserMemory(), 0, 0, 0));
        assertEquals(-Errno.EBADF, file.poll(ANY, SECOND));
        assertEquals("FaultFile[closed]", file.toString());
    }

    @Test
    void closingTheFileAnswersNobody() throws InterruptedException {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultFile file = queue.file();
        FaultProducer producer = entered(queue, 4);
        raise(producer, 1);
        assertEquals(SIZE, read(file, 1));
        raise(producer, 2);
        assertEquals(READABLE, file.poll(ANY, 0));
        assertEquals("FaultFile[1 to read, 1 read and not answered]", file.toString());
        file.close();
        file.close();
        assertShut(file);
        raise(producer, 3);
        assertEquals(0, producer.poll());
        assertEquals(3, queue.accounting().outstanding());
        assertEquals(2, producer.revoke(tag -> tag != 2, AutoAnswer.DETACH));
        queue.close();
        assertEquals(List.of("1 INVALID", "3 INVALID", "2 INVALID"), answers);
        assertEquals(1, queue.accounting().autoBy().get(AutoAnswer.CLOSE));
        producer.leave();
    }

    @Test
    void closingWakesThePollers() throws InterruptedException {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultFile file = queue.file();
        Poller first = new Poller(file, FaultFile.POLLIN, -1);
        Poller second = new Poller(file, FaultFile.POLLIN, 20 * SECOND);
        file.close();
        assertEquals(-Errno.EBADF, first.result());
        assertEquals(-Errno.EBADF, second.result());
    }

    @Test
    void closingTheQueueShutsTheFile() throws InterruptedException {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultFile file = queue.file();
        FaultProducer producer = entered(queue, 4);
        Poller first = new Poller(file, 0, -1);
        Poller second = new Poller(file, 0, -1);
        raise(producer, 1);
        raise(producer, 2);
        raise(producer, 3);
        assertEquals(2 * SIZE, read(file, 2));
        assertEquals(8, answer(file, 2));
        queue.close();
        assertEquals(-Errno.EBADF, first.result());
        assertEquals(-Errno.EBADF, second.result());
        assertShut(file);
        assertEquals(List.of("2 SUCCESS", "1 INVALID", "3 INVALID"), answers);
        producer.leave();
    }

    // ---- many threads

    @Test
    void manyThreadsReadAndAnswerEachGroupOnce() throws InterruptedException {
        int groups = 30_000;
        FaultQueue queue = open(QueueConfig.of(64).withLargestGroup(2));
        FaultFile file = queue.file();
        AtomicIntegerArray told = new AtomicIntegerArray(groups);
        AtomicInteger toldCount = new AtomicInteger();
        AtomicReference<@Nullable String> wrong = new AtomicReference<>();
        ConcurrentLinkedQueue<Integer> cookies = new ConcurrentLinkedQueue<>();
        List<Thread> threads = new ArrayList<>();
        for (int d = 0; d < 2; d++) {
            int device = d;
            FaultProducer producer = queue.producer(100, (tag, code) -> {
                told.incrementAndGet((int) tag);
                toldCount.incrementAndGet();
            });
            threads.add(Thread.ofPlatform().start(() -> {
                assertTrue(producer.enter());
                int tag = device;
                while (toldCount.get() < groups && wrong.get() == null) {
                    if (tag < groups && producer.raise(tag, device, 5, tag, 0, READ, true) == Result.OK) {
                        tag += 2;
                    } else {
                        producer.poll();
                        if (!producer.await(MS)) {
                            Thread.onSpinWait();
                        }
                    }
                }
                producer.leave();
            }));
        }
        for (int r = 0; r < 2; r++) {
            threads.add(Thread.ofPlatform().start(() -> {
                MemorySegment mine = MemorySegment.ofArray(new long[5 * SIZE / Long.BYTES]);
                while (toldCount.get() < groups && wrong.get() == null) {
                    long n = file.read(mine);
                    if (n < 0) {
                        wrong.set("read: " + n);
                    }
                    for (long at = PageFaultLayout.COOKIE_OFFSET; at < n; at += SIZE) {
                        cookies.add(mine.get(ValueLayout.JAVA_INT, at));
                    }
                    if (n == 0) {
                        int revents = file.poll(FaultFile.POLLIN, MS);
                        if (revents < 0) {
                            wrong.set("poll: " + revents);
                        }
                    }
                }
            }));
        }
        for (int w = 0; w < 2; w++) {
            threads.add(Thread.ofPlatform().start(() -> {
                while (toldCount.get() < groups && wrong.get() == null) {
                    Integer cookie = cookies.poll();
                    if (cookie == null) {
                        Thread.yield();
                    } else {
                        long n = answer(file, cookie);
                        if (n != 8) {
                            wrong.set("write of " + cookie + ": " + n);
                        }
                    }
                }
            }));
        }
        for (Thread thread : threads) {
            assertTrue(thread.join(Duration.ofSeconds(90)));
        }
        assertNull(wrong.get());
        for (int tag = 0; tag < groups; tag++) {
            assertEquals(1, told.get(tag));
        }
        assertEquals(groups, queue.accounting().answered());
        assertEquals(0, queue.accounting().stale());
    }

    @Test
    void ofTwoAnswersToOneCookieOneIsTaken() throws Exception {
        int rounds = 500;
        FaultQueue queue = open(QueueConfig.of(4));
        FaultFile file = queue.file();
        FaultProducer producer = entered(queue, 4);
        CyclicBarrier barrier = new CyclicBarrier(2);
        AtomicInteger taken = new AtomicInteger();
        AtomicInteger refused = new AtomicInteger();
        Thread rival = Thread.ofPlatform().start(() -> {
            for (int i = 0; i < rounds; i++) {
                meet(barrier);
                (answer(file, 1) == 8 ? taken : refused).incrementAndGet();
                meet(barrier);
            }
        });
        for (int i = 0; i < rounds; i++) {
            raise(producer, i);
            assertEquals(SIZE, read(file, 1));
            assertEquals(1, cookie(0));
            meet(barrier);
            (answer(file, 1) == 8 ? taken : refused).incrementAndGet();
            meet(barrier);
            assertEquals(1, producer.poll());
        }
        join(rival);
        assertEquals(rounds, taken.get());
        assertEquals(rounds, refused.get());
        assertEquals(rounds, answers.size());
        producer.leave();
    }

    private static void meet(CyclicBarrier barrier) {
        try {
            barrier.await();
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    // ---- the caller's memory

    @Test
    void whatCannotBeMappedIsRefusedByName() {
        UserMemory memory = new UserMemory();
        MemorySegment page = MemorySegment.ofArray(new byte[4096]);
        memory.map(0x2000, page, true);
        memory.map(0x1000, page, false);
        memory.map(0x7fff_ffff_e000L, page, true);
        assertEquals(
                "UserMemory[0x1000 to 0x1fff, 0x2000 to 0x2fff, 0x7fffffffe000 to 0x7fffffffefff]", memory.toString());
        assertRefused(
                memory,
                0x2fff,
                page,
                "address=0x2fff to 0x3ffe: allowed is what does not overlap 0x2000 to 0x2fff, which is mapped");
        assertRefused(
                memory,
                0x1,
                page,
                "address=0x1 to 0x1000: allowed is what does not overlap 0x1000 to 0x1fff, which is mapped");
        assertRefused(
                memory, 0x7fff_ffff_e001L, page, "address=0x7fffffffe001: allowed 0 to 0x7fffffffe000 for 4096 bytes");
        assertRefused(memory, -4096, page, "address=0xfffffffffffff000: allowed 0 to 0x7fffffffe000 for 4096 bytes");
        assertRefused(memory, 0x9000, page.asSlice(0, 0), "segment=0 bytes: allowed 1 or more");
        assertRefused(memory, 0x9000, page.asReadOnly(), "writable=true: allowed false for a read-only segment");
        memory.map(0x9000, page.asReadOnly(), false);
    }

    private static void assertRefused(UserMemory memory, long address, MemorySegment segment, String message) {
        assertEquals(
                message,
                assertThrows(IllegalArgumentException.class, () -> memory.map(address, segment, true))
                        .getMessage());
    }

    @Test
    void memoryThatIsGoneIsAsGoodAsUnmapped() {
        FaultQueue queue = open(QueueConfig.of(4));
        FaultFile file = queue.file();
        FaultProducer producer = entered(queue, 4);
        raise(producer, 1);
        UserMemory memory = new UserMemory();
        try (Arena arena = Arena.ofShared()) {
            memory.map(0x1000, arena.allocate(SIZE), true);
        }
        assertEquals(-Errno.EFAULT, file.read(memory, 0x1000, SIZE));
        assertEquals(-Errno.EFAULT, file.write(memory, 0x1000, 8));
        assertEquals(-Errno.EFAULT, file.read(buffer.asSlice(0, SIZE).asReadOnly()));
        assertEquals(SIZE, read(file, 1));
        assertEquals(1, cookie(0));
        producer.leave();
    }
}
