package dev.faultline.bench.lab;

import dev.faultline.bench.contender.Contender;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a run has measured up to now; a copy that stays as it is.
 *
 * @param slices every slice, kept or not
 * @param failures contenders that could not go on, and why
 * @param absences contenders this machine cannot run, and why
 * @param jvms fresh processes each contender was given
 * @param sieve decides which slices count
 */
public record Measured(
        List<PlacedSlice> slices,
        Map<Contender, String> failures,
        Map<Contender, String> absences,
        int jvms,
        Sieve sieve) {

    /**
     * A copy.
     *
     * @param slices every slice
     * @param failures contenders that could not go on, and why
     * @param absences contenders this machine cannot run, and why
     * @param jvms fresh processes each contender was given
     * @return what was measured
     */
    public static Measured of(
            List<PlacedSlice> slices, Map<Contender, String> failures, Map<Contender, String> absences, int jvms) {
        return new Measured(List.copyOf(slices), Map.copyOf(failures), Map.copyOf(absences), jvms, Sieve.of(slices));
    }

    /**
     * Why a contender cannot be measured.
     *
     * @param contender who
     * @return its name and the reason, or null if it can
     */
    public @Nullable String missing(Contender contender) {
        String why = failures.get(contender);
        why = why == null ? absences.get(contender) : why;
        return why == null ? null : contender.key() + ": " + why;
    }

    /**
     * One contender's slices.
     *
     * @param contender whose
     * @return kept or not, in the order they were taken
     */
    public List<PlacedSlice> of(Contender contender) {
        return slices.stream()
                .filter(placed -> placed.contender().equals(contender))
                .toList();
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
        return of(contender).stream()
                .filter(placed -> sieve.verdict(placed) == verdict)
                .count();
    }
}
