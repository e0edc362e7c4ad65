package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;

/** A page table of a guest's over a {@link PagingDomain}. */
public non-sealed interface NestedDomain extends Domain {
    /**
     * Does the guest's invalidations, in order, up to the first that it refuses.
     *
     * @param entries what to do; told how many are {@linkplain InvalidationEntries#done() done}
     * @throws ErrnoException the refusal of the first that was not done; EOPNOTSUPP where a vIOMMU takes them instead
     */
    default void invalidate(InvalidationEntries entries) throws ErrnoException {
        throw new ErrnoException(Errno.EOPNOTSUPP, "hwpt_id", "what can be invalidated");
    }
}
