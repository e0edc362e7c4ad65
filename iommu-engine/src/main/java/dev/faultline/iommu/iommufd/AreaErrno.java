package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.AreaResult;

/**
 * The error numbers of what an address space refuses.
 *
 * <p>Threads: stateless.
 *
 * <p>Immutable. Errors: its results are the kernel's error numbers. Source: {@code drivers/iommu/iommufd/io_pagetable.c}, Linux 7.2.
 */
public final class AreaErrno {
    private AreaErrno() {}

    /** The error number; 0 for {@link AreaResult#DONE}. */
    static int of(AreaResult result) {
        return switch (result) {
            case DONE -> 0;
            case REFUSED, RESERVED -> Errno.EINVAL;
            case WRAPS -> Errno.EOVERFLOW;
            case TAKEN -> Errno.EEXIST;
            case NO_SPACE -> Errno.ENOSPC;
            case NOT_MAPPED -> Errno.ENOENT;
            case BUSY -> Errno.EBUSY;
            case DENIED -> Errno.EPERM;
            case UNREACHABLE -> Errno.EFAULT;
            case NO_MEMORY -> Errno.ENOMEM;
            case IN_USE -> Errno.EADDRINUSE;
            case NOT_LET_GO -> Errno.EDEADLK;
        };
    }

    /** Goes on if it was done. */
    static void require(AreaResult result, String field, String allowed) throws ErrnoException {
        if (result != AreaResult.DONE) {
            throw new ErrnoException(of(result), field, allowed);
        }
    }

    /**
     * Goes on if it was done.
     *
     * @param result how it ended
     * @param field of the command, that a result other than DONE is about
     * @throws ErrnoException if it was not done
     */
    public static void require(AreaResult result, String field) throws ErrnoException {
        require(
                result,
                field,
                switch (result) {
                    case DONE, NO_MEMORY -> "any";
                    case REFUSED -> "more than nothing, aligned as IOVA_RANGES says";
                    case WRAPS -> "what ends below 2^64";
                    case RESERVED -> "what IOVA_RANGES says";
                    case TAKEN -> "where nothing is mapped";
                    case NO_SPACE -> "what fits between the others";
                    case NOT_MAPPED -> "what is mapped, uncut";
                    case BUSY -> "what nobody holds or changes";
                    case DENIED -> "what the memory was mapped for";
                    case UNREACHABLE -> "the program's memory";
                    case IN_USE -> "what fits what is mapped and allowed";
                    case NOT_LET_GO -> "what its users let go of";
                });
    }
}
