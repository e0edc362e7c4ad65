package dev.faultline.iommu.iommufd;

import static dev.faultline.ffm.Errno.EFAULT;
import static dev.faultline.ffm.Errno.EINVAL;
import static dev.faultline.ffm.Errno.ESPIPE;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Reading a fault queue's descriptor. Section G. */
class ReadScenariosTest {
    private final FaultProgram faults = new FaultProgram();
    private final SystemCalls calls = faults.calls;
    private final int fd = faults.fd;

    @BeforeEach
    void attach() {
        var _ = faults.attachFaulting();
    }

    @AfterEach
    void close() {
        faults.close();
    }

    /** Makes a group of so many pages. */
    private void group(int index, int pages) {
        for (int i = 1; i < pages; i++) {
            faults.partial(faults.first, 0, index, 0x1000L * i);
        }
        faults.last(faults.first, 0, index, 0x1000L * pages);
    }

    private String read(int records) {
        return faults.messages(fd, records).toString();
    }

    @Test
    void scenarios109To111Counts() {
        assertEquals(0, faults.read(fd, 40));
        assertEquals(0, faults.read(fd, 0));
        for (int count : List.of(1, 39, 41, 8)) {
            assertEquals(-ESPIPE, faults.read(fd, count));
        }
        group(1, 1);
        for (int count : List.of(1, 39, 41, 8)) {
            assertEquals(-ESPIPE, faults.read(fd, count));
        }
        assertEquals(-EINVAL, faults.read(fd, 0));
    }

    @Test
    void scenario112TwoAtOnce() {
        group(1, 1);
        group(2, 1);
        assertEquals("[2 0/1 cookie 1, 2 0/2 cookie 2]", read(2));
    }

    @Test
    void scenario113OneByOne() {
        group(1, 1);
        group(2, 1);
        assertEquals(40, faults.read(fd, 40));
        assertEquals(40, faults.read(fd, 40));
        assertEquals(0, faults.read(fd, 40));
    }

    @Test
    void scenario114AGroupIsNotDivided() {
        group(1, 3);
        assertEquals(-EINVAL, faults.read(fd, 80));
        assertEquals(120, faults.read(fd, 120));
    }

    @Test
    void scenario115WhatDoesNotFitComesNext() {
        group(1, 1);
        group(2, 3);
        assertEquals(40, faults.read(fd, 120));
        assertEquals(120, faults.read(fd, 120));
    }

    @Test
    void scenario116NobodyOvertakes() {
        group(1, 3);
        group(2, 1);
        assertEquals(-EINVAL, faults.read(fd, 40));
        assertEquals(160, faults.read(fd, 160));
    }

    @Test
    void scenario117ABufferThatIsNone() {
        group(1, 1);
        assertEquals(-EFAULT, calls.read(fd, 0x7000_0000L, 40));
        assertEquals("[2 0/1 cookie 1]", read(1));
    }

    @Test
    void scenario118ABufferThatEnds() {
        long at = 0x7000_0000L;
        faults.program.memory.map(at, MemorySegment.ofArray(new long[10]), true);
        group(1, 1);
        group(2, 2);
        assertEquals(40, calls.read(fd, at, 120));
        assertEquals("[0 0/2 cookie 2, 2 0/2 cookie 2]", read(2));
    }

    @Test
    void scenario119TheLowestFreeCookie() {
        group(1, 1);
        group(2, 1);
        group(3, 1);
        assertEquals(120, faults.read(fd, 120));
        assertEquals(8, faults.write(fd, 2, 0));
        group(4, 1);
        assertEquals("[2 0/4 cookie 2]", read(1));
    }

    @Test
    void scenario120OneOfTwoReadersGetsIt() throws Exception {
        for (int round = 0; round < 50; round++) {
            group(round, 1);
            CompletableFuture<Long> other =
                    CompletableFuture.supplyAsync(() -> calls.read(fd, Program.ARENA + 4096, 40));
            long mine = calls.read(fd, Program.ARENA, 40);
            assertEquals(40, mine + other.get());
            assertEquals(8, faults.write(fd, 1, 0));
        }
    }

    @Test
    void scenarios121And122Segments() {
        group(1, 1);
        group(2, 1);
        group(3, 1);
        assertEquals(80, calls.readv(fd, vector(0, 40, 40, 40), 2));
        assertEquals(-ESPIPE, calls.readv(fd, vector(0, 20, 20, 20), 2));
        assertEquals(-EFAULT, calls.readv(fd, vector(1L << 62, 40, 0, 40), 2));
        assertEquals(-EINVAL, calls.readv(fd, vector(1L << 62, 40, 0, -40), 2), "lengths are looked at first");
        assertEquals(40, faults.read(fd, 400));
    }

    /** The kernel hands on a flag that its drivers keep for themselves; here a driver says only what the two others say. */
    @Test
    void scenario123NoFlagButPasidAndLast() {
        faults.last(faults.first, 5, 1, 0x1000);
        int[] everything = new int[18];
        Arrays.fill(everything, -1);
        everything[0] = 72;
        everything[1] = 15;
        everything[2] = 0;
        everything[3] = 0;
        everything[4] = faults.first.id();
        assertEquals(0, faults.program.ioctl(0x3ba0, everything));
        group(2, 2);
        assertEquals(
                List.of(3, 3, 0, 2),
                faults.messages(fd, 8).stream().map(FaultProgram.Message::flags).toList());
    }

    /** Two segments, at the arena's end. */
    private long vector(long first, long firstBytes, long second, long secondBytes) {
        int at = 8192;
        long[] words = {Program.ARENA + first, firstBytes, Program.ARENA + second, secondBytes};
        for (int i = 0; i < words.length; i++) {
            faults.program.write(at / 4 + 2 * i, (int) words[i], (int) (words[i] >>> 32));
        }
        return Program.ARENA + at;
    }
}
