/** Protocols of the engine that can be seen only from inside its own package. */
@NullMarked
package dev.faultline.iommu.tlb;

import org.jspecify.annotations.NullMarked;
