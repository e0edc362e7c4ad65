/** What is measured: each contender is two hot loops, run in a process of its own, one slice at a time. */
@NullMarked
package dev.faultline.bench.contender;

import org.jspecify.annotations.NullMarked;
