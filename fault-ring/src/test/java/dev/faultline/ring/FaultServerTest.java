package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A queue behind one end of a socket; its consumer, or somebody who is none, at the other. */
@SuppressWarnings("NullAway.Init") // by serve, which each test calls
class FaultServerTest {
    static final QueueConfig CONFIG =
            QueueConfig.of(64).withLargestGroup(4).withLanes(4).withWaiting(Waiting.EVENTFD);
    private static final long SECOND = 1_000_000_000L;
    private static final int ROOM = 1 << 17;

    private final Held before = Held.now();
    private final LinuxCalls linux = LinuxCalls.open();
    private final Region region = Region.allocate(ROOM);
    private final MemorySegment bytes = region.segment();
    private final int[] ends = new int[2];
    private boolean peerIsOpen = true;
    private FaultQueue queue;
    private FaultServer server;
    private FaultProducer producer;
    private final List<String> answers = new ArrayList<>();
    private boolean keepsAnswers = true;
    private int told;

    @BeforeEach
    void pair() {
        assertEquals(0, linux.socketpair(LinuxCalls.SOCK_SEQPACKET, ends));
    }

    private void serve(QueueConfig config, int allocation) {
        queue = FaultQueue.open(config);
        producer = queue.producer(allocation, (tag, code) -> {
            told++;
            if (keepsAnswers) {
                answers.add(tag + " " + code);
            }
        });
        assertTrue(producer.enter());
        server = FaultServer.start(queue, ends[0]);
    }

    @AfterEach
    void nothingIsLeft() {
        producer.leave();
        server.close();
        assertEquals(FaultServer.State.CLOSED, server.state());
        queue.close();
        Accounting a = queue.accounting();
        assertTrue(a.balanced(), a::toString);
        assertEquals(0, a.outstanding());
        assertEquals(0, queue.heldBytes());
        hangUp();
        region.close();
        linux.close();
        assertEquals(before, Held.now());
    }

    private void hangUp() {
        if (peerIsOpen) {
            peerIsOpen = false;
            assertEquals(0, linux.close(ends[1]));
        }
    }

    private void raise(int tag, int size) {
        for (int i = 1; i <= size; i++) {
            assertEquals(Result.OK, producer.raise(tag, 7, 5, tag, ((long) tag << 12) + i - 1, 1, i == size));
        }
    }

    /** Polls until something has come true. */
    private void until(String what, BooleanSupplier condition) {
        long end = System.nanoTime() + 20 * SECOND;
        while (!condition.getAsBoolean()) {
            producer.poll();
            Thread.onSpinWait();
            assertTrue(System.nanoTime() < end, () -> what + ": " + server + ", " + queue.dump());
        }
    }

    // ---- with a raw peer ----

    /** Reads a message; returns the cookies of its groups. */
    private List<Integer> message() {
        List<Integer> cookies = new ArrayList<>();
        until("a message", () -> (linux.poll(ends[1], LinuxCalls.POLLIN, 0) & LinuxCalls.POLLIN) != 0);
        long n = linux.read(ends[1], bytes, ROOM);
        assertTrue(n > 0 && n % PageFaultLayout.SIZE == 0, () -> "bytes " + n);
        for (long at = 0; at < n; at += PageFaultLayout.SIZE) {
            if ((SharedWords.getInt(bytes, at + PageFaultLayout.FLAGS_OFFSET) & PageFaultLayout.FLAG_LAST_PAGE) != 0) {
                cookies.add(SharedWords.getInt(bytes, at + PageFaultLayout.COOKIE_OFFSET));
            }
        }
        return cookies;
    }

    private List<Integer> groups(int n) {
        List<Integer> cookies = new ArrayList<>();
        while (cookies.size() < n) {
            cookies.addAll(message());
        }
        assertEquals(n, cookies.size());
        return cookies;
    }

    private void send(int... words) {
        for (int i = 0; i < words.length; i++) {
            SharedWords.putInt(bytes, i * 4L, words[i]);
        }
        assertEquals(words.length * 4L, linux.write(ends[1], bytes, words.length * 4L));
    }

    @Test
    void groupsGoWholeAndAnswersComeBack() {
        serve(CONFIG, 16);
        raise(3, 4);
        raise(4, 1);
        producer.flush();
        List<Integer> cookies = groups(2);
        assertEquals(7, SharedWords.getInt(bytes, PageFaultLayout.DEVICE_OFFSET));
        send(cookies.get(1), 0, cookies.get(0), 1);
        until("two answers", () -> told == 2);
        assertEquals(List.of("4 SUCCESS", "3 INVALID"), answers);
        FaultServer.Counts counts = server.counts();
        assertEquals(2, counts.groups());
        assertEquals(2, counts.answers());
        assertEquals(0, counts.stale() + counts.badCodes() + counts.brokenMessages() + counts.answeredForPeer());
        assertEquals(FaultServer.State.SERVING, server.state());
    }

    @Test
    void whatThePeerMayNotSendIsCountedAndChangesNothing() {
        serve(CONFIG, 16);
        raise(1, 1);
        producer.flush();
        int cookie = groups(1).get(0);
        send(cookie, 2, cookie, -1, cookie, 5);
        send(0, 0, cookie + 1, 0, -1, 1, cookie ^ 1 << 30, 0);
        send(cookie);
        send(cookie, 0, cookie);
        assertEquals(0, linux.write(ends[1], bytes, 0));
        bytes.fill((byte) 0);
        assertEquals(8 * 513, linux.write(ends[1], bytes, 8 * 513));
        assertEquals(8 * 4_096, linux.write(ends[1], bytes, 8 * 4_096));
        until("all of it", () -> server.counts().brokenMessages() == 5);
        assertEquals(3, server.counts().badCodes());
        assertEquals(4, server.counts().stale());
        assertEquals(0, server.counts().answers());
        assertEquals(0, told);
        send(cookie, 0, cookie, 1, cookie, 0);
        until("the answer", () -> told == 1);
        until("the repeated ones", () -> server.counts().stale() == 6);
        assertEquals(List.of("1 SUCCESS"), answers);
        assertEquals(1, queue.accounting().answered());
    }

    @Test
    void aPeerThatSendsAnythingAtAllBreaksNothing() {
        long seed = System.nanoTime();
        SplittableRandom random = new SplittableRandom(seed);
        serve(CONFIG.withDeadlineNs(50_000_000), 64);
        int raised = 0;
        for (int round = 0; round < 2_000; round++) {
            if (producer.raise(raised, 7, 5, raised, 0, 1, true) == Result.OK) {
                raised++;
            }
            producer.poll();
            int length = random.nextInt(64);
            for (int i = 0; i < length; i++) {
                SharedWords.putInt(bytes, i * 4L, random.nextInt(1 << random.nextInt(31)));
            }
            if ((linux.poll(ends[1], LinuxCalls.POLLOUT, 0) & LinuxCalls.POLLOUT) != 0) {
                long sent = random.nextInt(length * 4 + 1);
                assertEquals(sent, linux.write(ends[1], bytes, sent));
            }
            if (random.nextInt(4) == 0 && (linux.poll(ends[1], LinuxCalls.POLLIN, 0) & LinuxCalls.POLLIN) != 0) {
                message();
            }
        }
        int all = raised;
        until("every group answered, seed " + seed, () -> told == all);
        assertEquals(FaultServer.State.SERVING, server.state(), "seed " + seed);
    }

    @Test
    void aPeerThatGoesInMidFaultLeavesNothingOpen() {
        serve(CONFIG.withDeadlineNs(0), 16);
        for (int i = 0; i < 10; i++) {
            raise(i, 1);
        }
        producer.flush();
        List<Integer> cookies = groups(10);
        send(cookies.get(0), 0, cookies.get(1), 1);
        hangUp();
        until("all of them", () -> told == 10);
        assertEquals("0 SUCCESS", answers.get(0), "what was sent before counts");
        until("the end", () -> server.state() == FaultServer.State.PEER_GONE);
        assertEquals(8, server.counts().answeredForPeer());
        assertEquals(Map.of(AutoAnswer.HANDLER, 8L), queue.accounting().autoBy());
        raise(11, 1);
        producer.flush();
        until("what is raised later", () -> told == 11);
        assertEquals("11 INVALID", answers.get(10));
        assertEquals(null, server.failure());
    }

    @Test
    void aPeerThatGoesWithGroupsUnreadLeavesNothingOpen() {
        serve(CONFIG.withDeadlineNs(0), 16);
        for (int i = 0; i < 10; i++) {
            raise(i, 1);
        }
        producer.flush();
        until("sent", () -> server.counts().groups() == 10);
        send(-1, 0);
        hangUp();
        until("all of them", () -> told == 10);
        assertEquals(Map.of(AutoAnswer.HANDLER, 10L), queue.accounting().autoBy());
        until("the end", () -> server.state() == FaultServer.State.PEER_GONE);
    }

    /** {@code shutdown(2)} with {@code SHUT_RD}, which nothing but this test needs. */
    @SuppressWarnings("restricted")
    private static int shutDownReading(int fd) {
        Linker linker = Linker.nativeLinker();
        MethodHandle shutdown = linker.downcallHandle(
                linker.defaultLookup().find("shutdown").orElseThrow(),
                FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));
        try {
            return (int) shutdown.invokeExact(fd, 0);
        } catch (Throwable t) {
            throw new AssertionError(t);
        }
    }

    @Test
    void aPeerThatReadsNoMoreIsAsGoodAsGone() {
        serve(CONFIG.withDeadlineNs(0), 16);
        raise(1, 1);
        producer.flush();
        send(groups(1).get(0), 0);
        until("the answer", () -> told == 1);
        assertEquals(0, shutDownReading(ends[1]));
        raise(2, 1);
        producer.flush();
        until("the next one", () -> told == 2);
        assertEquals(List.of("1 SUCCESS", "2 INVALID"), answers);
        until("the end", () -> server.state() == FaultServer.State.PEER_GONE);
    }

    @Test
    void aSlowPeerLosesNothingAndHoldsNobodyUp() {
        serve(CONFIG.withDeadlineNs(0), 4_096);
        int raised = 0;
        long longest = 0;
        for (Result result = Result.OK; result == Result.OK; ) {
            long start = System.nanoTime();
            result = producer.raise(raised, 7, 5, raised, 0, 1, true);
            longest = Math.max(longest, System.nanoTime() - start);
            raised += result == Result.OK ? 1 : 0;
        }
        assertEquals(4_096, raised, "then it is told FULL");
        producer.flush();
        long slept = longest;
        assertTrue(longest < SECOND, () -> "raising took " + slept + " ns");
        until("the socket is full", () -> {
            long groups = server.counts().groups();
            LockSupport.parkNanos(60_000_000);
            producer.poll();
            return groups > 0 && server.counts().groups() == groups;
        });
        assertTrue(server.counts().groups() < raised, () -> server.toString());
        for (int n = 0; n < raised; ) {
            List<Integer> cookies = message();
            n += cookies.size();
            int[] words = new int[2 * cookies.size()];
            for (int i = 0; i < cookies.size(); i++) {
                words[2 * i] = cookies.get(i);
            }
            send(words);
        }
        until("all answers", () -> told == 4_096);
        assertEquals(4_096, server.counts().groups());
        assertEquals(4_096, queue.accounting().answered());
    }

    @Test
    void aGroupWhosePeerIsLateIsAnsweredByTheDeadline() {
        serve(CONFIG.withDeadlineNs(SECOND), 16);
        raise(1, 1);
        producer.flush();
        int cookie = groups(1).get(0);
        until("the deadline", () -> told == 1);
        assertEquals(List.of("1 INVALID"), answers);
        send(cookie, 0);
        until("the late answer", () -> server.counts().stale() == 1);
        raise(2, 1);
        producer.flush();
        send(groups(1).get(0), 0);
        until("the next one", () -> told == 2);
        assertEquals("2 SUCCESS", answers.get(1));
    }

    @Test
    void aPeerThatNeverAnswersKeepsNoReads() {
        serve(CONFIG.withDeadlineNs(SECOND / 2), 64);
        for (int round = 1; round <= 3; round++) {
            for (int i = 0; i < 64; i++) {
                raise(i, 1);
            }
            producer.flush();
            groups(64);
            int all = 64 * round;
            until("the deadline", () -> told == all);
        }
    }

    @Test
    void closingTheServerAnswersAndTellsThePeer() {
        serve(CONFIG.withDeadlineNs(0), 16);
        raise(1, 1);
        producer.flush();
        groups(1);
        server.close();
        until("the answer", () -> told == 1);
        assertEquals(FaultServer.State.CLOSED, server.state());
        assertEquals(Map.of(AutoAnswer.HANDLER, 1L), queue.accounting().autoBy());
        assertTrue((linux.poll(ends[1], LinuxCalls.POLLIN, 1_000) & LinuxCalls.POLLHUP) != 0);
        server.close();
    }

    @Test
    void closingTheQueueEndsTheServerAndTellsThePeer() throws Exception {
        serve(CONFIG, 16);
        raise(1, 1);
        producer.flush();
        groups(1);
        queue.close();
        until("the server's end", () -> server.state() == FaultServer.State.CLOSED);
        assertEquals(Map.of(AutoAnswer.CLOSE, 1L), queue.accounting().autoBy());
        assertTrue((linux.poll(ends[1], LinuxCalls.POLLIN, 1_000) & LinuxCalls.POLLHUP) != 0);
    }

    @Test
    void whoClosesTheServersDescriptorIsTold() {
        serve(CONFIG.withDeadlineNs(0), 16);
        raise(1, 1);
        producer.flush();
        groups(1);
        assertEquals(0, linux.close(ends[0]));
        until("the end", () -> {
            raise(2, 1);
            producer.flush();
            LockSupport.parkNanos(1_000_000);
            return server.state() == FaultServer.State.FAILED;
        });
        assertEquals(
                "fd=" + ends[0] + " was closed: allowed is to close the server",
                String.valueOf(server.failure() == null ? "" : server.failure().getMessage()));
        hangUp();
    }

    @Test
    void misuseIsNamed() {
        serve(CONFIG, 1);
        try (FaultQueue parks = FaultQueue.open(QueueConfig.of(1))) {
            assertEquals(
                    "waiting=SPIN_THEN_PARK of the queue: allowed EVENTFD, by which one thread waits for it and for the"
                            + " peer",
                    assertThrows(IllegalArgumentException.class, () -> FaultServer.start(parks, ends[1]))
                            .getMessage());
        }
        assertTrue(String.valueOf(assertThrows(IllegalStateException.class, () -> FaultServer.start(queue, ends[1]))
                        .getMessage())
                .startsWith("door=consumer is taken"));
        try (FaultQueue other = FaultQueue.open(CONFIG)) {
            assertTrue(String.valueOf(assertThrows(IllegalArgumentException.class, () -> FaultServer.start(other, -1))
                            .getMessage())
                    .contains("EBADF"));
            int event = linux.eventfd(0, true);
            assertEquals(
                    "fd=" + event + " is no socket: allowed one of type 5, which keeps the bounds of messages",
                    assertThrows(IllegalArgumentException.class, () -> FaultServer.start(other, event))
                            .getMessage());
            assertEquals(0, linux.close(event));
        }
    }

    // ---- with a consumer, in this process ----

    @Test
    void aHundredThousandFaultsAreServed() throws Exception {
        int faults = 100_000;
        serve(CONFIG, 256);
        keepsAnswers = false;
        try (DescriptorConsumer consumer = DescriptorConsumer.open(ends[1], 256, 4)) {
            FaultWorker worker = consumer.run(group -> group.size() == 1 ? Answer.SUCCESS : Answer.INVALID);
            int raised = 0;
            long end = System.nanoTime() + 60 * SECOND;
            while (told < faults) {
                while (raised < faults && raise(raised)) {
                    raised++;
                }
                if (producer.poll() == 0) {
                    assertTrue(producer.await(20 * SECOND), () -> server + ", " + queue.dump());
                }
                assertTrue(System.nanoTime() < end, () -> server + ", " + queue.dump());
            }
            worker.close();
            assertFalse(worker.isRunning());
            assertEquals(faults, consumer.accounting().answered());
            assertEquals(faults, queue.accounting().answered());
            assertEquals(0, server.counts().stale() + server.counts().brokenMessages());
        }
    }

    /** Every eighth group has two requests. */
    private boolean raise(int tag) {
        if (tag % 8 != 0) {
            return producer.raise(tag, 7, 5, tag & 0xffff, 0, 1, true) == Result.OK;
        }
        if (producer.raise(tag, 7, 5, tag & 0xffff, 0, 1, false) != Result.OK) {
            return false;
        }
        assertEquals(Result.OK, producer.raise(tag, 7, 5, tag & 0xffff, 1, 1, true));
        return true;
    }

    @Test
    void nothingIsAllocatedForAFault() {
        serve(CONFIG, 64);
        keepsAnswers = false;
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long thread = server.thread().threadId();
        long least = Long.MAX_VALUE;
        try (DescriptorConsumer consumer = DescriptorConsumer.open(ends[1], 64, 4)) {
            assertEquals(Result.OK, consumer.post(0, 64));
            CompletionHandler answer = (userData, group) ->
                    assertEquals(Result.OK, consumer.answerAndRepost(group.cookie(), Answer.SUCCESS));
            int faults = 2_000;
            long end = System.nanoTime() + 30 * SECOND;
            while (least >= faults && System.nanoTime() < end) {
                long start = threads.getThreadAllocatedBytes(thread);
                int goal = told + faults;
                int raised = told;
                while (told < goal) {
                    while (raised < goal && raised - told < 32) {
                        assertTrue(raise(raised++));
                    }
                    producer.poll();
                    consumer.poll(answer, 64);
                }
                least = Math.min(least, threads.getThreadAllocatedBytes(thread) - start);
            }
        }
        // A system call costs the JVM 40 bytes until it is compiled in full.
        long bytesLeast = least;
        assertTrue(least < 2_000, () -> "bytes of the server's thread for 2000 faults: " + bytesLeast);
    }
}
