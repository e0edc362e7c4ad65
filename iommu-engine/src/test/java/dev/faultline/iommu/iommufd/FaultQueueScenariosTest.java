package dev.faultline.iommu.iommufd;

import static dev.faultline.ffm.Errno.EBUSY;
import static dev.faultline.ffm.Errno.EMFILE;
import static dev.faultline.ffm.Errno.EOPNOTSUPP;
import static dev.faultline.ffm.Errno.ESPIPE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The fault queue as an object, and what holds it. Section E, and teardown in every order. */
class FaultQueueScenariosTest {
    private static final int F_GETFD = 1;
    private static final int F_GETFL = 3;

    private final FaultProgram faults = new FaultProgram();
    private final Program program = faults.program;
    private final SystemCalls calls = faults.calls;

    @AfterEach
    void close() {
        faults.close();
    }

    @Test
    void scenarios82And83MakingOne() {
        assertNotEquals(0, faults.queue[0]);
        assertEquals(1, calls.fcntl(faults.fd, F_GETFD, 0), "close-on-exec");
        assertEquals(2, calls.fcntl(faults.fd, F_GETFL, 0), "read-write");
        assertEquals(-EOPNOTSUPP, program.ioctl(0x3b8e, 0, 1, 0, 0));
    }

    @Test
    void scenarios84To86TheOrderOfDestroying() {
        int table = faults.attachFaulting();
        assertEquals(-EBUSY, program.destroy(faults.queue[0]), "its descriptor is open");
        assertEquals(0, calls.close(faults.fd));
        assertEquals(-EBUSY, program.destroy(faults.queue[0]), "a table uses it");
        assertEquals(-EBUSY, program.destroy(table), "a device is attached");
        assertEquals(0, program.replace(faults.first, faults.ioas));
        assertEquals(0, program.destroy(table));
        assertEquals(0, program.destroy(faults.queue[0]));
    }

    @Test
    void scenario87EveryDuplicateHolds() {
        int second = calls.dup(faults.fd);
        int third = calls.dup(faults.fd);
        assertEquals(0, calls.close(faults.fd));
        assertEquals(-EBUSY, program.destroy(faults.queue[0]));
        assertEquals(0, calls.close(second));
        assertEquals(-EBUSY, program.destroy(faults.queue[0]));
        assertEquals(0, calls.close(third));
        assertEquals(0, program.destroy(faults.queue[0]));
    }

    @Test
    void scenario88TablesUseAQueueThatIsClosed() {
        assertEquals(0, calls.close(faults.fd));
        int table = faults.faulting(faults.queue);
        assertEquals(0, program.replace(faults.first, table));
        faults.last(faults.first, 0, 1, 0x1000);
        assertEquals(List.of(), faults.told());
        assertEquals(0, program.replace(faults.first, faults.ioas));
        assertEquals(FaultProgram.all("0 0/1 1"), faults.told());
    }

    @Test
    void scenario89TheContextLivesWithItsQueue() {
        int table = faults.attachFaulting();
        faults.last(faults.first, 5, 1, 0x5000);
        faults.partial(faults.first, 5, 2, 0x6000);
        assertEquals(0, calls.close(program.fd));
        assertEquals(List.of(), faults.told(), "nothing is torn down");
        List<FaultProgram.Message> read = faults.messages(faults.fd, 1);
        assertEquals("[3 5/1 cookie 1]", read.toString());
        assertEquals(faults.first.id(), read.getFirst().device());
        assertTrue(table > 0);
        assertEquals(0, calls.close(faults.fd));
        assertEquals(FaultProgram.all("0 5/1 1"), faults.told(), "with its last descriptor everything goes");
    }

    @Test
    void scenario90NoPositions() {
        assertEquals(-ESPIPE, calls.pread(faults.fd, Program.ARENA, 40, 0));
        assertEquals(-ESPIPE, calls.pwrite(faults.fd, Program.ARENA, 8, 0));
        assertEquals(-ESPIPE, calls.lseek(faults.fd, 0, 0));
    }

    @Test
    void withoutDescriptorsThereIsNoQueue() {
        calls.limitDescriptors(faults.fd + 1);
        assertEquals(-EMFILE, program.ioctl(0x3b8e, 0, 0, 0, 0));
        calls.limitDescriptors(1024);
        assertEquals(faults.queue[0] + 1, program.faults()[0], "no id was used up");
    }

    /** Context descriptor, fault descriptor and device in every order, with groups assembling, queued and delivered. */
    @Test
    void scenario149TheProcessGoesAwayInEveryOrder() {
        int[][] orders = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        for (int[] order : orders) {
            try (FaultProgram dying = new FaultProgram()) {
                Program.Device bystander = dying.program.device(dying.ioas, 0);
                int[] elsewhere = dying.program.faults();
                int table = dying.faulting(dying.queue);
                int other = dying.faulting(elsewhere);
                assertEquals(0, dying.program.replace(dying.first, table));
                assertEquals(0, dying.program.replace(bystander, other));
                dying.last(dying.first, 0, 1, 0x1000);
                assertEquals(1, dying.messages(dying.fd, 1).size());
                dying.last(dying.first, 7, 2, 0x2000);
                dying.last(dying.first, 0, 3, 0x3000);
                dying.partial(dying.first, 0, 4, 0x4000);
                dying.last(bystander, 0, 9, 0x9000);
                boolean contextOpen = true;
                for (int step : order) {
                    switch (step) {
                        case 0 -> {
                            assertEquals(0, dying.calls.close(dying.program.fd));
                            contextOpen = false;
                        }
                        case 1 -> assertEquals(0, dying.calls.close(dying.fd));
                        default -> {
                            if (contextOpen) {
                                assertEquals(0, dying.program.destroy(dying.first.mock()));
                                assertEquals(
                                        FaultProgram.all("0 0/3 1", "0 7/2 1", "0 0/1 1"),
                                        dying.told(),
                                        "at its detach");
                            }
                        }
                    }
                }
                assertEquals(
                        1,
                        dying.messages(elsewhere[1], 4).size(),
                        "the context lives with the other queue, whose device is not touched");
                assertEquals(0, dying.calls.close(elsewhere[1]));
                if (contextOpen) {
                    assertEquals(0, dying.calls.close(dying.program.fd));
                }
                List<String> told = dying.told();
                assertTrue(told.contains("1 0/9 1"), () -> told.toString());
            }
        }
    }
}
