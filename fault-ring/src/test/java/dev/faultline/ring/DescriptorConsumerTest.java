package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ring.contract.ConsumerContract.Seen;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What a consumer over a socket does, whichever way its descriptor is driven. */
abstract class DescriptorConsumerTest {
    static final long SECOND = 1_000_000_000L;

    final List<DescriptorConsumer> consumers = new ArrayList<>();
    final Seen seen = new Seen();
    private Held before;
    SocketPeer peer;

    /** Opens a consumer that drives its descriptor in the way under test. */
    abstract DescriptorConsumer over(int fd, int entries, int largestGroup);

    @BeforeEach
    void pair() {
        before = Held.now();
        peer = new SocketPeer();
    }

    @AfterEach
    void nothingIsLeft() {
        for (DescriptorConsumer consumer : consumers) {
            consumer.close();
            Accounting a = consumer.accounting();
            assertTrue(a.balanced(), a::toString);
        }
        peer.close();
        assertEquals(before, Held.now());
    }

    final DescriptorConsumer open(int entries, int largestGroup) {
        DescriptorConsumer consumer = over(peer.descriptor(), entries, largestGroup);
        consumers.add(consumer);
        return consumer;
    }

    static void ok(Result result) {
        assertEquals(Result.OK, result);
    }

    static String message(org.junit.jupiter.api.function.Executable call) {
        return String.valueOf(assertThrows(RuntimeException.class, call).getMessage());
    }

    @Test
    void theFieldsOfARecordArrive() {
        DescriptorConsumer consumer = open(4, 2);
        ok(consumer.post(9, 1));
        int cookie = peer.group(44, 2);
        peer.send();
        long before = System.nanoTime();
        assertEquals(
                1,
                consumer.poll(
                        (userData, group) -> {
                            assertEquals(9, userData);
                            assertEquals(2, group.size());
                            assertEquals(cookie, group.cookie());
                            assertEquals(7, group.device());
                            assertEquals(44, group.groupIndex());
                            assertTrue(group.hasPasid(1));
                            assertEquals(5, group.pasid(1));
                            assertEquals((44L << 12) + 1, group.address(1));
                            assertEquals(PageFaultLayout.PERM_READ, group.access(1));
                            assertEquals(4096, group.length(0));
                            assertTrue(group.raisedAtNs() - before >= 0);
                        },
                        10));
        Accounting a = consumer.accounting();
        assertEquals(2, a.requests());
        assertEquals(1, a.raised());
        assertEquals(1, a.outstanding());
        assertEquals(Set.of(), consumer.guarantees());
    }

    @Test
    void groupsOfOneMessageWaitForReads() {
        DescriptorConsumer consumer = open(4, 3);
        for (int i = 1; i <= 4; i++) {
            peer.group(i, 1 + i % 3);
        }
        peer.send();
        peer.raise(5, 1);
        assertEquals(0, consumer.poll(seen, 10));
        assertEquals(0, consumer.accounting().raised(), "without a read nothing is taken");
        ok(consumer.post(1, 1));
        assertEquals(1, consumer.poll(seen, 10));
        assertEquals(4, consumer.accounting().raised());
        assertEquals(4, consumer.accounting().outstanding(), "three are held");
        assertEquals(0, consumer.poll(seen, 10));
        ok(consumer.post(2, 2));
        assertEquals(2, consumer.poll(seen, 10));
        ok(consumer.post(3, 4));
        assertEquals(Result.OK, consumer.await(seen, 2, SECOND));
        assertEquals(List.of("1:1,1", "2:2,2,2", "2:3", "3:4,4", "3:5"), seen.texts);
        for (int cookie : seen.cookies) {
            ok(consumer.answer(cookie, Answer.SUCCESS));
        }
        assertEquals(5, consumer.submit());
        assertEquals(0, consumer.submit());
        assertEquals(5, peer.takeAnswers());
        assertEquals(List.of(5), peer.sizes, "one write for all");
        assertEquals(0, consumer.accounting().outstanding());
    }

    @Test
    void answersLeaveWithThePollThatHandedTheirGroups() {
        DescriptorConsumer consumer = open(64, 1);
        ok(consumer.post(0, 64));
        for (int i = 0; i < 64; i++) {
            peer.group(i, 1);
        }
        peer.send();
        assertEquals(
                64, consumer.poll((u, group) -> ok(consumer.answerAndRepost(group.cookie(), Answer.SUCCESS)), 100));
        assertEquals(64, peer.takeAnswers());
        assertEquals(List.of(64), peer.sizes);
        assertEquals(Result.FULL, consumer.post(0, 1), "all reads are posted again");
    }

    @Test
    void aReadIsPostedAgainOnceForAGroup() {
        DescriptorConsumer consumer = open(8, 1);
        ok(consumer.post(1, 1));
        peer.group(1, 1);
        peer.group(2, 1);
        peer.group(3, 1);
        peer.send();
        assertEquals(1, consumer.poll(seen, 10));
        int cookie = seen.cookies.get(0);
        ok(consumer.answerAndRepost(cookie, Answer.LATER));
        ok(consumer.answerAndRepost(cookie, Answer.LATER));
        ok(consumer.answerAndRepost(cookie, Answer.SUCCESS));
        assertEquals(1, consumer.poll(seen, 10));
        assertEquals(0, consumer.poll(seen, 10));
        int second = seen.cookies.get(1);
        ok(consumer.answerLater(second, Answer.SUCCESS));
        assertEquals(
                Result.STALE, consumer.answerAndRepost(second, Answer.LATER), "answered before the handler said LATER");
        assertEquals(1, consumer.poll(seen, 10), "and its read is there");
        assertEquals(List.of("1:1", "1:2", "1:3"), seen.texts);
        assertEquals(2, peer.takeAnswers());
    }

    @Test
    void anAnswerFromAnotherThreadWakesTheWaiterThatSendsIt() throws Exception {
        DescriptorConsumer consumer = open(4, 1);
        ok(consumer.post(0, 4));
        for (int i = 1; i <= 20; i++) {
            peer.raise(i, 1);
            assertEquals(1, consumer.poll(seen, 10));
            int cookie = seen.cookies.getLast();
            ok(consumer.answerAndRepost(cookie, Answer.LATER));
            Thread other = Thread.ofPlatform().start(() -> {
                LockSupport.parkNanos(3_000_000);
                ok(consumer.answerLater(cookie, Answer.SUCCESS));
                assertTrue(peer.takeAnswers(5_000) == 1, "sent by the thread that waits");
                consumer.wake();
            });
            assertEquals(Result.WOKEN, consumer.await(seen, 1, 10 * SECOND));
            other.join();
            assertEquals(i, peer.answered);
        }
    }

    @Test
    void aPeerThatDoesNotReadKeepsNobodyWaiting() {
        DescriptorConsumer consumer = open(2_000, 1);
        ok(consumer.post(0, 2_000));
        for (int sent = 0; sent < 2_000; ) {
            for (int i = 0; i < 50; i++) {
                peer.group(sent++, 1);
            }
            peer.send();
            ok(consumer.await(seen, 50, SECOND));
        }
        int taken = 0;
        for (int cookie : seen.cookies) {
            ok(consumer.answer(cookie, Answer.SUCCESS));
            taken += consumer.submit();
        }
        assertTrue(taken > 0 && taken < 2_000, "taken " + taken);
        assertEquals(2_000 - taken, consumer.accounting().outstanding());
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 2_000_000));
        assertEquals(taken, peer.takeAnswers());
        long end = System.nanoTime() + 10 * SECOND;
        while (peer.answered < 2_000) {
            assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 1_000_000));
            peer.takeAnswers();
            assertTrue(System.nanoTime() < end);
        }
        assertEquals(0, consumer.accounting().outstanding());
    }

    @Test
    void closingSendsWhatIsStagedAndLeavesTheDescriptorOpen() {
        DescriptorConsumer consumer = open(4, 1);
        ok(consumer.post(0, 2));
        peer.raise(1, 1);
        assertEquals(1, consumer.poll(seen, 10));
        ok(consumer.answer(seen.cookies.get(0), Answer.SUCCESS));
        consumer.close();
        assertEquals(1, peer.takeAnswers());
        peer.raise(2, 1);
        DescriptorConsumer next = open(4, 1);
        ok(next.post(0, 1));
        assertEquals(1, next.poll((u, group) -> next.close(), 10));
        assertEquals(Result.CLOSED, next.post(0, 1));
        assertEquals(1, next.accounting().outstanding(), "nobody answered it");
    }

    @Test
    void aThreadThatIsNoMoreCanBeClosedFor() throws Exception {
        DescriptorConsumer consumer = open(4, 1);
        Thread thread = Thread.ofPlatform().start(() -> ok(consumer.post(0, 1)));
        thread.join();
        consumer.close();
    }

    // ---- the other end goes
    // ----------------------------------------------------------------------------------------

    @Test
    void whatWasSentBeforeTheEndIsHandedOverFirst() {
        DescriptorConsumer consumer = open(8, 1);
        ok(consumer.post(1, 3));
        ok(consumer.post(2, 2));
        peer.raise(1, 1);
        assertEquals(1, consumer.poll(seen, 10));
        peer.raise(2, 1);
        peer.raise(3, 1);
        peer.hangUp();
        ok(consumer.answer(seen.cookies.get(0), Answer.SUCCESS));
        Result result = Result.OK;
        for (int i = 0; i < 10 && result == Result.OK; i++) {
            result = consumer.await(seen, 1, SECOND);
        }
        assertEquals(Result.CLOSED, result);
        assertEquals(List.of("1:1", "1:2", "1:3", "2:CLOSED 2"), seen.texts);
        Accounting a = consumer.accounting();
        assertEquals(Map.of(AutoAnswer.CLOSE, 3L), a.autoBy(), "no answer can have arrived");
        assertEquals(0, a.outstanding());
    }

    @Test
    void aPeerThatGoesWithAnswersUnreadResetsTheConnection() {
        DescriptorConsumer consumer = open(8, 1);
        ok(consumer.post(0, 8));
        peer.raise(1, 1);
        assertEquals(1, consumer.poll(seen, 10));
        ok(consumer.answer(seen.cookies.get(0), Answer.SUCCESS));
        assertEquals(1, consumer.submit());
        peer.raise(2, 1);
        peer.hangUp();
        Result result = Result.OK;
        for (int i = 0; i < 10 && result == Result.OK; i++) {
            result = consumer.await(seen, 1, SECOND);
        }
        assertEquals(Result.CLOSED, result);
        assertEquals(List.of("0:1", "0:2", "0:CLOSED 6"), seen.texts);
        assertEquals(1, consumer.accounting().answered());
    }

    @Test
    void theEndIsNoticedWithoutReadsAndKeepsNobodyAwake() {
        DescriptorConsumer consumer = open(8, 1);
        ok(consumer.post(0, 1));
        peer.group(1, 1);
        peer.group(2, 1);
        peer.send();
        assertEquals(1, consumer.poll(seen, 10));
        peer.hangUp();
        assertEquals(Result.TIMED_OUT, consumer.await(seen, 1, 20_000_000), "a group is held that has no read");
        ok(consumer.post(0, 1));
        ok(consumer.await(seen, 1, SECOND));
        assertEquals(Result.CLOSED, consumer.await(seen, 1, 10 * SECOND));
        assertEquals(List.of("0:1", "0:2"), seen.texts);
    }

    @Test
    void aWorkerEndsWithItsPeer() throws Exception {
        DescriptorConsumer consumer = open(8, 1);
        CountDownLatch inside = new CountDownLatch(1);
        CountDownLatch release = new CountDownLatch(1);
        AtomicInteger handled = new AtomicInteger();
        FaultWorker worker = consumer.run(group -> {
            inside.countDown();
            try {
                release.await();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            handled.incrementAndGet();
            return Answer.SUCCESS;
        });
        for (int i = 0; i < 20; i++) {
            peer.raise(i, 1);
        }
        inside.await();
        peer.hangUp();
        release.countDown();
        worker.thread().join(5_000);
        assertFalse(worker.isRunning());
        assertEquals(20, handled.get());
        assertEquals(Map.of(AutoAnswer.CLOSE, 20L), consumer.accounting().autoBy());
    }

    // ---- broken messages
    // ------------------------------------------------------------------------------------------

    @Test
    void aBrokenMessageIsNamedAndNothingOfItHandedOver() {
        DescriptorConsumer consumer = open(128, 3);
        ok(consumer.post(0, 128));
        String on = "broken message on fd=" + peer.descriptor() + ": ";
        peer.group(1, 1);
        peer.send(44);
        assertEquals(on + "bytes=44: allowed a multiple of 40 up to 7680", message(() -> consumer.poll(seen, 10)));
        peer.group(1, 1);
        peer.record(2, 99, 0, false);
        peer.send();
        assertEquals(
                on + "record 1: flags=1: allowed FLAG_LAST_PAGE in the last record of a message",
                message(() -> consumer.poll(seen, 10)));
        peer.record(2, 99, 0, false);
        peer.record(2, 98, 0, true);
        peer.send();
        assertEquals(
                on + "record 1: cookie=0x62: allowed 0x63, the group's, until a record has FLAG_LAST_PAGE",
                message(() -> consumer.poll(seen, 10)));
        peer.group(1, 4);
        peer.send();
        assertEquals(on + "record 3: group size=4: allowed 1 to 3", message(() -> consumer.poll(seen, 10)));
        peer.record(2, 0, 0, true);
        peer.send();
        assertEquals(on + "record 0: cookie=0: allowed 1 or more", message(() -> consumer.poll(seen, 10)));
        peer.record(2, 77, 0, true);
        peer.record(2, 78, 0, true);
        peer.record(2, 77, 0, true);
        peer.send();
        assertEquals(
                on + "cookie=0x4d of two groups: allowed one group for a cookie",
                message(() -> consumer.poll(seen, 10)));
        for (int i = 0; i < 200; i++) {
            peer.record(2, 1_000 + i, 0, true);
        }
        peer.send();
        assertEquals(on + "bytes=7720: allowed a multiple of 40 up to 7680", message(() -> consumer.poll(seen, 10)));
        assertEquals(List.of(), seen.texts);
        assertEquals(0, consumer.accounting().raised());
        assertEquals(0, consumer.accounting().outstanding());
        for (int i = 0; i < DescriptorConsumer.largestMessage(3) / 3; i++) {
            peer.group(i, 3);
        }
        peer.send();
        assertEquals(64, consumer.poll(seen, 100), "the largest message is good, and so is what follows a broken one");
    }

    @Test
    void aBrokenMessageStopsTheWorkerAndLeavesNothingBehind() throws Exception {
        DescriptorConsumer consumer = open(4, 1);
        FaultWorker worker = consumer.run(group -> Answer.SUCCESS);
        List<Throwable> thrown = new ArrayList<>();
        worker.thread().setUncaughtExceptionHandler((t, e) -> thrown.add(e));
        peer.group(1, 1);
        peer.send(8);
        worker.thread().join(5_000);
        assertFalse(worker.isRunning());
        assertEquals(1, thrown.size());
        assertTrue(String.valueOf(thrown.get(0).getMessage()).contains("bytes=8"));
    }

    @Test
    void misuseIsNamed() throws Exception {
        assertEquals("entries=0: allowed 1 to 1048576", message(() -> open(0, 1)));
        assertEquals("largestGroup=2049: allowed 1 to 2048", message(() -> open(1, 2049)));
        assertEquals("fd=-1: EBADF, allowed an open descriptor", message(() -> over(-1, 1, 1)));
        int[] stream = new int[2];
        assertEquals(0, peer.calls.socketpair(LinuxCalls.SOCK_STREAM, stream));
        assertTrue(message(() -> over(stream[0], 1, 1)).contains("keeps the bounds of messages"));
        assertEquals(0, peer.calls.close(stream[0]));
        assertEquals(0, peer.calls.close(stream[1]));
        DescriptorConsumer consumer = open(4, 1);
        assertEquals("reads=5: allowed 1 to 4", message(() -> consumer.post(0, 5)));
        for (int i = 0; i < 16; i++) {
            ok(consumer.cancelAll());
        }
        assertEquals(Result.FULL, consumer.cancelAll());
        ok(consumer.await(seen, 16, SECOND));
    }

    // ---- at speed
    // -----------------------------------------------------------------------------------------------------

    @Test
    void aMillionFaultsGoThroughAWorker() throws Exception {
        int faults = 1_000_000;
        int window = 256;
        DescriptorConsumer consumer = open(window, 1);
        peer.keepsAnswers = false;
        FaultWorker worker = consumer.run(group -> Answer.SUCCESS);
        long start = System.nanoTime();
        int raised = 0;
        int asked = 0;
        while (peer.answered < faults) {
            int room = Math.min(Math.min(64, faults - raised), window - (raised - peer.answered));
            for (int i = 0; i < room; i++) {
                peer.group(raised++, 1);
            }
            peer.send();
            peer.takeAnswers(raised - peer.answered == window || raised == faults ? 1_000 : 0);
            if (raised >> 12 > asked) {
                asked = raised >> 12;
                Accounting a = consumer.accounting();
                assertTrue(a.balanced(), a::toString);
            }
            assertTrue(System.nanoTime() - start < 60 * SECOND, () -> "answered " + peer.answered);
        }
        worker.close();
        Accounting a = consumer.accounting();
        assertEquals(faults, a.answered());
        assertEquals(0, a.outstanding());
        assertEquals(faults, a.raised());
    }

    @Test
    void nothingIsAllocatedForAFault() {
        DescriptorConsumer consumer = open(64, 1);
        ok(consumer.post(0, 64));
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        CompletionHandler answer = (userData, group) -> ok(consumer.answerAndRepost(group.cookie(), Answer.SUCCESS));
        peer.keepsAnswers = false;
        long least = Long.MAX_VALUE;
        for (int round = 0; round < 300 && least > 0; round++) {
            long consumers = 0;
            for (int i = 0; i < 200; i++) {
                for (int g = 0; g < 32; g++) {
                    peer.group(g, 1);
                }
                peer.send();
                long before = threads.getCurrentThreadAllocatedBytes();
                int n = consumer.poll(answer, 100);
                consumers += threads.getCurrentThreadAllocatedBytes() - before;
                assertEquals(32, n);
                assertEquals(32, peer.takeAnswers());
            }
            least = Math.min(least, consumers);
        }
        // A system call costs the JVM 40 bytes until it is compiled in full, which may be later than this test waits.
        assertTrue(least <= 200 * 40, "bytes for 6400 faults in 200 messages: " + least);
    }
}
