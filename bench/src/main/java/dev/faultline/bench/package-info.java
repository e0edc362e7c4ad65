/** Measurements: each names what it is compared to, and runs it in the same process. */
@NullMarked
package dev.faultline.bench;

import org.jspecify.annotations.NullMarked;
