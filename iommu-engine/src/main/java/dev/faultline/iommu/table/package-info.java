/**
 * Page tables in physical memory: their formats, the walk that reads them, the changes that threads make to them. It knows
 * nothing of TLBs, devices and fault queues; those who use it invalidate and wait.
 */
@NullMarked
package dev.faultline.iommu.table;

import org.jspecify.annotations.NullMarked;
