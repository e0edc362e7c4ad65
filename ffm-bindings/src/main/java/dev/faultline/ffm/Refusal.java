package dev.faultline.ffm;

/**
 * Lets a test see what a machine that lacks something would see: calls that make a descriptor can be told to fail.
 *
 * <p>The system property {@code dev.faultline.refuse} is a list such as {@code io_uring_setup=EPERM,eventfd=ENOSYS}. Of {@code
 * io_uring_setup} one flag can be refused too, {@code io_uring_setup.DEFER_TASKRUN=EINVAL}, as an older kernel does. It is
 * looked at in each such call, none of which is on a hot path.
 *
 * <p>Threads: stateless.
 */
final class Refusal {
    /** The property's name. */
    static final String PROPERTY = "dev.faultline.refuse";

    private Refusal() {}

    /**
     * Whether a call is to be refused.
     *
     * @param call its name
     * @return the errno, or 0 to make the call
     * @throws IllegalArgumentException if the property cannot be understood
     */
    static int errno(String call) {
        String list = System.getProperty(PROPERTY, "");
        if (list.isEmpty()) {
            return 0;
        }
        int found = 0;
        for (String item : list.split(",", -1)) {
            int equals = item.indexOf('=');
            int errno = equals < 1 ? 0 : Errno.number(item.substring(equals + 1));
            if (errno == 0) {
                throw new IllegalArgumentException(
                        PROPERTY + "=" + list + ": allowed a list of CALL=ERRNO, such as eventfd=ENOSYS");
            }
            if (item.substring(0, equals).equals(call)) {
                found = errno;
            }
        }
        return found;
    }
}
