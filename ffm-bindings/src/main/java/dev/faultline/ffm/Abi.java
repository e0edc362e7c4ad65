package dev.faultline.ffm;

import java.util.Optional;

/**
 * What differs between the two architectures the Linux calls are written for, in one place.
 *
 * <p>Threads: stateless. Source: {@code arch/x86/entry/syscalls/syscall_64.tbl} and {@code include/uapi/asm-generic/unistd.h},
 * which AArch64 uses; from 424 on all architectures give a new call the same number, so io_uring's three are equal on both.
 */
final class Abi {
    private static final boolean X86_64 = System.getProperty("os.arch", "").equals("amd64");
    private static final boolean AARCH64 = System.getProperty("os.arch", "").equals("aarch64");

    static final long IO_URING_SETUP = 425;
    static final long IO_URING_ENTER = 426;
    static final long IO_URING_REGISTER = 427;
    static final long USERFAULTFD = X86_64 ? 323 : 282;

    /**
     * {@code struct epoll_event}: {@code u32 events; u64 data}. On x86-64 it is packed, so that 32-bit programs share it;
     * elsewhere the data is aligned.
     */
    static final int EPOLL_EVENT_DATA_OFFSET = X86_64 ? 4 : 8;

    static final int EPOLL_EVENT_BYTES = EPOLL_EVENT_DATA_OFFSET + 8;

    private Abi() {}

    /** Why the calls are not known to be right here. */
    static Optional<String> missing() {
        String system = System.getProperty("os.name", "");
        if (!system.equals("Linux")) {
            return Optional.of("os.name=" + system + ": these calls are Linux's");
        }
        if (!X86_64 && !AARCH64) {
            return Optional.of("os.arch=" + System.getProperty("os.arch", "") + ": allowed amd64, aarch64");
        }
        return Optional.empty();
    }
}
