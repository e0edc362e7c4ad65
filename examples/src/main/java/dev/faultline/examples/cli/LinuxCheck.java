package dev.faultline.examples.cli;

import dev.faultline.ffm.EpollCalls;
import dev.faultline.ffm.Errno;
import dev.faultline.ffm.IoUring;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.MemoryCalls;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;

/** What the programs use of Linux, each tried. None of it is needed by the main job. Threads: one. */
final class LinuxCheck {
    private static final int PAGE = 4096;
    private static final long UFFD_API = 0xaa;
    private static final long UFFDIO_API = 0xc018_aa3fL;

    private LinuxCheck() {}

    static List<Finding> all() throws InterruptedException {
        List<Finding> findings = new ArrayList<>();
        Optional<String> missing = LinuxCalls.missing().or(MemoryCalls::missing).or(EpollCalls::missing);
        if (missing.isPresent()) {
            findings.add(Finding.no(
                    "Linux calls", missing.get(), "start through ./faultline, on Linux; nothing below can be tried"));
            return findings;
        }
        findings.add(Finding.yes("Linux calls", "the C library is linked"));
        findings.add(affinity());
        findings.add(ioUring());
        try (LinuxCalls linux = LinuxCalls.open();
                MemoryCalls memory = MemoryCalls.open();
                EpollCalls epoll = EpollCalls.open()) {
            findings.add(socketPair(linux));
            findings.add(eventfd(linux, epoll));
            findings.add(memfd(linux, memory));
            findings.add(userfaultfd(linux, memory));
        }
        findings.add(iommufd(Path.of("/dev/iommu")));
        return findings;
    }

    /** On a thread of its own, which is then where it was put. */
    private static Finding affinity() throws InterruptedException {
        AtomicReference<Finding> found = new AtomicReference<>();
        Thread.ofPlatform()
                .name("faultline-doctor")
                .start(() -> {
                    try (LinuxCalls linux = LinuxCalls.open()) {
                        int[] cpus = linux.affinity();
                        int error = linux.setAffinity(cpus[0]);
                        found.set(
                                error < 0
                                        ? Finding.no(
                                                "affinity",
                                                "sched_setaffinity: " + Errno.name(-error),
                                                "let it through the seccomp filter; figures of the laboratory need it")
                                        : cpus.length > 1
                                                ? Finding.yes(
                                                        "affinity", "threads can be put on " + cpus.length + " cores")
                                                : Finding.limited(
                                                        "affinity",
                                                        "one core only, number " + cpus[0],
                                                        "taskset or the container gives this process more"));
                    } catch (RuntimeException e) {
                        found.set(Finding.no("affinity", e.toString(), "let sched_getaffinity through the filter"));
                    }
                })
                .join();
        Finding finding = found.get();
        return finding == null ? Finding.no("affinity", "the thread ended without a word", "") : finding;
    }

    private static Finding ioUring() {
        try (IoUring ring = IoUring.open(8, 16)) {
            if (!ring.nop(1) || ring.submitAndWait(1, 1_000_000_000L) != 1 || ring.ready() != 1) {
                return Finding.no("io_uring", "a no-op did not complete", "try a newer kernel");
            }
            ring.advance(1);
            List<String> limits = ring.limits();
            return limits.isEmpty()
                    ? Finding.yes("io_uring", "with all that is used of it")
                    : Finding.limited(
                            "io_uring", String.join("; ", limits), "a newer kernel, where the kernel is the reason");
        } catch (UnsupportedOperationException e) {
            String[] said = String.valueOf(e.getMessage()).split("; ", 2);
            return Finding.no("io_uring", said[0], said.length > 1 ? said[1] : "Linux 5.11 or newer");
        }
    }

    private static Finding socketPair(LinuxCalls linux) {
        int[] fds = new int[2];
        int error = linux.socketpair(LinuxCalls.SOCK_SEQPACKET, fds);
        if (error < 0) {
            return refused("local sockets", "socketpair", -error);
        }
        int _ = linux.close(fds[0]);
        int _ = linux.close(fds[1]);
        return Finding.yes("local sockets", "a queue can be served to another process");
    }

    private static Finding eventfd(LinuxCalls linux, EpollCalls epoll) {
        int counter = linux.eventfd(1, true);
        if (counter < 0) {
            return refused("eventfd, epoll", "eventfd", -counter);
        }
        int set = epoll.create();
        try {
            if (set < 0) {
                return refused("eventfd, epoll", "epoll_create1", -set);
            }
            int added = epoll.add(set, counter, EpollCalls.IN, 42);
            if (added < 0 || epoll.await(set, 0) != 1 || epoll.data(0) != 42) {
                return Finding.no("eventfd, epoll", "a counter that is not 0 is not seen", "try a newer kernel");
            }
            return Finding.yes("eventfd, epoll", "a queue can sit in somebody's event loop");
        } finally {
            int _ = linux.close(counter);
            if (set >= 0) {
                int _ = linux.close(set);
            }
        }
    }

    private static Finding memfd(LinuxCalls linux, MemoryCalls memory) {
        int fd = memory.memfdCreate("faultline-doctor");
        if (fd < 0) {
            return refused("memfd", "memfd_create", -fd);
        }
        try {
            if (memory.ftruncate(fd, PAGE) < 0
                    || memory.addSeals(fd, MemoryCalls.SEAL_SHRINK | MemoryCalls.SEAL_GROW) < 0
                    || memory.ftruncate(fd, 0) != -Errno.EPERM) {
                return Finding.no("memfd", "a seal does not hold", "try a newer kernel");
            }
            long address = memory.map(fd, 0, PAGE);
            if (address < 0) {
                return refused("memfd", "mmap", (int) -address);
            }
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment page = MemoryCalls.mapped(address, PAGE, arena);
                SharedWords.putLong(page, 0, 1);
            }
            int _ = memory.unmap(address, PAGE);
            return Finding.yes("memfd", "memory of a fixed size can be handed to another process");
        } finally {
            int _ = linux.close(fd);
        }
    }

    private static Finding userfaultfd(LinuxCalls linux, MemoryCalls memory) {
        int fd = memory.userfaultfd();
        if (fd < 0) {
            return fd == -Errno.EPERM
                    ? Finding.no(
                            "userfaultfd",
                            "userfaultfd: EPERM",
                            "sysctl vm.unprivileged_userfaultfd=1, and a seccomp filter that lets it through")
                    : refused("userfaultfd", "userfaultfd", -fd);
        }
        // struct uffdio_api { u64 api; u64 features; u64 ioctls; }
        try (Region api = Region.allocate(24)) {
            SharedWords.putLong(api.segment(), 0, UFFD_API);
            int error = linux.ioctl(fd, UFFDIO_API, api.segment());
            return error < 0
                    ? refused("userfaultfd", "UFFDIO_API", -error)
                    : Finding.yes(
                            "userfaultfd",
                            "page faults of this process, features 0x"
                                    + Long.toHexString(SharedWords.getLong(api.segment(), 8)));
        } finally {
            int _ = linux.close(fd);
        }
    }

    static Finding iommufd(Path device) {
        String item = device.toString();
        if (!Files.exists(device)) {
            return Finding.no(
                    item,
                    "not there",
                    "modprobe iommufd, on Linux 6.11 or newer with an IOMMU that has page requests; the emulator needs"
                            + " none");
        }
        try (FileChannel _ = FileChannel.open(device, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            return Finding.yes(item, "can be opened");
        } catch (AccessDeniedException e) {
            return Finding.limited(
                    item, "there, but not for this user", "run as its owner, or change its mode by udev");
        } catch (IOException e) {
            return Finding.limited(item, "there, but cannot be opened: " + e.getMessage(), "see the kernel's log");
        }
    }

    private static Finding refused(String item, String call, int errno) {
        return Finding.no(
                item,
                call + ": " + Errno.name(errno),
                switch (errno) {
                    case Errno.ENOSYS -> "a kernel that has it, or a sandbox that lets it through";
                    case Errno.EPERM, Errno.EACCES -> "a seccomp filter that lets it through";
                    case Errno.EMFILE -> "ulimit -n";
                    default -> "see the manual page of " + call;
                });
    }
}
