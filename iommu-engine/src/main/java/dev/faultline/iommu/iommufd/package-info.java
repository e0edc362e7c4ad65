/** The emulated {@code /dev/iommu}: its system calls, with the results of Linux. */
@NullMarked
package dev.faultline.iommu.iommufd;

import org.jspecify.annotations.NullMarked;
