package dev.faultline.iommu.iommufd;

/** A page table that shows what an address space maps. */
public non-sealed interface PagingDomain extends Domain {}
