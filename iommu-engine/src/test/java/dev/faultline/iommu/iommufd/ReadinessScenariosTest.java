package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.faultline.ffm.Errno;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.Result;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/**
 * Waiting for faults. Section J: of poll the kernel's side, of reads posted ahead the ring's, where a posted read gets one group and no
 * other ends (155, 156), and has neither length nor offset to be wrong (158, 160), nor a
 * descriptor that is told not to wait (159); what calls say of these is here.
 */
class ReadinessScenariosTest {
    private static final int EVERYTHING = 0x7fff;
    private static final int OUT = OpenFile.POLLOUT;
    private static final int IN = OpenFile.POLLIN | OpenFile.POLLRDNORM;

    private final FaultProgram faults = new FaultProgram();
    private final Program.Device device = faults.first;

    @AfterEach
    void close() {
        faults.close();
    }

    private int poll() {
        return faults.calls.poll(faults.fd, EVERYTHING, 0);
    }

    @Test
    void scenarios150To153WhatPollSays() {
        var _ = faults.attachFaulting();
        assertEquals(OUT, poll());
        faults.partial(device, 0, 1, 0x1000);
        assertEquals(OUT, poll());
        faults.last(device, 0, 1, 0x2000);
        assertEquals(IN | OUT, poll());
        assertEquals(80, faults.read(faults.fd, 80));
        assertEquals(OUT, poll(), "unanswered groups are nothing to read");
    }

    @Test
    void scenario154TheLastRequestWakes() throws Exception {
        var _ = faults.attachFaulting();
        CompletableFuture<Integer> woken =
                CompletableFuture.supplyAsync(() -> faults.calls.poll(faults.fd, OpenFile.POLLIN, 10_000));
        faults.partial(device, 0, 1, 0x1000);
        assertThrows(java.util.concurrent.TimeoutException.class, () -> woken.get(50, TimeUnit.MILLISECONDS));
        faults.last(device, 0, 1, 0x2000);
        assertEquals(OpenFile.POLLIN, woken.get(10, TimeUnit.SECONDS));
    }

    @Test
    void scenarios155To157ReadsPostedAheadOnTheRing() throws ErrnoException {
        FaultConsumer ring = faults.calls.ring(faults.fd);
        var _ = faults.attachFaulting();
        assertEquals(Result.OK, ring.post(1, 4));
        List<Integer> groups = new ArrayList<>();
        for (int i = 1; i <= 5; i++) {
            faults.last(device, 0, i, 0x1000L * i);
            var _ = ring.poll(
                    (userData, group) -> {
                        groups.add(group.groupIndex());
                        assertEquals(Result.OK, ring.answer(group.cookie(), Answer.SUCCESS));
                    },
                    8);
        }
        assertEquals(List.of(1, 2, 3, 4), groups, "each read got one, and there is none for the fifth");
        assertEquals(Result.OK, ring.post(2, 1));
        int _ = ring.submit();
        faults.last(device, 0, 6, 0x6000);
        var _ = ring.poll((userData, group) -> groups.add(group.groupIndex()), 8);
        assertEquals(List.of(1, 2, 3, 4, 5), groups);
        assertEquals(-Errno.EBADFD, faults.read(faults.fd, 40), "a queue has one door");
        assertEquals(FaultProgram.all("0 0/1 0", "0 0/2 0", "0 0/3 0", "0 0/4 0"), faults.told());
        ring.close();
    }

    @Test
    void scenario158WhereThereIsNoOffsetAndNoPartOfARecord() {
        var _ = faults.attachFaulting();
        faults.last(device, 0, 1, 0x1000);
        assertEquals(-Errno.ESPIPE, faults.calls.pread(faults.fd, Program.ARENA, 40, 40));
        assertEquals(-Errno.ESPIPE, faults.read(faults.fd, 39));
        assertEquals(IN | OUT, poll());
        assertEquals(40, faults.read(faults.fd, 40), "the group has stayed");
    }

    @Test
    void scenario159ToldNotToWait() throws ErrnoException {
        int setFlags = 4;
        int nonBlocking = 04000;
        assertEquals(0, faults.calls.fcntl(faults.fd, setFlags, nonBlocking));
        var _ = faults.attachFaulting();
        assertEquals(0, faults.read(faults.fd, 40));
        int[] second = faults.program.faults();
        assertEquals(0, faults.calls.fcntl(second[1], setFlags, nonBlocking));
        FaultConsumer ring = faults.calls.ring(second[1]);
        assertEquals(0, faults.program.replace(device, faults.faulting(second)));
        assertEquals(Result.OK, ring.post(1, 1));
        List<Integer> groups = new ArrayList<>();
        assertEquals(0, ring.poll((userData, group) -> groups.add(group.groupIndex()), 8), "the ring's read waits");
        int _ = ring.submit();
        // A device that nobody steps looks for reads when it reports the next.
        faults.last(device, 0, 1, 0x1000);
        faults.last(device, 0, 2, 0x2000);
        var _ = ring.poll(
                (userData, group) -> {
                    groups.add(group.groupIndex());
                    assertEquals(Result.OK, ring.answer(group.cookie(), Answer.SUCCESS));
                },
                8);
        assertEquals(List.of(1), groups);
        int _ = ring.submit();
        ring.close();
    }

    @Test
    void scenario160ABufferThatIsTooSmallLeavesTheGroup() {
        var _ = faults.attachFaulting();
        faults.partial(device, 0, 1, 0x1000);
        faults.last(device, 0, 1, 0x2000);
        assertEquals(-Errno.EINVAL, faults.read(faults.fd, 40));
        assertEquals(IN | OUT, poll());
    }
}
