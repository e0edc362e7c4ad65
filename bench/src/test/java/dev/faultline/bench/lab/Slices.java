package dev.faultline.bench.lab;

import dev.faultline.bench.contender.Contender;
import dev.faultline.bench.contender.Slice;

/** Slices as a machine might have given them. */
final class Slices {

    static final long MILLION = 1_000_000;

    private Slices() {}

    /** An undisturbed slice of a million round trips. */
    static Slice clean(double nsPerRoundTrip) {
        return with(nsPerRoundTrip, 0, 0, 0);
    }

    static Slice with(double nsPerRoundTrip, long waitedNs, long stalledNs, long switches) {
        return new Slice(MILLION, (long) (nsPerRoundTrip * MILLION), stalledNs, waitedNs, switches, 0, 0, MILLION);
    }

    /** A slice between two yardsticks alike. */
    static PlacedSlice placed(Contender contender, int round, Slice slice, double yardstickNs) {
        return new PlacedSlice(contender, round, slice, clean(yardstickNs), clean(yardstickNs));
    }
}
