/** Protocols between two threads, run until every allowed interleaving has been seen and no forbidden one. */
@NullMarked
package dev.faultline.stress;

import org.jspecify.annotations.NullMarked;
