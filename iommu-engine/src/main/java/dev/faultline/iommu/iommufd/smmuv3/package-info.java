/** Arm SMMUv3's face of the engine's IOMMU. */
@NullMarked
package dev.faultline.iommu.iommufd.smmuv3;

import org.jspecify.annotations.NullMarked;
