/** Protocols between two threads that can be seen only from inside the ring's own package. */
@NullMarked
package dev.faultline.ring;

import org.jspecify.annotations.NullMarked;
