/** Memory shared with a peer: regions, ordered access to shared words, and the few Linux calls that are used. */
@NullMarked
package dev.faultline.ffm;

import org.jspecify.annotations.NullMarked;
