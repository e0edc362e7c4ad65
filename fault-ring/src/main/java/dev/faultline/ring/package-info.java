/** The fault queue: reads posted as credit, groups delivered whole to exactly one read and answered exactly once. */
@NullMarked
package dev.faultline.ring;

import org.jspecify.annotations.NullMarked;
