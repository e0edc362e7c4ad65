/**
 * The trace replay: a recorded program's memory accesses become device accesses, served by a demand pager under a frame
 * limit, and every byte that comes back is checked.
 */
@NullMarked
package dev.faultline.examples.replay;

import org.jspecify.annotations.NullMarked;
