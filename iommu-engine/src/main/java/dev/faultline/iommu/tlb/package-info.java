/** What is cached of page tables, on both sides, and how it is forgotten: IOTLB, walk cache, device TLBs, invalidations, quiescence. */
@NullMarked
package dev.faultline.iommu.tlb;

import org.jspecify.annotations.NullMarked;
