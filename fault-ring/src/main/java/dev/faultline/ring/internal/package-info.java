/** Rings of 64-byte entries between one producer and one consumer: they know order and waiting, not opcodes. */
@NullMarked
package dev.faultline.ring.internal;

import org.jspecify.annotations.NullMarked;
