package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;

/**
 * {@code /dev/iommu} refused a command of {@link Iommufd}: with which error, and as far as it is known for which field.
 *
 * <p>Threads: immutable.
 *
 * <p>Lifetime: the caller's. Source of its numbers: {@link Errno}, Linux 7.2 on x86-64.
 */
public final class IommufdException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** An error number of Linux. */
    private final int errno;
    /** What was refused. */
    private final String command;
    /** What was wrong in it; empty if not one field. */
    private final String field;
    /** What is right there; empty if not one field. */
    private final String allowed;

    IommufdException(int errno, String command, String field, String value, String allowed) {
        super(command + ": " + Errno.name(errno)
                + (field.isEmpty()
                        ? ""
                        : ": " + field + (value.isEmpty() ? "" : "=" + value) + ": allowed " + allowed));
        this.errno = errno;
        this.command = command;
        this.field = field;
        this.allowed = allowed;
    }

    /**
     * The error.
     *
     * @return one of {@link Errno}
     */
    public int errno() {
        return errno;
    }

    /**
     * The error's name.
     *
     * @return as C spells it
     */
    public String errnoName() {
        return Errno.name(errno);
    }

    /**
     * What was refused.
     *
     * @return the command's name in the kernel's header
     */
    public String command() {
        return command;
    }

    /**
     * Which field of the command's structure was refused.
     *
     * @return its name, empty if it was none
     */
    public String field() {
        return field;
    }

    /**
     * What the field may hold.
     *
     * @return for people, empty without field
     */
    public String allowed() {
        return allowed;
    }
}
