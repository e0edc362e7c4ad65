package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;

/**
 * The refusal of a call: the error number the program gets, and for people which field was wrong and what is allowed.
 *
 * <p>An answer, not a failure: it has no stack trace. Threads: immutable.
 */
public final class ErrnoException extends Exception {
    private static final long serialVersionUID = 1;

    /** An {@link Errno}. */
    private final int errno;
    /** What was wrong; empty if not one field. */
    private final String field;
    /** What is right there; empty if not one field. */
    private final String allowed;

    /**
     * A refusal that no field is the reason of.
     *
     * @param errno positive, one of {@link Errno}
     */
    public ErrnoException(int errno) {
        this(errno, "", "");
    }

    /**
     * A refusal for a field's value.
     *
     * @param errno positive, one of {@link Errno}
     * @param field of the command's structure, as the kernel's header names it
     * @param allowed what would not have been refused
     */
    public ErrnoException(int errno, String field, String allowed) {
        super(
                field.isEmpty() ? Errno.name(errno) : Errno.name(errno) + ": " + field + ": allowed " + allowed,
                null,
                false,
                false);
        this.errno = errno;
        this.field = field;
        this.allowed = allowed;
    }

    /**
     * The error number.
     *
     * @return positive
     */
    public int errno() {
        return errno;
    }

    /**
     * The field that was refused.
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
