package dev.faultline.iommu.iommufd;

/** A page table of a guest's over a {@link PagingDomain}. */
public non-sealed interface NestedDomain extends Domain {}
