/** An exhaustive look at the few words that threads share outside of the rings: sleeping, and entering a lane. */
@NullMarked
package dev.faultline.ring.explore;

import org.jspecify.annotations.NullMarked;
