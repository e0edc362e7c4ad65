package dev.faultline.ffm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Every size, offset and number that is passed to the kernel: against what was recorded, always, and against what the kernel's own
 * headers say here, where there are a C compiler and headers.
 */
class AbiTest {
    private static final boolean X86_64 = System.getProperty("os.arch").equals("amd64");

    /** What older headers do not have. Linux 6.1 has all else. */
    private static final Set<String> NEWER = Set.of("IORING_SETUP_NO_SQARRAY");

    @TempDir
    private Path directory;

    @Test
    void ourNumbersAreTheRecordedOnes() throws Exception {
        assertEquals(recorded(), ours());
    }

    @Test
    void theKernelsHeadersSayTheSame() throws Exception {
        Path compiler = Path.of("/usr/bin/cc");
        assumeTrue(Files.isExecutable(compiler), "there is no " + compiler);
        Path source = directory.resolve("abi.c");
        Files.writeString(source, resource("abi.c"));
        String[] compiled = run(compiler.toString(), "-o", "abi", source.toString());
        assumeTrue(
                compiled[0].equals("0") || !compiled[1].contains("No such file or directory"),
                () -> "headers are missing: " + compiled[1]);
        assertEquals("0", compiled[0], compiled[1]);
        String[] said = run(directory.resolve("abi").toString());
        assertEquals("0", said[0], said[1]);
        Map<String, Long> theirs = new TreeMap<>();
        said[1].lines()
                .forEach(line -> theirs.put(name(line), Long.parseLong(line.substring(line.lastIndexOf(' ') + 1))));
        Map<String, Long> ours = ours();
        Set<String> missing = new TreeSet<>(ours.keySet());
        missing.removeAll(theirs.keySet());
        missing.removeAll(NEWER);
        boolean allIommu = missing.stream().allMatch(n -> n.contains("iommu_hwpt_") || n.startsWith("IOMMU"));
        assertTrue(allIommu, () -> "not said by the headers: " + missing);
        assertTrue(missing.isEmpty() || missing.size() == 20, () -> "half of the fault queue: " + missing);
        ours.keySet().retainAll(theirs.keySet());
        assertEquals(theirs, ours);
    }

    @Test
    void theRecordNamesEachNumberOnce() throws Exception {
        List<String> lines =
                resource("abi.txt").lines().filter(l -> !l.startsWith("#")).toList();
        assertEquals(lines.size(), lines.stream().map(AbiTest::name).distinct().count());
        assertFalse(lines.isEmpty());
    }

    private String[] run(String... command) throws Exception {
        Path out = directory.resolve("out");
        Process process = new ProcessBuilder(command)
                .directory(directory.toFile())
                .redirectErrorStream(true)
                .redirectOutput(out.toFile())
                .start();
        if (!process.waitFor(60, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new AssertionError("still running: " + String.join(" ", command));
        }
        return new String[] {Integer.toString(process.exitValue()), Files.readString(out)};
    }

    private static String resource(String name) throws IOException {
        try (InputStream in = Objects.requireNonNull(AbiTest.class.getResourceAsStream(name))) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    private static String name(String line) {
        return line.substring(0, line.indexOf(' '));
    }

    private static Map<String, Long> recorded() throws IOException {
        Map<String, Long> recorded = new TreeMap<>();
        resource("abi.txt").lines().filter(l -> !l.startsWith("#")).forEach(line -> {
            String[] words = line.split(" ", -1);
            recorded.put(words[0], Long.parseLong(words[X86_64 ? 1 : words.length - 1]));
        });
        return recorded;
    }

    private static void put(Map<String, Long> numbers, String name, long value) {
        assertEquals(null, numbers.put(name, value), name);
    }

    private static Map<String, Long> ours() {
        Map<String, Long> ours = new TreeMap<>();
        put(ours, "sizeof(io_uring_sqe)", IoUringLayout.SQE_BYTES);
        put(ours, "io_uring_sqe.fd", IoUringLayout.SQE_FD);
        put(ours, "io_uring_sqe.off", IoUringLayout.SQE_OFF);
        put(ours, "io_uring_sqe.addr", IoUringLayout.SQE_ADDR);
        put(ours, "io_uring_sqe.len", IoUringLayout.SQE_LEN);
        put(ours, "io_uring_sqe.msg_flags", IoUringLayout.SQE_OP_FLAGS);
        put(ours, "io_uring_sqe.user_data", IoUringLayout.SQE_USER_DATA);
        put(ours, "io_uring_sqe.buf_index", IoUringLayout.SQE_BUF_INDEX);
        put(ours, "io_uring_sqe.addr3", IoUringLayout.SQE_ADDR3);
        put(ours, "sizeof(io_uring_cqe)", IoUringLayout.CQE_BYTES);
        put(ours, "io_uring_cqe.user_data", IoUringLayout.CQE_USER_DATA);
        put(ours, "io_uring_cqe.res", IoUringLayout.CQE_RES);
        put(ours, "io_uring_cqe.flags", IoUringLayout.CQE_FLAGS);
        put(ours, "sizeof(io_uring_params)", IoUringLayout.PARAMS_BYTES);
        put(ours, "io_uring_params.sq_entries", IoUringLayout.PARAMS_SQ_ENTRIES);
        put(ours, "io_uring_params.cq_entries", IoUringLayout.PARAMS_CQ_ENTRIES);
        put(ours, "io_uring_params.flags", IoUringLayout.PARAMS_FLAGS);
        put(ours, "io_uring_params.features", IoUringLayout.PARAMS_FEATURES);
        put(ours, "io_uring_params.sq_off", IoUringLayout.PARAMS_SQ_OFF);
        put(ours, "io_uring_params.cq_off", IoUringLayout.PARAMS_CQ_OFF);
        put(ours, "sizeof(io_sqring_offsets)", IoUringLayout.SQ_OFF_BYTES);
        put(ours, "io_sqring_offsets.tail", IoUringLayout.SQ_OFF_TAIL);
        put(ours, "io_sqring_offsets.flags", IoUringLayout.SQ_OFF_FLAGS);
        put(ours, "io_sqring_offsets.array", IoUringLayout.SQ_OFF_ARRAY);
        put(ours, "sizeof(io_cqring_offsets)", IoUringLayout.CQ_OFF_BYTES);
        put(ours, "io_cqring_offsets.head", IoUringLayout.CQ_OFF_HEAD);
        put(ours, "io_cqring_offsets.tail", IoUringLayout.CQ_OFF_TAIL);
        put(ours, "io_cqring_offsets.overflow", IoUringLayout.CQ_OFF_OVERFLOW);
        put(ours, "io_cqring_offsets.cqes", IoUringLayout.CQ_OFF_CQES);
        put(ours, "sizeof(io_uring_getevents_arg)", IoUringLayout.GETEVENTS_ARG_BYTES);
        put(ours, "io_uring_getevents_arg.ts", IoUringLayout.GETEVENTS_ARG_TS);
        put(ours, "sizeof(__kernel_timespec)", IoUringLayout.TIMESPEC_BYTES);
        put(ours, "__kernel_timespec.tv_nsec", IoUringLayout.TIMESPEC_NSEC);
        put(ours, "sizeof(io_uring_rsrc_update)", IoUringLayout.RSRC_UPDATE_BYTES);
        put(ours, "io_uring_rsrc_update.data", IoUringLayout.RSRC_UPDATE_DATA);
        put(ours, "sizeof(io_uring_sync_cancel_reg)", IoUringLayout.SYNC_CANCEL_BYTES);
        put(ours, "io_uring_sync_cancel_reg.flags", IoUringLayout.SYNC_CANCEL_FLAGS);
        put(ours, "io_uring_sync_cancel_reg.timeout", IoUringLayout.SYNC_CANCEL_TIMEOUT);
        put(ours, "IORING_OP_NOP", IoUringLayout.OP_NOP);
        put(ours, "IORING_OP_POLL_ADD", IoUringLayout.OP_POLL_ADD);
        put(ours, "IORING_OP_ASYNC_CANCEL", IoUringLayout.OP_ASYNC_CANCEL);
        put(ours, "IORING_OP_READ", IoUringLayout.OP_READ);
        put(ours, "IORING_OP_WRITE", IoUringLayout.OP_WRITE);
        put(ours, "IORING_OP_SEND", IoUringLayout.OP_SEND);
        put(ours, "IORING_OP_RECV", IoUringLayout.OP_RECV);
        put(ours, "IORING_SETUP_CQSIZE", IoUringLayout.SETUP_CQSIZE);
        put(ours, "IORING_SETUP_R_DISABLED", IoUringLayout.SETUP_R_DISABLED);
        put(ours, "IORING_SETUP_SUBMIT_ALL", IoUringLayout.SETUP_SUBMIT_ALL);
        put(ours, "IORING_SETUP_COOP_TASKRUN", IoUringLayout.SETUP_COOP_TASKRUN);
        put(ours, "IORING_SETUP_TASKRUN_FLAG", IoUringLayout.SETUP_TASKRUN_FLAG);
        put(ours, "IORING_SETUP_SINGLE_ISSUER", IoUringLayout.SETUP_SINGLE_ISSUER);
        put(ours, "IORING_SETUP_DEFER_TASKRUN", IoUringLayout.SETUP_DEFER_TASKRUN);
        put(ours, "IORING_SETUP_NO_SQARRAY", IoUringLayout.SETUP_NO_SQARRAY);
        put(ours, "IORING_FEAT_SINGLE_MMAP", IoUringLayout.FEAT_SINGLE_MMAP);
        put(ours, "IORING_FEAT_NODROP", IoUringLayout.FEAT_NODROP);
        put(ours, "IORING_FEAT_EXT_ARG", IoUringLayout.FEAT_EXT_ARG);
        put(ours, "IORING_OFF_SQ_RING", IoUringLayout.OFF_SQ_RING);
        put(ours, "IORING_OFF_SQES", IoUringLayout.OFF_SQES);
        put(ours, "IORING_ENTER_GETEVENTS", IoUringLayout.ENTER_GETEVENTS);
        put(ours, "IORING_ENTER_EXT_ARG", IoUringLayout.ENTER_EXT_ARG);
        put(ours, "IORING_ENTER_REGISTERED_RING", IoUringLayout.ENTER_REGISTERED_RING);
        put(ours, "IORING_SQ_CQ_OVERFLOW", IoUringLayout.SQ_CQ_OVERFLOW);
        put(ours, "IORING_SQ_TASKRUN", IoUringLayout.SQ_TASKRUN);
        put(ours, "IORING_REGISTER_FILES", IoUringLayout.REGISTER_FILES);
        put(ours, "IORING_REGISTER_ENABLE_RINGS", IoUringLayout.REGISTER_ENABLE_RINGS);
        put(ours, "IORING_REGISTER_RING_FDS", IoUringLayout.REGISTER_RING_FDS);
        put(ours, "IORING_UNREGISTER_RING_FDS", IoUringLayout.UNREGISTER_RING_FDS);
        put(ours, "IORING_REGISTER_SYNC_CANCEL", IoUringLayout.REGISTER_SYNC_CANCEL);
        put(ours, "IOSQE_FIXED_FILE", IoUring.FIXED_FILE);
        put(ours, "IOSQE_CQE_SKIP_SUCCESS", IoUring.SKIP_SUCCESS);
        put(ours, "IORING_ASYNC_CANCEL_ALL", IoUringLayout.ASYNC_CANCEL_ALL);
        put(ours, "IORING_ASYNC_CANCEL_ANY", IoUringLayout.ASYNC_CANCEL_ANY);
        put(ours, "IORING_CQE_F_SOCK_NONEMPTY", IoUring.SOCKET_NOT_EMPTY);
        put(ours, "SYS_io_uring_setup", Abi.IO_URING_SETUP);
        put(ours, "SYS_io_uring_enter", Abi.IO_URING_ENTER);
        put(ours, "SYS_io_uring_register", Abi.IO_URING_REGISTER);
        put(ours, "SYS_userfaultfd", Abi.USERFAULTFD);
        put(ours, "sizeof(epoll_event)", Abi.EPOLL_EVENT_BYTES);
        put(ours, "epoll_event.data", Abi.EPOLL_EVENT_DATA_OFFSET);
        put(ours, "EPOLLIN", EpollCalls.IN);
        put(ours, "EPOLLOUT", EpollCalls.OUT);
        put(ours, "EPOLLHUP", EpollCalls.HUP);
        put(ours, "EPOLLET", EpollCalls.EDGE);
        put(ours, "EPOLL_CTL_ADD", EpollCalls.ADD);
        put(ours, "EPOLL_CTL_DEL", EpollCalls.DELETE);
        put(ours, "EPOLL_CTL_MOD", EpollCalls.MODIFY);
        put(ours, "EPOLL_CLOEXEC", EpollCalls.EPOLL_CLOEXEC);
        put(ours, "sizeof(pollfd)", LinuxCalls.POLLFD_BYTES);
        put(ours, "POLLIN", LinuxCalls.POLLIN);
        put(ours, "POLLOUT", LinuxCalls.POLLOUT);
        put(ours, "POLLERR", LinuxCalls.POLLERR);
        put(ours, "POLLHUP", LinuxCalls.POLLHUP);
        put(ours, "POLLNVAL", LinuxCalls.POLLNVAL);
        put(ours, "POLLRDNORM", LinuxCalls.POLLRDNORM);
        put(ours, "POLLRDHUP", LinuxCalls.POLLRDHUP);
        put(ours, "sockaddr_un.sun_path", SocketCalls.FAMILY_BYTES);
        put(ours, "sizeof(sockaddr_un)", SocketCalls.FAMILY_BYTES + SocketCalls.LONGEST_NAME + 1);
        put(ours, "AF_UNIX", LinuxCalls.AF_UNIX);
        put(ours, "SOL_SOCKET", LinuxCalls.SOL_SOCKET);
        put(ours, "SO_TYPE", LinuxCalls.SO_TYPE);
        put(ours, "SOCK_STREAM", LinuxCalls.SOCK_STREAM);
        put(ours, "SOCK_SEQPACKET", LinuxCalls.SOCK_SEQPACKET);
        put(ours, "SOCK_CLOEXEC", LinuxCalls.SOCK_CLOEXEC);
        put(ours, "MSG_NOSIGNAL", IoUring.MSG_NOSIGNAL);
        put(ours, "EFD_CLOEXEC", LinuxCalls.EFD_CLOEXEC);
        put(ours, "EFD_NONBLOCK", LinuxCalls.EFD_NONBLOCK);
        put(ours, "MFD_CLOEXEC", MemoryCalls.MFD_CLOEXEC);
        put(ours, "MFD_ALLOW_SEALING", MemoryCalls.MFD_ALLOW_SEALING);
        put(ours, "F_ADD_SEALS", MemoryCalls.F_ADD_SEALS);
        put(ours, "F_GET_SEALS", MemoryCalls.F_GET_SEALS);
        put(ours, "F_SEAL_SEAL", MemoryCalls.SEAL_SEAL);
        put(ours, "F_SEAL_SHRINK", MemoryCalls.SEAL_SHRINK);
        put(ours, "F_SEAL_GROW", MemoryCalls.SEAL_GROW);
        put(ours, "PROT_READ_WRITE", MemoryCalls.PROT_READ_WRITE);
        put(ours, "MAP_SHARED", MemoryCalls.MAP_SHARED);
        put(ours, "MAP_PRIVATE", MemoryCalls.MAP_PRIVATE);
        put(ours, "MAP_ANONYMOUS", MemoryCalls.MAP_ANONYMOUS);
        put(ours, "MAP_POPULATE", MemoryCalls.MAP_POPULATE);
        put(ours, "MADV_DONTNEED", MemoryCalls.DONT_NEED);
        put(ours, "MADV_DONTFORK", MemoryCalls.DONT_FORK);
        put(ours, "O_CLOEXEC", MemoryCalls.O_CLOEXEC);
        put(ours, "O_NONBLOCK", LinuxCalls.O_NONBLOCK);
        put(ours, "F_SETFL", LinuxCalls.F_SETFL);
        put(ours, "UFFD_USER_MODE_ONLY", MemoryCalls.UFFD_USER_MODE_ONLY);
        put(ours, "sizeof(iommu_hwpt_pgfault)", PageFaultLayout.SIZE);
        put(ours, "iommu_hwpt_pgfault.flags", PageFaultLayout.FLAGS_OFFSET);
        put(ours, "iommu_hwpt_pgfault.dev_id", PageFaultLayout.DEVICE_OFFSET);
        put(ours, "iommu_hwpt_pgfault.pasid", PageFaultLayout.PASID_OFFSET);
        put(ours, "iommu_hwpt_pgfault.grpid", PageFaultLayout.GROUP_OFFSET);
        put(ours, "iommu_hwpt_pgfault.perm", PageFaultLayout.PERM_OFFSET);
        put(ours, "iommu_hwpt_pgfault.addr", PageFaultLayout.ADDRESS_OFFSET);
        put(ours, "iommu_hwpt_pgfault.length", PageFaultLayout.LENGTH_OFFSET);
        put(ours, "iommu_hwpt_pgfault.cookie", PageFaultLayout.COOKIE_OFFSET);
        put(ours, "IOMMU_PGFAULT_FLAGS_PASID_VALID", PageFaultLayout.FLAG_PASID_VALID);
        put(ours, "IOMMU_PGFAULT_FLAGS_LAST_PAGE", PageFaultLayout.FLAG_LAST_PAGE);
        put(ours, "IOMMU_PGFAULT_PERM_READ", PageFaultLayout.PERM_READ);
        put(ours, "IOMMU_PGFAULT_PERM_WRITE", PageFaultLayout.PERM_WRITE);
        put(ours, "IOMMU_PGFAULT_PERM_EXEC", PageFaultLayout.PERM_EXEC);
        put(ours, "IOMMU_PGFAULT_PERM_PRIV", PageFaultLayout.PERM_PRIV);
        put(ours, "sizeof(iommu_hwpt_page_response)", PageResponseLayout.SIZE);
        put(ours, "iommu_hwpt_page_response.cookie", PageResponseLayout.COOKIE_OFFSET);
        put(ours, "iommu_hwpt_page_response.code", PageResponseLayout.CODE_OFFSET);
        put(ours, "IOMMUFD_PAGE_RESP_SUCCESS", PageResponseLayout.CODE_SUCCESS);
        put(ours, "IOMMUFD_PAGE_RESP_INVALID", PageResponseLayout.CODE_INVALID);
        return ours;
    }
}
