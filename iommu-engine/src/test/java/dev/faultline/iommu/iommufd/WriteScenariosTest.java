package dev.faultline.iommu.iommufd;

import static dev.faultline.ffm.Errno.EFAULT;
import static dev.faultline.ffm.Errno.EINVAL;
import static dev.faultline.ffm.Errno.ESPIPE;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.MemorySegment;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Answering through a fault queue's descriptor. Section H. */
class WriteScenariosTest {
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

    /** Raises so many groups and reads them: cookies 1, 2, 3. */
    private void delivered(int groups) {
        for (int i = 1; i <= groups; i++) {
            faults.last(faults.first, 4, i, 0x1000L * i);
        }
        assertEquals(40L * groups, faults.read(fd, 40L * groups));
    }

    @Test
    void scenarios124And125TheTwoAnswers() {
        delivered(2);
        assertEquals(8, faults.write(fd, 1, 0));
        assertEquals(8, faults.write(fd, 2, 1));
        assertEquals(FaultProgram.all("0 4/1 0", "0 4/2 1"), faults.told());
    }

    @Test
    void scenarios126And127OtherCodes() {
        delivered(1);
        assertEquals(-EINVAL, faults.write(fd, 1, 2));
        assertEquals(-EINVAL, faults.write(fd, 1, -1));
        assertEquals(List.of(), faults.told());
        assertEquals(8, faults.write(fd, 1, 0));
    }

    @Test
    void scenario128CookiesThatNobodyGave() {
        assertEquals(-EINVAL, faults.write(fd, 0, 0));
        assertEquals(-EINVAL, faults.write(fd, 12345, 0));
    }

    @Test
    void scenario129NotReadYet() {
        faults.last(faults.first, 4, 1, 0x1000);
        assertEquals(-EINVAL, faults.write(fd, 1, 0));
    }

    @Test
    void scenario130AnsweredAlready() {
        delivered(1);
        assertEquals(8, faults.write(fd, 1, 0));
        assertEquals(-EINVAL, faults.write(fd, 1, 0));
        assertEquals(FaultProgram.all("0 4/1 0"), faults.told());
    }

    @Test
    void scenarios131And132Counts() {
        for (int count : List.of(4, 12, 7)) {
            assertEquals(-ESPIPE, calls.write(fd, Program.ARENA, count));
        }
        assertEquals(0, calls.write(fd, Program.ARENA, 0));
    }

    @Test
    void scenario133UpToTheFirstThatIsRefused() {
        delivered(3);
        assertEquals(8, faults.write(fd, 1, 0, 99, 0, 3, 0));
        assertEquals(FaultProgram.all("0 4/1 0"), faults.told());
        assertEquals(-EINVAL, faults.write(fd, 99, 0, 3, 0));
        assertEquals(8, faults.write(fd, 3, 0));
    }

    @Test
    void scenario134OutOfOrder() {
        delivered(2);
        assertEquals(16, faults.write(fd, 2, 0, 1, 1));
        assertEquals(FaultProgram.all("0 4/2 0", "0 4/1 1"), faults.told());
    }

    @Test
    void scenarios135And136WhatCannotBeRead() {
        delivered(2);
        assertEquals(-EFAULT, calls.write(fd, 0x7000_0000L, 8));
        faults.program.memory.map(0x7000_0000L, MemorySegment.ofArray(new int[] {1, 0, 2}), true);
        assertEquals(8, calls.write(fd, 0x7000_0000L, 16));
        assertEquals(FaultProgram.all("0 4/1 0"), faults.told());
    }

    @Test
    void scenario137EachQueueHasItsCookies() {
        int[] second = faults.program.faults();
        assertEquals(0, faults.attachPasid(faults.first, 9, faults.faulting(second)));
        delivered(1);
        faults.last(faults.first, 9, 7, 0x9000);
        assertEquals("[3 9/7 cookie 1]", faults.messages(second[1], 1).toString());
        assertEquals(8, faults.write(fd, 1, 0));
        assertEquals(FaultProgram.all("0 4/1 0"), faults.told());
        assertEquals(8, faults.write(second[1], 1, 1));
        assertEquals(FaultProgram.all("0 9/7 1"), faults.told());
    }

    /** Answers of one write reach several devices in the order they were written. */
    @Test
    void answersGoOutAsTheyWereWritten() {
        Program.Device second = faults.program.device(faults.ioas, 0);
        assertEquals(0, faults.program.replace(second, faults.faulting(faults.queue)));
        faults.last(faults.first, 0, 1, 0);
        faults.last(second, 0, 2, 0);
        faults.last(faults.first, 0, 3, 0);
        assertEquals(120, faults.read(fd, 120));
        assertEquals(24, faults.write(fd, 1, 0, 2, 0, 3, 1));
        assertEquals(FaultProgram.all("0 0/1 0", "1 0/2 0", "0 0/3 1"), faults.told());
    }
}
