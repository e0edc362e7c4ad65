package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;

/**
 * A page table of a guest's over a {@link PagingDomain}.
 *
 * <p>Threads: any. Ownership and lifetime: as {@link Domain} says; closed before its parent. Units: entries of an invalidation. Errors:
 * {@link ErrnoException} of the first entry that is refused. Source: {@code IOMMU_DOMAIN_NESTED} and {@code cache_invalidate_user} of
 * {@code include/linux/iommu.h}, Linux 7.2.
 */
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
