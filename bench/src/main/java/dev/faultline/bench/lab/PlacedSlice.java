package dev.faultline.bench.lab;

import dev.faultline.bench.contender.Contender;
import dev.faultline.bench.contender.Slice;

/**
 * A contender's slice and the two slices of the yardstick it lies between.
 *
 * @param contender whose it is
 * @param round slices of one round were taken within a second or so and may be compared
 * @param slice what it came to
 * @param before the yardstick just before
 * @param after the yardstick just after
 */
public record PlacedSlice(Contender contender, int round, Slice slice, Slice before, Slice after) {

    /**
     * The yardstick, at the time of the slice.
     *
     * @return ns per round trip: the mean of its two neighbours
     */
    public double yardstickNs() {
        return (before.nsPerRoundTrip() + after.nsPerRoundTrip()) / 2;
    }
}
