/** Attachments against mappings, and the page request interface that functions share, looked into from inside. */
@NullMarked
package dev.faultline.iommu;

import org.jspecify.annotations.NullMarked;
