package dev.faultline.ffm;

import java.util.Arrays;

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

    /** The hardware says no. */
    public static final int EIO = 5;

    /** Nothing at that place. */
    public static final int ENXIO = 6;

    /** Longer than is known here, and not zero there. */
    public static final int E2BIG = 7;

    /** Bad descriptor. */
    public static final int EBADF = 9;

    /** Nothing there now. */
    public static final int EAGAIN = 11;

    /** No memory. */
    public static final int ENOMEM = 12;

    /** The permission bits say no. */
    public static final int EACCES = 13;

    /** Bad address. */
    public static final int EFAULT = 14;

    /** Held by something. */
    public static final int EBUSY = 16;

    /** There already, or another thread's. */
    public static final int EEXIST = 17;

    /** No such device. */
    public static final int ENODEV = 19;

    /** Bad argument. */
    public static final int EINVAL = 22;

    /** Too many descriptors in this system. */
    public static final int ENFILE = 23;

    /** Too many descriptors in this process. */
    public static final int EMFILE = 24;

    /** Wrong kind of descriptor for the call. */
    public static final int ENOTTY = 25;

    /** Larger than a file may be. */
    public static final int EFBIG = 27;

    /** No room. */
    public static final int ENOSPC = 28;

    /** No seeking on this descriptor, and on a fault queue also: not a whole number of records. */
    public static final int ESPIPE = 29;

    /** The other end is gone. */
    public static final int EPIPE = 32;

    /** Too large to be rounded. */
    public static final int ERANGE = 34;

    /** Waiting would never end. */
    public static final int EDEADLK = 35;

    /** No such system call. */
    public static final int ENOSYS = 38;

    /** Not the page that was expected. */
    public static final int EBADE = 52;

    /** The time of a wait ran out. */
    public static final int ETIME = 62;

    /** The range wraps round. */
    public static final int EOVERFLOW = 75;

    /** Descriptor in the wrong state. */
    public static final int EBADFD = 77;

    /** No socket. */
    public static final int ENOTSOCK = 88;

    /** The message does not fit. */
    public static final int EMSGSIZE = 90;

    /** Not supported here. */
    public static final int EOPNOTSUPP = 95;

    /** The name is taken. */
    public static final int EADDRINUSE = 98;

    /** The other end went away. */
    public static final int ECONNRESET = 104;

    /** Nobody listens there. */
    public static final int ECONNREFUSED = 111;

    /** Under way, too late to stop. */
    public static final int EALREADY = 114;

    /** Cancelled. */
    public static final int ECANCELED = 125;

    private static final String[] NAMES = names();

    private Errno() {}

    /**
     * The name of an error number.
     *
     * @param errno a positive error number
     * @return its name as C spells it, or {@code errno N} where this class does not know it
     */
    public static String name(int errno) {
        String name = errno >= 0 && errno < NAMES.length ? NAMES[errno] : "";
        return name.isEmpty() ? "errno " + errno : name;
    }

    /** The number of a name, or 0 for one this class does not know. */
    static int number(String name) {
        return name.isEmpty() ? 0 : Math.max(0, Arrays.asList(NAMES).indexOf(name));
    }

    private static String[] names() {
        String[] names = new String[ECANCELED + 1];
        Arrays.fill(names, "");
        names[EPERM] = "EPERM";
        names[ENOENT] = "ENOENT";
        names[EINTR] = "EINTR";
        names[EIO] = "EIO";
        names[ENXIO] = "ENXIO";
        names[E2BIG] = "E2BIG";
        names[EBADF] = "EBADF";
        names[EAGAIN] = "EAGAIN";
        names[ENOMEM] = "ENOMEM";
        names[EACCES] = "EACCES";
        names[EFAULT] = "EFAULT";
        names[EBUSY] = "EBUSY";
        names[EEXIST] = "EEXIST";
        names[ENODEV] = "ENODEV";
        names[EINVAL] = "EINVAL";
        names[ENFILE] = "ENFILE";
        names[EMFILE] = "EMFILE";
        names[ENOTTY] = "ENOTTY";
        names[EFBIG] = "EFBIG";
        names[ENOSPC] = "ENOSPC";
        names[ESPIPE] = "ESPIPE";
        names[EPIPE] = "EPIPE";
        names[ERANGE] = "ERANGE";
        names[EDEADLK] = "EDEADLK";
        names[ENOSYS] = "ENOSYS";
        names[EBADE] = "EBADE";
        names[ETIME] = "ETIME";
        names[EOVERFLOW] = "EOVERFLOW";
        names[EBADFD] = "EBADFD";
        names[ENOTSOCK] = "ENOTSOCK";
        names[EMSGSIZE] = "EMSGSIZE";
        names[EOPNOTSUPP] = "EOPNOTSUPP";
        names[EADDRINUSE] = "EADDRINUSE";
        names[ECONNRESET] = "ECONNRESET";
        names[ECONNREFUSED] = "ECONNREFUSED";
        names[EALREADY] = "EALREADY";
        names[ECANCELED] = "ECANCELED";
        return names;
    }
}
