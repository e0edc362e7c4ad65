/** The mock IOMMU of Linux' self-tests ({@code drivers/iommu/iommufd/selftest.c}): there only when asked for. */
@NullMarked
package dev.faultline.iommu.iommufd.mock;

import org.jspecify.annotations.NullMarked;
