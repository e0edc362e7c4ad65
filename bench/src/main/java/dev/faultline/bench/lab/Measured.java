package dev.faultline.bench.lab;

import dev.faultline.bench.contender.Contender;
import dev.faultline.bench.contender.Gauge;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * What a run has measured up to now; a copy that stays as it is.
 *
 * @param slices every slice, kept or not
 * @param figures what each gauge was read to be
 * @param failures contenders and gauges that could not go on, by name, and why
 * @param absences contenders this machine cannot run, by name, and why
 * @param jvms fresh processes each contender was given
 * @param sieve decides which slices count
 */
public record Measured(
        List<PlacedSlice> slices,
        Map<Gauge, List<Double>> figures,
        Map<String, String> failures,
        Map<String, String> absences,
        int jvms,
        Sieve sieve) {

    /**
     * A copy.
     *
     * @param slices every slice
     * @param figures what each gauge was read to be
     * @param failures contenders and gauges that could not go on, by name, and why
     * @param absences contenders this machine cannot run, by name, and why
     * @param jvms fresh processes each contender was given
     * @return what was measured
     */
    public static Measured of(
            List<PlacedSlice> slices,
            Map<Gauge, List<Double>> figures,
            Map<String, String> failures,
            Map<String, String> absences,
            int jvms) {
        Map<Gauge, List<Double>> copied = figures.entrySet().stream()
                .collect(Collectors.toMap(Map.Entry::getKey, e -> List.copyOf(e.getValue())));
        return new Measured(
                List.copyOf(slices), copied, Map.copyOf(failures), Map.copyOf(absences), jvms, Sieve.of(slices));
    }

    /**
     * Why a contender or a gauge cannot be measured.
     *
     * @param key its name
     * @return the name and the reason, or null if it can
     */
    public @Nullable String missing(String key) {
        String why = failures.get(key);
        why = why == null ? absences.get(key) : why;
        return why == null ? null : key + ": " + why;
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
