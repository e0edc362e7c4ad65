package dev.faultline.bench.lab;

import dev.faultline.bench.contender.Contender;
import java.util.List;
import java.util.Map;

/**
 * What a run has measured up to now; a copy that stays as it is.
 *
 * @param slices every slice, kept or not
 * @param failures contenders that could not go on, and why
 * @param jvms fresh processes each contender was given
 * @param sieve decides which slices count
 */
public record Measured(List<PlacedSlice> slices, Map<Contender, String> failures, int jvms, Sieve sieve) {

    /**
     * A copy.
     *
     * @param slices every slice
     * @param failures contenders that could not go on, and why
     * @param jvms fresh processes each contender was given
     * @return what was measured
     */
    public static Measured of(List<PlacedSlice> slices, Map<Contender, String> failures, int jvms) {
        return new Measured(List.copyOf(slices), Map.copyOf(failures), jvms, Sieve.of(slices));
    }

    /**
     * The slices that count.
     *
     * @return in the order they were taken
     */
    public List<PlacedSlice> kept() {
        return slices.stream()
                .filter(placed -> sieve.verdict(placed) == Sieve.Verdict.KEPT)
                .toList();
    }

    /**
     * How many slices met a verdict.
     *
     * @param contender whose slices
     * @param verdict which verdict
     * @return a count
     */
    public long count(Contender contender, Sieve.Verdict verdict) {
        return slices.stream()
                .filter(placed -> placed.contender() == contender && sieve.verdict(placed) == verdict)
                .count();
    }
}
