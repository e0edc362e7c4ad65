/** VT-d's face of the engine's IOMMU. */
@NullMarked
package dev.faultline.iommu.iommufd.vtd;

import org.jspecify.annotations.NullMarked;
