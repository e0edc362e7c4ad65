package dev.faultline.ffm;

/**
 * Where things lie in io_uring's structures, and its numbers, as far as {@link IoUring} uses them. Names are the kernel's.
 *
 * <p>Threads: stateless. Units: bytes; little-endian. Source: {@code include/uapi/linux/io_uring.h}, the same on all
 * architectures.
 */
final class IoUringLayout {
    // struct io_uring_sqe, in 64-bit words: opcode u8, flags u8, ioprio u16, fd s32; off; addr; len u32, op_flags u32;
    // user_data; buf_index u16, personality u16, splice_fd_in s32; addr3; padding.
    static final int SQE_BYTES = 64;
    static final int SQE_FD = 4;
    static final int SQE_OFF = 8;
    static final int SQE_ADDR = 16;
    static final int SQE_LEN = 24;
    static final int SQE_OP_FLAGS = 28;
    static final int SQE_USER_DATA = 32;
    static final int SQE_BUF_INDEX = 40;
    static final int SQE_ADDR3 = 48;
    static final int SQE_PAD = 56;

    // struct io_uring_cqe
    static final int CQE_BYTES = 16;
    static final int CQE_USER_DATA = 0;
    static final int CQE_RES = 8;
    static final int CQE_FLAGS = 12;

    // struct io_uring_params
    static final int PARAMS_BYTES = 120;
    static final int PARAMS_SQ_ENTRIES = 0;
    static final int PARAMS_CQ_ENTRIES = 4;
    static final int PARAMS_FLAGS = 8;
    static final int PARAMS_FEATURES = 20;
    static final int PARAMS_SQ_OFF = 40;
    static final int PARAMS_CQ_OFF = 80;

    // struct io_sqring_offsets
    static final int SQ_OFF_BYTES = 40;
    static final int SQ_OFF_TAIL = 4;
    static final int SQ_OFF_FLAGS = 16;
    static final int SQ_OFF_ARRAY = 24;

    // struct io_cqring_offsets
    static final int CQ_OFF_BYTES = 40;
    static final int CQ_OFF_HEAD = 0;
    static final int CQ_OFF_TAIL = 4;
    static final int CQ_OFF_OVERFLOW = 16;
    static final int CQ_OFF_CQES = 20;

    // struct io_uring_getevents_arg and struct __kernel_timespec
    static final int GETEVENTS_ARG_BYTES = 24;
    static final int GETEVENTS_ARG_TS = 16;
    static final int TIMESPEC_BYTES = 16;
    static final int TIMESPEC_NSEC = 8;

    // struct io_uring_rsrc_update and struct io_uring_sync_cancel_reg
    static final int RSRC_UPDATE_BYTES = 16;
    static final int RSRC_UPDATE_DATA = 8;
    static final int SYNC_CANCEL_BYTES = 64;
    static final int SYNC_CANCEL_FLAGS = 12;
    static final int SYNC_CANCEL_TIMEOUT = 16;

    static final int OP_NOP = 0;
    static final int OP_POLL_ADD = 6;
    static final int OP_ASYNC_CANCEL = 14;
    static final int OP_READ = 22;
    static final int OP_WRITE = 23;
    static final int OP_SEND = 26;
    static final int OP_RECV = 27;

    static final int SETUP_CQSIZE = 1 << 3;
    static final int SETUP_R_DISABLED = 1 << 6;
    static final int SETUP_SUBMIT_ALL = 1 << 7;
    static final int SETUP_COOP_TASKRUN = 1 << 8;
    static final int SETUP_TASKRUN_FLAG = 1 << 9;
    static final int SETUP_SINGLE_ISSUER = 1 << 12;
    static final int SETUP_DEFER_TASKRUN = 1 << 13;
    static final int SETUP_NO_SQARRAY = 1 << 16;

    static final int FEAT_SINGLE_MMAP = 1;
    static final int FEAT_NODROP = 1 << 1;
    static final int FEAT_EXT_ARG = 1 << 8;

    static final long OFF_SQ_RING = 0;
    static final long OFF_SQES = 0x1000_0000;

    static final int ENTER_GETEVENTS = 1;
    static final int ENTER_EXT_ARG = 1 << 3;
    static final int ENTER_REGISTERED_RING = 1 << 4;

    static final int SQ_CQ_OVERFLOW = 1 << 1;
    static final int SQ_TASKRUN = 1 << 2;

    static final int REGISTER_FILES = 2;
    static final int REGISTER_ENABLE_RINGS = 12;
    static final int REGISTER_RING_FDS = 20;
    static final int UNREGISTER_RING_FDS = 21;
    static final int REGISTER_SYNC_CANCEL = 24;

    static final int SQE_FIXED_FILE = 1;
    static final int SQE_CQE_SKIP_SUCCESS = 1 << 6;

    static final int ASYNC_CANCEL_ALL = 1;
    static final int ASYNC_CANCEL_ANY = 1 << 2;

    private IoUringLayout() {}
}
