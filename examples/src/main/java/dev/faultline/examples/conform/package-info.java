/**
 * The replay of recorded kernel conversations against the emulated {@code /dev/iommu}: every call is made again, and every
 * number and byte compared.
 */
@NullMarked
package dev.faultline.examples.conform;

import org.jspecify.annotations.NullMarked;
