/** Programs that use the library as a stranger would, through its public types only. */
@NullMarked
package dev.faultline.examples;

import org.jspecify.annotations.NullMarked;
