/** The parts of the engine: table walks, device TLBs, page requests and quiescence. They know no ring's insides. */
@NullMarked
package dev.faultline.iommu.internal;

import org.jspecify.annotations.NullMarked;
