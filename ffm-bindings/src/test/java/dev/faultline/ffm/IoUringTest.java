package dev.faultline.ffm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** On the kernel this runs on. Where it gives no io_uring the reason is shown, and {@link IoUringMissingTest} is what remains. */
@Timeout(60)
class IoUringTest {
    private static final long SECOND = 1_000_000_000L;

    private Leaks before;
    private LinuxCalls linux;
    private Region buffer;
    private int[] pair;

    @BeforeEach
    void open() throws Exception {
        assumeTrue(IoUring.missing().isEmpty(), () -> IoUring.missing().orElse(""));
        before = Leaks.count();
        linux = LinuxCalls.open();
        buffer = Region.allocate(4096);
        pair = new int[2];
        assertEquals(0, linux.socketpair(LinuxCalls.SOCK_SEQPACKET, pair));
    }

    @AfterEach
    void nothingIsLeft() throws Exception {
        if (before == null) {
            return;
        }
        assertEquals(0, linux.close(pair[0]));
        assertEquals(0, linux.close(pair[1]));
        buffer.close();
        linux.close();
        before.assertNone();
    }

    /** What has completed, by user data; each user data once. */
    private static Map<Long, Integer> completed(IoUring ring, int count) {
        Map<Long, Integer> results = new TreeMap<>();
        while (results.size() < count) {
            int taken = ring.submitAndWait(1, SECOND);
            assertTrue(taken >= 0 || ring.ready() > 0, () -> Errno.name(-taken) + ", so far " + results);
            int ready = ring.ready();
            for (int i = 0; i < ready; i++) {
                Integer twice = results.put(ring.userData(i), ring.result(i));
                assertEquals(null, twice);
            }
            ring.advance(ready);
        }
        return results;
    }

    @Test
    void noOpsComeBackWithTheirUserData() {
        try (IoUring ring = IoUring.open(32, 64)) {
            assertEquals(32, ring.submissions());
            assertEquals(64, ring.completions());
            long sum = 0;
            for (int round = 0; round < 1000; round++) {
                for (int i = 0; i < 32; i++) {
                    assertEquals(32 - i, ring.room());
                    assertTrue(ring.nop(round * 32L + i));
                }
                assertEquals(32, ring.submitAndWait(32, -1));
                assertEquals(32, ring.ready());
                for (int i = 0; i < 32; i++) {
                    assertEquals(0, ring.result(i));
                    assertEquals(0, ring.flags(i));
                    sum += ring.userData(i);
                }
                ring.advance(32);
            }
            assertEquals(32_000L * 31_999 / 2, sum);
            assertEquals(0, ring.overflows());
            assertEquals(0, ring.lost());
        }
    }

    @Test
    void aFullRingIsSaidAndNothingIsLost() {
        try (IoUring ring = IoUring.open(5, 5)) {
            assertEquals(8, ring.submissions(), "rounded up");
            for (int i = 0; i < 8; i++) {
                assertTrue(ring.nop(i));
            }
            assertFalse(ring.nop(99));
            assertFalse(ring.poll(pair[0], 0, LinuxCalls.POLLIN, 99));
            assertEquals(0, ring.room());
            assertEquals(8, ring.submit());
            assertEquals(8, ring.room());
            assertEquals(8, completed(ring, 8).size());
            assertEquals(0, ring.submit(), "nothing was prepared");
        }
    }

    @Test
    void completionsThatDoNotFitAreKeptBackAndFetched() {
        try (IoUring ring = IoUring.open(8, 8)) {
            for (int round = 0; round < 5; round++) {
                for (int i = 0; i < 8; i++) {
                    assertTrue(ring.nop(round * 8L + i));
                }
                assertEquals(8, ring.submit());
            }
            assertTrue(ring.hasNews());
            Map<Long, Integer> all = completed(ring, 40);
            assertEquals(40, all.size());
            assertEquals(List.of(0), all.values().stream().distinct().toList());
            assertTrue(ring.overflows() > 0, "the ring was full");
            assertEquals(0, ring.lost());
        }
    }

    @Test
    void aReadPostedAheadCompletesWhenAMessageComes() {
        MemorySegment s = buffer.segment();
        try (IoUring ring = IoUring.open(8, 16)) {
            assertTrue(ring.read(pair[0], 0, s.asSlice(0, 64), 64, 1));
            assertTrue(ring.receive(pair[0], 0, s.asSlice(64, 64), 64, 2));
            assertEquals(2, ring.submit());
            assertEquals(-Errno.ETIME, ring.submitAndWait(1, 1_000_000));
            assertFalse(ring.hasNews());
            SharedWords.putLong(s, 1024, 0x1111);
            assertEquals(40, linux.write(pair[1], s.asSlice(1024), 40));
            SharedWords.putLong(s, 1024, 0x2222);
            assertEquals(8, linux.write(pair[1], s.asSlice(1024), 8));
            // Which read gets which message is the kernel's choice; each gets one whole.
            Map<Long, Integer> results = completed(ring, 2);
            assertEquals(
                    48, results.values().stream().mapToInt(Integer::intValue).sum(), results::toString);
            assertEquals(0x3333, SharedWords.getLong(s, 0) + SharedWords.getLong(s, 64));

            SharedWords.putLong(s, 0, 0x4444);
            SharedWords.putLong(s, 64, 0x5555);
            assertTrue(ring.write(pair[0], 0, s, 8, 3));
            assertTrue(ring.send(pair[0], 0, s.asSlice(64), 16, 4));
            assertEquals(Map.of(3L, 8, 4L, 16), completed(ring, 2));
            assertEquals(8, linux.read(pair[1], s.asSlice(128), 64));
            assertEquals(0x4444, SharedWords.getLong(s, 128));
            assertEquals(16, linux.read(pair[1], s.asSlice(128), 64));
            assertEquals(0x5555, SharedWords.getLong(s, 128));
        }
    }

    @Test
    void anEntryThatAsksForItIsSilentUnlessItFails() {
        MemorySegment s = buffer.segment();
        try (IoUring ring = IoUring.open(8, 16)) {
            assertTrue(ring.send(pair[0], IoUring.SKIP_SUCCESS, s, 8, 1));
            assertTrue(ring.nop(2));
            assertEquals(Map.of(2L, 0), completed(ring, 1));
            assertEquals(8, linux.read(pair[1], s, 64));
            assertTrue(ring.send(-1, IoUring.SKIP_SUCCESS, s, 8, 3));
            assertEquals(Map.of(3L, -Errno.EBADF), completed(ring, 1));
            assertFalse(ring.hasNews());
        }
    }

    @Test
    void registeredFilesAreNamedByTheirIndex() {
        MemorySegment s = buffer.segment();
        try (IoUring ring = IoUring.open(8, 16)) {
            assertEquals(0, ring.registerFiles(pair[1], pair[0]));
            assertEquals(-Errno.EBUSY, ring.registerFiles(pair[0]), "once for a ring");
            assertTrue(ring.receive(1, IoUring.FIXED_FILE, s, 64, 1));
            assertTrue(ring.send(0, IoUring.FIXED_FILE, s.asSlice(64), 40, 2));
            assertEquals(Map.of(1L, 40, 2L, 40), completed(ring, 2));
            assertTrue(ring.send(7, IoUring.FIXED_FILE, s, 8, 3));
            assertEquals(Map.of(3L, -Errno.EBADF), completed(ring, 1));
        }
        try (IoUring ring = IoUring.open(8, 16)) {
            assertEquals(-Errno.EBADF, ring.registerFiles(pair[0], 1 << 20));
        }
    }

    @Test
    void cancelEndsWhatIsUnderWayAndSaysHowMany() {
        MemorySegment s = buffer.segment();
        try (IoUring ring = IoUring.open(16, 32)) {
            for (int i = 0; i < 3; i++) {
                assertTrue(ring.receive(pair[0], 0, s.asSlice(64L * i, 64), 64, 10 + i));
            }
            assertTrue(ring.cancel(11, 20));
            assertTrue(ring.cancel(99, 21));
            assertEquals(Map.of(11L, -Errno.ECANCELED, 20L, 1, 21L, 0), completed(ring, 3));
            assertTrue(ring.cancelAll(22));
            assertEquals(Map.of(10L, -Errno.ECANCELED, 12L, -Errno.ECANCELED, 22L, 2), completed(ring, 3));
            // What was cancelled takes no message.
            assertEquals(8, linux.write(pair[1], s, 8));
            assertEquals(8, linux.read(pair[0], s, 64));
        }
    }

    @Test
    void pollCompletesOnce() {
        MemorySegment s = buffer.segment();
        try (IoUring ring = IoUring.open(8, 16)) {
            assertTrue(ring.poll(pair[0], 0, LinuxCalls.POLLIN | LinuxCalls.POLLRDHUP, 5));
            assertEquals(1, ring.submitAndWait(0, 0));
            assertEquals(0, ring.ready());
            assertEquals(8, linux.write(pair[1], s, 8));
            assertEquals(8, linux.write(pair[1], s, 8));
            assertEquals(Map.of(5L, LinuxCalls.POLLIN), completed(ring, 1));
            assertEquals(0, ring.submitAndWait(0, 0));
            assertFalse(ring.hasNews());
        }
    }

    @Test
    void anotherThreadWakesAWaiterThroughAnEventfd() throws Exception {
        MemorySegment s = buffer.segment();
        int eventfd = linux.eventfd(0, false);
        assertTrue(eventfd >= 0);
        try (IoUring ring = IoUring.open(8, 16)) {
            assertTrue(ring.read(eventfd, 0, s, 8, 7));
            Thread waker = Thread.ofPlatform().start(() -> {
                try (LinuxCalls own = LinuxCalls.open();
                        Region one = Region.allocate(8)) {
                    SharedWords.putLong(one.segment(), 0, 3);
                    TimeUnit.MILLISECONDS.sleep(20);
                    assertEquals(8, own.write(eventfd, one.segment(), 8));
                } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                }
            });
            assertEquals(1, ring.submitAndWait(1, -1));
            assertEquals(1, ring.ready());
            assertEquals(8, ring.result(0));
            assertEquals(3, SharedWords.getLong(s, 0));
            ring.advance(1);
            waker.join();
        } finally {
            assertEquals(0, linux.close(eventfd));
        }
    }

    @Test
    void newsAreSeenWithoutACall() throws Exception {
        MemorySegment s = buffer.segment();
        try (IoUring ring = IoUring.open(8, 16)) {
            assertTrue(ring.receive(pair[0], 0, s, 64, 1));
            assertEquals(1, ring.submitAndWait(0, 0));
            assertFalse(ring.hasNews());
            Thread writer = Thread.ofPlatform().start(() -> {
                try (LinuxCalls own = LinuxCalls.open();
                        Region message = Region.allocate(64)) {
                    assertEquals(40, own.write(pair[1], message.segment(), 40));
                }
            });
            long until = System.nanoTime() + 10 * SECOND;
            while (!ring.hasNews()) {
                assertTrue(System.nanoTime() - until < 0, "news did not show");
                Thread.onSpinWait();
            }
            assertEquals(Map.of(1L, 40), completed(ring, 1));
            writer.join();
        }
    }

    @Test
    void aWaitEndsInTime() {
        try (IoUring ring = IoUring.open(4, 8)) {
            for (long timeout : new long[] {1, 1_000_000, 30_000_000}) {
                long begun = System.nanoTime();
                assertEquals(-Errno.ETIME, ring.submitAndWait(1, timeout));
                assertTrue(System.nanoTime() - begun >= timeout);
            }
            assertEquals(0, ring.submitAndWait(1, 0), "0 does not wait");
            assertTrue(ring.nop(1));
            assertEquals(1, ring.submitAndWait(2, 1_000_000), "an entry was taken, so the end of the time is not said");
            assertEquals(1, ring.ready());
        }
    }

    @Test
    void theOtherEndsEndIsAResult() {
        MemorySegment s = buffer.segment();
        int[] own = new int[2];
        assertEquals(0, linux.socketpair(LinuxCalls.SOCK_SEQPACKET, own));
        try (IoUring ring = IoUring.open(8, 16)) {
            assertTrue(ring.receive(own[0], 0, s, 64, 1));
            assertEquals(1, ring.submit());
            assertEquals(0, linux.close(own[1]));
            assertEquals(Map.of(1L, 0), completed(ring, 1));
            assertTrue(ring.send(own[0], 0, s, 8, 2));
            assertEquals(Map.of(2L, -Errno.EPIPE), completed(ring, 1));
        } finally {
            assertEquals(0, linux.close(own[0]));
        }
    }

    @Test
    void closingCancelsWhatIsUnderWayFirst() throws Exception {
        MemorySegment s = buffer.segment();
        IoUring ring = IoUring.open(8, 16);
        assertEquals(before.mappings() + 2, Leaks.count().mappings());
        for (int i = 0; i < 8; i++) {
            assertTrue(ring.receive(pair[0], 0, s.asSlice(64L * i, 64), 64, i));
        }
        assertEquals(8, ring.submit());
        ring.close();
        ring.close();
        assertEquals(before.mappings(), Leaks.count().mappings());
        s.fill((byte) 0);
        SharedWords.putLong(s, 1024, 7);
        assertEquals(8, linux.write(pair[1], s.asSlice(1024), 8));
        assertEquals(8, linux.read(pair[0], s.asSlice(2048), 64), "no read of the ring's is left to take it");
        for (int i = 0; i < 8; i++) {
            assertEquals(0, SharedWords.getLong(s, 64L * i));
        }
        assertThrows(IllegalStateException.class, () -> ring.nop(1));
        assertThrows(IllegalStateException.class, ring::submit);
        assertThrows(IllegalStateException.class, () -> ring.submitAndWait(0, 0));
        assertThrows(IllegalStateException.class, () -> ring.registerFiles(0));
    }

    @Test
    void manyRingsLeaveNothing() {
        // More than the 16 whose descriptor one thread can register.
        List<IoUring> rings = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            IoUring ring = IoUring.open(4, 8);
            rings.add(ring);
            assertTrue(ring.nop(i));
            assertEquals(1, ring.submitAndWait(1, -1));
            assertEquals(1, ring.ready());
            assertEquals(i, ring.userData(0));
        }
        assertTrue(
                rings.get(19)
                        .limits()
                        .toString()
                        .contains("no registered descriptor: EBUSY, this thread has 16 already"),
                () -> rings.get(19).limits().toString());
        rings.forEach(IoUring::close);
        try (IoUring again = IoUring.open(4, 8)) {
            assertTrue(again.nop(1));
            assertEquals(1, again.submit());
            assertFalse(
                    again.limits().toString().contains("EBUSY"),
                    () -> again.limits().toString());
        }
    }

    @Test
    void aRingIsHandedOverBeforeItIsUsed() throws Exception {
        IoUring ring = IoUring.open(4, 8);
        AtomicReference<Throwable> failed = new AtomicReference<>();
        Thread owner = Thread.ofPlatform().start(() -> {
            try {
                assertTrue(ring.nop(3));
                assertEquals(1, ring.submitAndWait(1, -1));
                assertEquals(1, ring.ready());
                assertEquals(3, ring.userData(0));
                ring.advance(1);
            } catch (Throwable t) {
                failed.set(t);
            }
        });
        owner.join();
        assertEquals(null, failed.get());
        assertTrue(ring.nop(4));
        String message = String.valueOf(
                assertThrows(IllegalStateException.class, ring::submit).getMessage());
        assertTrue(message.startsWith("use by Thread[#" + Thread.currentThread().threadId()), message);
        assertTrue(message.contains("allowed is Thread[#" + owner.threadId()), message);
        ring.close();
    }

    @Test
    void aRingForAnyThreadGoesFromOneToAnother() throws Exception {
        AtomicReference<Throwable> failed = new AtomicReference<>();
        try (IoUring ring = IoUring.openForAnyThread(4, 8)) {
            for (int i = 0; i < 4; i++) {
                long userData = i;
                Runnable use = () -> {
                    try {
                        assertTrue(ring.nop(userData));
                        assertEquals(1, ring.submitAndWait(1, SECOND));
                        assertEquals(1, ring.ready());
                        assertEquals(userData, ring.userData(0));
                        ring.advance(1);
                    } catch (Throwable t) {
                        failed.set(t);
                    }
                };
                (i % 2 == 0 ? Thread.ofVirtual() : Thread.ofPlatform())
                        .start(use)
                        .join();
            }
        }
        assertEquals(null, failed.get());
    }

    @Test
    void aVirtualThreadIsToldWhichRingItNeeds() throws Exception {
        AtomicReference<String> said = new AtomicReference<>("");
        try (IoUring ring = IoUring.open(4, 8)) {
            Thread.ofVirtual()
                    .start(() -> said.set(String.valueOf(assertThrows(IllegalStateException.class, () -> {
                                assertTrue(ring.nop(1));
                                int _ = ring.submit();
                            })
                            .getMessage())))
                    .join();
        }
        assertTrue(
                String.valueOf(said.get()).endsWith("allowed is a platform thread, or a ring of openForAnyThread"),
                () -> String.valueOf(said.get()));
    }

    @Test
    void aChildDoesNotGetTheRing() throws Exception {
        Path smaps = Path.of("/proc/self/smaps");
        assumeTrue(Files.isReadable(smaps), "this kernel shows no " + smaps);
        try (IoUring ring = IoUring.open(4, 8)) {
            assertTrue(ring.descriptor() > 2);
            List<String> lines = Files.readAllLines(smaps);
            int seen = 0;
            for (int i = 0; i < lines.size(); i++) {
                if (lines.get(i).contains("anon_inode:[io_uring]")) {
                    while (!lines.get(i).startsWith("VmFlags:")) {
                        i++;
                    }
                    assertTrue(lines.get(i).contains(" dc"), lines.get(i));
                    seen++;
                }
            }
            assertEquals(2, seen);
        }
    }

    @Test
    void misuseIsNamed() {
        MemorySegment s = buffer.segment();
        assertEquals(
                "submissions=0: allowed 1 to 32768",
                assertThrows(IllegalArgumentException.class, () -> IoUring.open(0, 8))
                        .getMessage());
        assertEquals(
                "submissions=32769: allowed 1 to 32768",
                assertThrows(IllegalArgumentException.class, () -> IoUring.open(32769, 65536))
                        .getMessage());
        assertEquals(
                "completions=7: allowed 8, which is submissions, to 65536",
                assertThrows(IllegalArgumentException.class, () -> IoUring.openForAnyThread(8, 7))
                        .getMessage());
        try (IoUring ring = IoUring.open(8, 8)) {
            assertThrows(IndexOutOfBoundsException.class, () -> ring.read(0, 0, s, 4097, 0));
            assertThrows(IndexOutOfBoundsException.class, () -> ring.write(0, 0, s, -1, 0));
            assertThrows(
                    IllegalArgumentException.class, () -> ring.receive(0, 0, MemorySegment.ofArray(new byte[8]), 8, 0));
            assertEquals(
                    "atLeast=9: allowed 0 to 8",
                    assertThrows(IllegalArgumentException.class, () -> ring.submitAndWait(9, 0))
                            .getMessage());
            assertEquals(
                    "fds.length=0: allowed 1 to 16",
                    assertThrows(IllegalArgumentException.class, ring::registerFiles)
                            .getMessage());
            assertEquals(8, ring.room(), "nothing was prepared");
            assertThrows(IndexOutOfBoundsException.class, () -> ring.userData(0));
            assertThrows(IndexOutOfBoundsException.class, () -> ring.advance(1));
            assertTrue(ring.nop(1));
            assertEquals(1, ring.submitAndWait(1, -1));
            assertThrows(IndexOutOfBoundsException.class, () -> ring.result(0), "not before ready() has told of it");
            assertEquals(1, ring.ready());
            assertThrows(IndexOutOfBoundsException.class, () -> ring.flags(1));
            ring.advance(1);
            assertThrows(IndexOutOfBoundsException.class, () -> ring.advance(1));
        }
    }

    @Test
    void nothingIsAllocatedForAnEntry() {
        var threads = (com.sun.management.ThreadMXBean) java.lang.management.ManagementFactory.getThreadMXBean();
        MemorySegment s = buffer.segment();
        try (IoUring ring = IoUring.open(8, 16)) {
            long allocated = 0;
            for (int round = 0; round < 20_000; round++) {
                if (round == 15_000) {
                    allocated = threads.getCurrentThreadAllocatedBytes();
                }
                assertTrue(ring.receive(pair[0], 0, s, 64, 1));
                assertTrue(ring.send(pair[1], IoUring.SKIP_SUCCESS, s, 40, 2));
                assertEquals(2, ring.submitAndWait(1, SECOND));
                assertEquals(1, ring.ready());
                assertEquals(40, ring.result(0));
                ring.advance(1);
            }
            long bytes = threads.getCurrentThreadAllocatedBytes() - allocated;
            assertTrue(bytes < 5_000, bytes + " bytes for 10,000 entries");
        }
    }
}
