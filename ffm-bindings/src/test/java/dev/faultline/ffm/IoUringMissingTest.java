package dev.faultline.ffm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a machine is told that lacks io_uring, or some of it: the calls are refused here, as a filter or an older kernel would. */
class IoUringMissingTest {
    @TempDir
    private Path directory;

    private Leaks before;

    @BeforeEach
    void count() throws Exception {
        before = Leaks.count();
    }

    @AfterEach
    void nothingIsLeft() throws Exception {
        before.assertNone();
    }

    @Test
    void theReasonAndTheRemedyAreSaid() throws Exception {
        try (Refused _ = Refused.calls("io_uring_setup=ENOSYS")) {
            assertEquals(
                    Optional.of("io_uring_setup: ENOSYS: this kernel has no io_uring; Linux 5.11 or newer with"
                            + " CONFIG_IO_URING is needed, and a sandbox that lets it through"),
                    IoUring.missing());
            assertEquals(
                    IoUring.missing().orElseThrow(),
                    assertThrows(UnsupportedOperationException.class, () -> IoUring.open(8, 8))
                            .getMessage());
        }
        Path disabled = directory.resolve("io_uring_disabled");
        Files.writeString(disabled, "2\n");
        assertEquals(
                "io_uring_setup: EPERM: kernel.io_uring_disabled=2 forbids it; sysctl kernel.io_uring_disabled=0",
                IoUringSetup.why(Errno.EPERM, disabled.toString()));
        Files.writeString(disabled, "1\n");
        assertTrue(IoUringSetup.why(Errno.EPERM, disabled.toString()).contains("join the group"));
        Files.writeString(disabled, "0\n");
        assertTrue(IoUringSetup.why(Errno.EPERM, disabled.toString()).contains("a seccomp filter forbids it"));
        Files.delete(disabled);
        assertTrue(IoUringSetup.why(Errno.EPERM, disabled.toString()).contains("a seccomp filter forbids it"));
        assertTrue(IoUringSetup.why(Errno.ENOMEM, "").contains("ulimit -l"));
        assertTrue(IoUringSetup.why(Errno.EMFILE, "").contains("ulimit -n"));
        assertTrue(IoUringSetup.why(Errno.EINVAL, "").contains("Linux 5.11"));
    }

    @Test
    void anOlderKernelGivesAPlainerRingThatDoesTheSame() {
        assumeTrue(IoUring.missing().isEmpty(), () -> IoUring.missing().orElse(""));
        String[] ages = {
            "io_uring_setup.NO_SQARRAY=EINVAL",
            "io_uring_setup.NO_SQARRAY=EINVAL,io_uring_setup.DEFER_TASKRUN=EINVAL",
            "io_uring_setup.NO_SQARRAY=EINVAL,io_uring_setup.DEFER_TASKRUN=EINVAL,io_uring_setup.COOP_TASKRUN=EINVAL"
                    + ",io_uring_register.RING_FDS=EINVAL"
        };
        for (int age = 0; age < ages.length; age++) {
            try (Refused _ = Refused.calls(ages[age]);
                    IoUring ring = IoUring.open(8, 16);
                    IoUring any = IoUring.openForAnyThread(8, 16)) {
                for (IoUring each : new IoUring[] {ring, any}) {
                    for (int round = 0; round < 100; round++) {
                        for (int i = 0; i < 8; i++) {
                            assertTrue(each.nop(i));
                        }
                        assertEquals(8, each.submitAndWait(8, -1));
                        assertEquals(8, each.ready());
                        for (int i = 0; i < 8; i++) {
                            assertEquals(i, each.userData(i));
                        }
                        each.advance(8);
                    }
                }
                String limits = ring.limits().toString();
                assertTrue(limits.contains("no NO_SQARRAY"), limits);
                assertEquals(age >= 1, limits.contains("no SINGLE_ISSUER, DEFER_TASKRUN"), limits);
                assertEquals(age >= 2, limits.contains("no COOP_TASKRUN"), limits);
                assertEquals(age >= 2, limits.contains("no registered descriptor: EINVAL"), limits);
            }
        }
        try (Refused _ = Refused.calls("io_uring_setup.EXT_ARG=EINVAL")) {
            String why = IoUring.missing().orElseThrow();
            assertTrue(why.endsWith("Linux 5.11 or newer is needed"), why);
        }
    }

    @Test
    void otherCallsCanBeRefusedToo() {
        try (LinuxCalls linux = LinuxCalls.open();
                MemoryCalls memory = MemoryCalls.open();
                EpollCalls epoll = EpollCalls.open();
                Refused _ =
                        Refused.calls("eventfd=EMFILE,memfd_create=ENOSYS,epoll_create1=ENOMEM,userfaultfd=EPERM")) {
            assertEquals(-Errno.EMFILE, linux.eventfd(0, true));
            assertEquals(-Errno.ENOSYS, memory.memfdCreate("name"));
            assertEquals(-Errno.ENOMEM, epoll.create());
            assertEquals(-Errno.EPERM, memory.userfaultfd());
        }
        try (LinuxCalls linux = LinuxCalls.open();
                Refused _ = Refused.calls("eventfd=EWHAT")) {
            assertEquals(
                    "dev.faultline.refuse=eventfd=EWHAT: allowed a list of CALL=ERRNO, such as eventfd=ENOSYS",
                    assertThrows(IllegalArgumentException.class, () -> linux.eventfd(0, true))
                            .getMessage());
        }
        assertFalse(System.getProperties().containsKey(Refusal.PROPERTY));
    }
}
