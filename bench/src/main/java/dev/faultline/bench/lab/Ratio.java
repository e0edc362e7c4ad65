package dev.faultline.bench.lab;

import dev.faultline.bench.contender.Contender;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * One ratio: the median over pairs of slices taken in the same round, and the quartiles.
 *
 * @param key which
 * @param interval its figures, or null where it could not be measured
 * @param slices pairs of slices that were kept
 * @param reason why there are no figures, or null
 * @param against who it was measured against, or null while that is not known
 */
public record Ratio(
        RatioKey key,
        @Nullable Interval interval,
        int slices,
        @Nullable String reason,
        @Nullable Contender against) {

    /** Fewer pairs than this say nothing. */
    public static final int NEEDED_SLICES = 9;

    /**
     * Median and quartiles.
     *
     * @param value the median
     * @param lo a quarter of the pairs lie below
     * @param hi a quarter of the pairs lie above
     */
    public record Interval(double value, double lo, double hi) {

        static Interval of(double[] figures) {
            Quantiles quantiles = Quantiles.of(figures);
            return new Interval(quantiles.median(), quantiles.lowerQuartile(), quantiles.upperQuartile());
        }
    }

    /**
     * Works one out.
     *
     * @param key which
     * @param measured everything measured in the run
     * @return the ratio, or the reason there is none
     */
    public static Ratio of(RatioKey key, Measured measured) {
        for (Contender contender : Contender.values()) {
            String failure = measured.failures().get(contender);
            if (failure != null
                    && (contender == Contender.PINGPONG || key.contenders().contains(contender))) {
                return without(key, 0, contender.key() + ": " + failure, null);
            }
        }
        List<PlacedSlice> kept = measured.kept();
        return switch (key) {
            case QUEUE_W1_VS_PINGPONG ->
                from(
                        key,
                        of(kept, Contender.QUEUE_W1).stream()
                                .mapToDouble(placed -> placed.slice().nsPerRoundTrip() / placed.yardstickNs())
                                .toArray(),
                        Contender.PINGPONG);
            case QUEUE_W64_VS_BEST_RIVAL -> againstBestRival(key, kept);
            case LOOP_W1_VS_QUEUE ->
                from(key, timeRatios(kept, Contender.LOOP_W1, Contender.QUEUE_W1), Contender.QUEUE_W1);
        };
    }

    /** The best rival is the fastest by its median over the run, not the fastest of each round: that would be rewarding luck. */
    private static Ratio againstBestRival(RatioKey key, List<PlacedSlice> kept) {
        Contender best = null;
        double bestNs = Double.MAX_VALUE;
        for (Contender rival : RatioKey.RIVALS) {
            double[] ns = of(kept, rival).stream()
                    .mapToDouble(placed -> placed.slice().nsPerRoundTrip())
                    .toArray();
            if (ns.length < NEEDED_SLICES) {
                return without(key, ns.length, rival.key() + ": " + tooFew(ns.length), null);
            }
            double medianNs = Quantiles.of(ns).median();
            if (medianNs < bestNs) {
                bestNs = medianNs;
                best = rival;
            }
        }
        Contender rival = Optional.ofNullable(best).orElseThrow();
        return from(key, timeRatios(kept, rival, Contender.QUEUE_W64), rival);
    }

    /**
     * Time of one over time of another, for each round that kept both; the same as the rate of the other over the rate of the one.
     *
     * @param kept slices that count
     * @param above whose time is divided
     * @param below by whose time
     * @return a ratio for each round
     */
    static double[] timeRatios(List<PlacedSlice> kept, Contender above, Contender below) {
        Map<Integer, Double> belowNs = new HashMap<>();
        for (PlacedSlice placed : of(kept, below)) {
            belowNs.put(placed.round(), placed.slice().nsPerRoundTrip());
        }
        return of(kept, above).stream()
                .mapToDouble(
                        placed -> placed.slice().nsPerRoundTrip() / belowNs.getOrDefault(placed.round(), Double.NaN))
                .filter(ratio -> !Double.isNaN(ratio))
                .toArray();
    }

    /**
     * Pairs kept so far, for the ratio or for the rival that has fewest.
     *
     * @param key which ratio
     * @param kept slices that count
     * @return a count
     */
    static int pairs(RatioKey key, List<PlacedSlice> kept) {
        return switch (key) {
            case QUEUE_W1_VS_PINGPONG -> of(kept, Contender.QUEUE_W1).size();
            case QUEUE_W64_VS_BEST_RIVAL ->
                RatioKey.RIVALS.stream()
                        .mapToInt(rival -> timeRatios(kept, rival, Contender.QUEUE_W64).length)
                        .min()
                        .orElse(0);
            case LOOP_W1_VS_QUEUE -> timeRatios(kept, Contender.LOOP_W1, Contender.QUEUE_W1).length;
        };
    }

    private static List<PlacedSlice> of(List<PlacedSlice> slices, Contender contender) {
        Predicate<PlacedSlice> isTheirs = placed -> placed.contender() == contender;
        return slices.stream().filter(isTheirs).toList();
    }

    private static Ratio from(RatioKey key, double[] ratios, Contender against) {
        if (ratios.length < NEEDED_SLICES) {
            return without(key, ratios.length, tooFew(ratios.length), against);
        }
        return new Ratio(key, Interval.of(ratios), ratios.length, null, against);
    }

    /**
     * A ratio that could not be measured.
     *
     * @param key which
     * @param slices pairs that were kept
     * @param reason why it has no value
     * @param against who it would have been measured against, or null
     * @return the ratio
     */
    static Ratio without(RatioKey key, int slices, String reason, @Nullable Contender against) {
        return new Ratio(key, null, slices, reason, against);
    }

    private static String tooFew(int kept) {
        return "slices kept=" + kept + ", needed=" + NEEDED_SLICES
                + ": too few were asked for, or the machine was busy, or its cores were far apart";
    }

    /**
     * Ratios of the queue to each rival, for those that want to see more than the best.
     *
     * @param measured everything measured in the run
     * @return rate ratios, higher is better; rivals without enough pairs are left out
     */
    static Map<Contender, Interval> byRival(Measured measured) {
        Map<Contender, Interval> byRival = new EnumMap<>(Contender.class);
        for (Contender rival : RatioKey.RIVALS) {
            double[] ratios = timeRatios(measured.kept(), rival, Contender.QUEUE_W64);
            if (ratios.length >= NEEDED_SLICES) {
                byRival.put(rival, Interval.of(ratios));
            }
        }
        return byRival;
    }
}
