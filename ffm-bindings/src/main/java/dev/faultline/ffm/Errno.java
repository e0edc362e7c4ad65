package dev.faultline.ffm;

/**
 * The error numbers this project names, and their names.
 *
 * <p>Threads: stateless. Calls that follow the kernel's convention return a count, or the negative of one of these. Source:
 * {@code include/uapi/asm-generic/errno-base.h} and {@code errno.h}; the same on x86-64 and AArch64.
 */
public final class Errno {
    /** Operation not permitted. */
    public static final int EPERM = 1;

    /** No such object. */
    public static final int ENOENT = 2;

    /** Interrupted by a signal. */
    public static final int EINTR = 4;

    /** Bad descriptor. */
    public static final int EBADF = 9;

    /** Nothing there now. */
    public static final int EAGAIN = 11;

    /** No memory. */
    public static final int ENOMEM = 12;

    /** Bad address. */
    public static final int EFAULT = 14;

    /** Held by something. */
    public static final int EBUSY = 16;

    /** Bad argument. */
    public static final int EINVAL = 22;

    /** Too many descriptors in this process. */
    public static final int EMFILE = 24;

    /** Wrong kind of descriptor for the call. */
    public static final int ENOTTY = 25;

    /** No seeking on this descriptor, and on a fault queue also: not a whole number of records. */
    public static final int ESPIPE = 29;

    /** The other end is gone. */
    public static final int EPIPE = 32;

    /** No such system call. */
    public static final int ENOSYS = 38;

    /** No socket. */
    public static final int ENOTSOCK = 88;

    /** The message does not fit. */
    public static final int EMSGSIZE = 90;

    /** Not supported here. */
    public static final int EOPNOTSUPP = 95;

    /** The other end went away. */
    public static final int ECONNRESET = 104;

    private Errno() {}

    /**
     * The name of an error number.
     *
     * @param errno a positive error number
     * @return its name as C spells it, or {@code errno N} where this class does not know it
     */
    public static String name(int errno) {
        return switch (errno) {
            case EPERM -> "EPERM";
            case ENOENT -> "ENOENT";
            case EINTR -> "EINTR";
            case EBADF -> "EBADF";
            case EAGAIN -> "EAGAIN";
            case ENOMEM -> "ENOMEM";
            case EFAULT -> "EFAULT";
            case EBUSY -> "EBUSY";
            case EINVAL -> "EINVAL";
            case EMFILE -> "EMFILE";
            case ENOTTY -> "ENOTTY";
            case ESPIPE -> "ESPIPE";
            case EPIPE -> "EPIPE";
            case ENOSYS -> "ENOSYS";
            case ENOTSOCK -> "ENOTSOCK";
            case EMSGSIZE -> "EMSGSIZE";
            case EOPNOTSUPP -> "EOPNOTSUPP";
            case ECONNRESET -> "ECONNRESET";
            default -> "errno " + errno;
        };
    }
}
