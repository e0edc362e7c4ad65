package dev.faultline.examples.replay;

/**
 * One access of a trace in one long, so that a batch of them is an array and nothing is allocated for each.
 *
 * <pre>
 *  63..62  61..50     49..48  47..0
 *  0       bytes - 1  kind    address
 * </pre>
 */
final class TraceAccess {
    /** {@code  L}: read. */
    static final int LOAD = 0;

    /** {@code  S}: write. */
    static final int STORE = 1;

    /** {@code  M}: read, then write at the same place. */
    static final int MODIFY = 2;

    /** {@code I}: instruction fetch. */
    static final int EXECUTE = 3;

    static final int PAGE_BYTES = 4096;
    static final int ADDRESS_BITS = 48;
    static final long ADDRESS_LIMIT = 1L << ADDRESS_BITS;

    private static final int BYTES_SHIFT = 50;

    private TraceAccess() {}

    static long pack(int kind, long address, int bytes) {
        return (long) (bytes - 1) << BYTES_SHIFT | (long) kind << ADDRESS_BITS | address;
    }

    static int kind(long access) {
        return (int) (access >>> ADDRESS_BITS) & 3;
    }

    static long address(long access) {
        return access & (ADDRESS_LIMIT - 1);
    }

    /** The size in bytes, 1 to {@link #PAGE_BYTES}. */
    static int bytes(long access) {
        return (int) (access >>> BYTES_SHIFT) + 1;
    }
}
