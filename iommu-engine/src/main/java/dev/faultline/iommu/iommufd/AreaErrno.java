package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.AreaResult;

/** The error numbers of what an address space refuses. */
final class AreaErrno {
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
}
