package dev.faultline.ffm;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Makes an io_uring with the best flags that this kernel has, and says what it lacks.
 *
 * <p>Threads: stateless.
 */
final class IoUringSetup {
    private static final int DEFERRED = IoUringLayout.SETUP_SINGLE_ISSUER | IoUringLayout.SETUP_DEFER_TASKRUN;
    private static final int COOPERATIVE = IoUringLayout.SETUP_COOP_TASKRUN;
    private static final int PLAIN = IoUringLayout.SETUP_CQSIZE | IoUringLayout.SETUP_R_DISABLED;
    private static final int TOLD = IoUringLayout.SETUP_SUBMIT_ALL | IoUringLayout.SETUP_TASKRUN_FLAG;

    private static final String NO_INDIRECTION =
            "no NO_SQARRAY: Linux older than 6.6; the kernel looks each entry up in an array, 3 to 7 % of a no-op";
    private static final String NO_DEFER =
            "no SINGLE_ISSUER, DEFER_TASKRUN: Linux older than 6.1; completions are made when the kernel likes";
    private static final String NO_COOP =
            "no COOP_TASKRUN, SUBMIT_ALL: Linux older than 5.19; completions interrupt the thread, and a bad entry"
                    + " holds up those after it until the next submit";

    private static final int NEEDED_FEATURES =
            IoUringLayout.FEAT_SINGLE_MMAP | IoUringLayout.FEAT_NODROP | IoUringLayout.FEAT_EXT_ARG;

    private IoUringSetup() {}

    /**
     * What was made.
     *
     * @param fd the ring's descriptor
     * @param params {@code struct io_uring_params} as the kernel filled it in
     * @param limits what is missing, and what it costs
     */
    record Made(int fd, MemorySegment params, List<String> limits) {
        int flags() {
            return SharedWords.getInt(params, IoUringLayout.PARAMS_FLAGS);
        }
    }

    /**
     * Makes a ring.
     *
     * @param oneThread whether one thread only will use it
     * @throws UnsupportedOperationException with the reason and its remedy
     */
    static Made make(IoUringCalls calls, LinuxCalls linux, int submissions, int completions, boolean oneThread) {
        int[] tries = oneThread
                ? new int[] {
                    PLAIN | TOLD | DEFERRED | IoUringLayout.SETUP_NO_SQARRAY,
                    PLAIN | TOLD | DEFERRED,
                    PLAIN | TOLD | COOPERATIVE,
                    PLAIN
                }
                : new int[] {
                    PLAIN | TOLD | COOPERATIVE | IoUringLayout.SETUP_NO_SQARRAY, PLAIN | TOLD | COOPERATIVE, PLAIN
                };
        MemorySegment params = Arena.ofAuto().allocate(IoUringLayout.PARAMS_BYTES, 8);
        int fd = -Errno.EINVAL;
        for (int i = 0; i < tries.length && fd == -Errno.EINVAL; i++) {
            params.fill((byte) 0);
            SharedWords.putInt(params, IoUringLayout.PARAMS_FLAGS, tries[i]);
            SharedWords.putInt(params, IoUringLayout.PARAMS_CQ_ENTRIES, completions);
            int refused = refusal(tries[i]);
            fd = refused != 0 ? -refused : calls.setup(submissions, params);
        }
        if (fd < 0) {
            throw new UnsupportedOperationException(why(-fd, "/proc/sys/kernel/io_uring_disabled"));
        }
        int features = SharedWords.getInt(params, IoUringLayout.PARAMS_FEATURES);
        if ((features & NEEDED_FEATURES) != NEEDED_FEATURES || Refusal.errno("io_uring_setup.EXT_ARG") != 0) {
            int _ = linux.close(fd);
            throw new UnsupportedOperationException("io_uring has the features 0x" + Integer.toHexString(features)
                    + ", without EXT_ARG, NODROP or SINGLE_MMAP: Linux 5.11 or newer is needed");
        }
        return new Made(fd, params, limits(SharedWords.getInt(params, IoUringLayout.PARAMS_FLAGS), oneThread));
    }

    private static int refusal(int flags) {
        int refused = Refusal.errno("io_uring_setup");
        if (refused == 0 && (flags & IoUringLayout.SETUP_NO_SQARRAY) != 0) {
            refused = Refusal.errno("io_uring_setup.NO_SQARRAY");
        }
        if (refused == 0 && (flags & IoUringLayout.SETUP_DEFER_TASKRUN) != 0) {
            refused = Refusal.errno("io_uring_setup.DEFER_TASKRUN");
        }
        if (refused == 0 && (flags & IoUringLayout.SETUP_COOP_TASKRUN) != 0) {
            refused = Refusal.errno("io_uring_setup.COOP_TASKRUN");
        }
        return refused;
    }

    private static List<String> limits(int flags, boolean oneThread) {
        List<String> limits = new ArrayList<>();
        if ((flags & IoUringLayout.SETUP_NO_SQARRAY) == 0) {
            limits.add(NO_INDIRECTION);
        }
        if (oneThread && (flags & IoUringLayout.SETUP_DEFER_TASKRUN) == 0) {
            limits.add(NO_DEFER);
        }
        if ((flags & IoUringLayout.SETUP_SUBMIT_ALL) == 0) {
            limits.add(NO_COOP);
        }
        return limits;
    }

    /** Why {@code io_uring_setup} failed, and what to do about it. */
    static String why(int errno, String disabledFile) {
        String what = "io_uring_setup: " + Errno.name(errno) + ": ";
        return what
                + switch (errno) {
                    case Errno.ENOSYS ->
                        "this kernel has no io_uring; Linux 5.11 or newer with CONFIG_IO_URING is needed, and a"
                                + " sandbox that lets it through";
                    case Errno.EPERM -> refusedBy(disabledFile);
                    case Errno.ENOMEM -> "no memory, or more than may be locked; raise the limit with ulimit -l";
                    case Errno.EMFILE -> "too many descriptors are open; raise the limit with ulimit -n";
                    default -> "the kernel refuses a plain ring; Linux 5.11 or newer is needed";
                };
    }

    private static String refusedBy(String disabledFile) {
        String disabled = "";
        try {
            disabled = Files.readString(Path.of(disabledFile)).trim();
        } catch (IOException e) {
            // Linux older than 6.6 has no such setting: it is a filter.
        }
        return switch (disabled) {
            case "1" ->
                "kernel.io_uring_disabled=1 allows it to the group kernel.io_uring_group and to CAP_SYS_ADMIN; join"
                        + " the group, or sysctl kernel.io_uring_disabled=0";
            case "2" -> "kernel.io_uring_disabled=2 forbids it; sysctl kernel.io_uring_disabled=0";
            default ->
                "a seccomp filter forbids it, as containers do; let io_uring_setup, io_uring_enter and"
                        + " io_uring_register through";
        };
    }
}
