/** Memory shared with a peer: regions, ordered access to shared words, io_uring, and the Linux calls that are used. */
@NullMarked
package dev.faultline.ffm;

import org.jspecify.annotations.NullMarked;
