/** How it is measured: who runs when, which slices count, and what the ratios say. */
@NullMarked
package dev.faultline.bench.lab;

import org.jspecify.annotations.NullMarked;
