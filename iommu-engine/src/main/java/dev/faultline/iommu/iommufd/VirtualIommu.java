package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.ring.FaultQueue;
import org.jspecify.annotations.Nullable;

/**
 * What a driver does for a {@link Viommu}: the kernel's {@code iommufd_viommu_ops}.
 *
 * <p>Threads: any. Ownership: closed when the vIOMMU is destroyed, and nothing is nested through it any more.
 *
 * <p>Errors: {@link ErrnoException}, whose number the program gets; nothing else may be thrown. Source: {@code struct
 * iommufd_viommu_ops} of {@code include/linux/iommufd.h}, Linux 7.2.
 */
public interface VirtualIommu {
    /**
     * Makes a page table of the guest's.
     *
     * @param flags {@link DriverDevice#PASID} or none
     * @param data of a type that the driver knows
     * @param faults where faults of its devices go, or null
     * @return the page table
     * @throws ErrnoException EOPNOTSUPP for what it cannot do, or another refusal
     */
    default NestedDomain nested(int flags, UserData data, @Nullable FaultQueue faults) throws ErrnoException {
        throw new ErrnoException(Errno.EOPNOTSUPP, "pt_id", "a vIOMMU that page tables can be nested through");
    }

    /**
     * A device gets its virtual id, or is refused.
     *
     * @param vdevice found by nobody yet
     * @throws ErrnoException if the driver will not have it
     */
    default void admit(Vdevice vdevice) throws ErrnoException {}

    /**
     * Does a guest's invalidations, in order, up to the first that it refuses.
     *
     * @param entries what to do; told how many are {@linkplain InvalidationEntries#done() done}
     * @throws ErrnoException the refusal of the first that was not done
     */
    default void invalidate(InvalidationEntries entries) throws ErrnoException {
        throw new ErrnoException(Errno.EOPNOTSUPP, "hwpt_id", "what can be invalidated");
    }

    /**
     * Whether there are queues of a type that the hardware reads in the guest's memory.
     *
     * @param type of the queue
     * @return true if {@link #hwQueue} makes such
     */
    default boolean hasHwQueues(int type) {
        return false;
    }

    /**
     * Makes a queue that the hardware reads.
     *
     * @param queue where it is
     * @param index which of the type's
     * @return what is to be undone when it is destroyed
     * @throws ErrnoException if there can be no such
     */
    default Runnable hwQueue(HwQueue queue, int index) throws ErrnoException {
        throw new ErrnoException(Errno.EOPNOTSUPP);
    }

    /** The vIOMMU is gone. */
    void close();
}
