/** The emulated IOMMU: address spaces, page tables and devices that fault, stepped by the threads of the caller. */
@NullMarked
package dev.faultline.iommu;

import org.jspecify.annotations.NullMarked;
