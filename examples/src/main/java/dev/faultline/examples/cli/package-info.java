/** The command line: one command per program, one JSON object on standard output, words on standard error. */
@NullMarked
package dev.faultline.examples.cli;

import org.jspecify.annotations.NullMarked;
