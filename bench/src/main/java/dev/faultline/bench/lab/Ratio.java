package dev.faultline.bench.lab;

import dev.faultline.bench.contender.Contender;
import dev.faultline.bench.contender.Gauge;
import dev.faultline.bench.lab.RatioKey.Better;
import dev.faultline.bench.lab.RatioKey.Paired;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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

    /** Fewer round trips than this do not show what is allocated now and then. */
    static final long NEEDED_ROUND_TRIPS = 1_000_000;

    private static final double NS_PER_US = 1000;

    /**
     * The figure and the quartiles.
     *
     * @param value the median, unless a ratio says otherwise
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
        String reason = missing(key, measured);
        if (reason != null) {
            return without(key, 0, reason, null);
        }
        return switch (key.basis()) {
            case Paired(Contender subject, List<Contender> against) -> paired(key, subject, against, measured.kept());
            case RatioKey.Allocated(Contender subject) -> allocated(key, measured.of(subject));
            case RatioKey.Paced(Contender subject) -> paced(key, paces(measured.kept(), subject));
            case RatioKey.Gauged(Gauge gauge) -> gauged(key, measured.figures().getOrDefault(gauge, List.of()));
        };
    }

    /**
     * Why a ratio cannot be had.
     *
     * @param key which
     * @param measured everything measured so far
     * @return who is missing and why, or null if nobody is
     */
    static @Nullable String missing(RatioKey key, Measured measured) {
        List<String> names = new ArrayList<>();
        if (!key.contenders().isEmpty()) {
            names.add(Contender.PINGPONG.key());
        }
        key.contenders().forEach(contender -> names.add(contender.key()));
        key.gauges().forEach(gauge -> names.add(gauge.key()));
        for (String name : names) {
            String reason = measured.missing(name);
            if (reason != null) {
                return reason;
            }
        }
        return null;
    }

    private static Ratio gauged(RatioKey key, List<Double> figures) {
        if (figures.size() < NEEDED_SLICES) {
            String few = "readings=" + figures.size() + ", needed=" + NEEDED_SLICES + ": too few were asked for";
            return without(key, figures.size(), few, null);
        }
        Interval interval =
                Interval.of(figures.stream().mapToDouble(Double::doubleValue).toArray());
        return new Ratio(key, interval, figures.size(), null, null);
    }

    /** The best rival is the fastest by its median over the run, not the fastest of each round: that would be rewarding luck. */
    private static Ratio paired(RatioKey key, Contender subject, List<Contender> rivals, List<PlacedSlice> kept) {
        Contender best = null;
        double bestNs = Double.MAX_VALUE;
        for (Contender rival : rivals) {
            double[] ns = nsByRound(kept, subject, rival).values().stream()
                    .mapToDouble(Double::doubleValue)
                    .toArray();
            if (rivals.size() > 1 && ns.length < NEEDED_SLICES) {
                return without(key, ns.length, rival.key() + ": " + tooFew(ns.length), null);
            }
            double medianNs = ns.length == 0 ? 0 : Quantiles.of(ns).median();
            if (medianNs < bestNs) {
                bestNs = medianNs;
                best = rival;
            }
        }
        Contender rival = Optional.ofNullable(best).orElseThrow();
        double[] ratios = ratios(kept, key.better(), subject, rival);
        if (ratios.length < NEEDED_SLICES) {
            return without(key, ratios.length, tooFew(ratios.length), rival);
        }
        return new Ratio(key, Interval.of(ratios), ratios.length, null, rival);
    }

    private static Ratio paced(RatioKey key, double[] paces) {
        if (paces.length < NEEDED_SLICES) {
            return without(key, paces.length, tooFew(paces.length), null);
        }
        return new Ratio(key, Interval.of(paces), paces.length, null, null);
    }

    private static double[] paces(List<PlacedSlice> kept, Contender subject) {
        return kept.stream()
                .filter(placed -> placed.contender().equals(subject))
                .mapToDouble(placed -> NS_PER_US / placed.slice().nsPerRoundTrip())
                .toArray();
    }

    /** All bytes over all round trips, since a median would not see what is allocated now and then. Of slices that were set aside too. */
    private static Ratio allocated(RatioKey key, List<PlacedSlice> slices) {
        if (slices.size() < NEEDED_SLICES) {
            return without(key, slices.size(), tooFew(slices.size()), null);
        }
        long bytes = 0;
        long roundTrips = 0;
        for (PlacedSlice placed : slices) {
            bytes += placed.slice().allocatedBytes();
            roundTrips += placed.slice().allRoundTrips();
        }
        if (roundTrips < NEEDED_ROUND_TRIPS) {
            String few = "round trips=" + roundTrips + ", needed=" + NEEDED_ROUND_TRIPS;
            return without(key, slices.size(), few, null);
        }
        Interval each = Interval.of(slices.stream()
                .mapToDouble(placed -> (double) placed.slice().allocatedBytes()
                        / placed.slice().allRoundTrips())
                .toArray());
        return new Ratio(key, new Interval((double) bytes / roundTrips, each.lo, each.hi), slices.size(), null, null);
    }

    /** The rival's time in each round; the yardstick's where it lies beside the subject's slice. */
    private static Map<Integer, Double> nsByRound(List<PlacedSlice> kept, Contender subject, Contender rival) {
        boolean isYardstick = rival.equals(Contender.PINGPONG);
        Contender whose = isYardstick ? subject : rival;
        Map<Integer, Double> nsByRound = new HashMap<>();
        for (PlacedSlice placed : kept) {
            if (placed.contender().equals(whose)) {
                nsByRound.put(
                        placed.round(),
                        isYardstick ? placed.yardstickNs() : placed.slice().nsPerRoundTrip());
            }
        }
        return nsByRound;
    }

    /**
     * One against another, for each round that kept both.
     *
     * @param kept slices that count
     * @param better lower for time over time, higher for rate over rate
     * @param subject who is measured
     * @param rival whom it is measured against
     * @return a ratio for each round
     */
    static double[] ratios(List<PlacedSlice> kept, Better better, Contender subject, Contender rival) {
        Map<Integer, Double> rivalNs = nsByRound(kept, subject, rival);
        return kept.stream()
                .filter(placed -> placed.contender().equals(subject) && rivalNs.containsKey(placed.round()))
                .mapToDouble(
                        placed -> placed.slice().nsPerRoundTrip() / rivalNs.getOrDefault(placed.round(), Double.NaN))
                .map(times -> better == Better.LOWER ? times : 1 / times)
                .toArray();
    }

    /**
     * Pairs kept so far, for the rival that has fewest.
     *
     * @param key which ratio
     * @param measured everything measured so far
     * @return a count
     */
    static int pairs(RatioKey key, Measured measured) {
        return switch (key.basis()) {
            case Paired(Contender subject, List<Contender> against) -> {
                List<PlacedSlice> kept = measured.kept();
                yield against.stream()
                        .mapToInt(rival -> ratios(kept, key.better(), subject, rival).length)
                        .min()
                        .orElse(0);
            }
            case RatioKey.Allocated(Contender subject) -> measured.of(subject).size();
            case RatioKey.Paced(Contender subject) -> paces(measured.kept(), subject).length;
            case RatioKey.Gauged(Gauge gauge) ->
                measured.figures().getOrDefault(gauge, List.of()).size();
        };
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
     * The same ratio to each rival, for those that want to see more than the best.
     *
     * @param key which ratio
     * @param measured everything measured in the run
     * @return rivals without enough pairs are left out; empty where there is one rival only
     */
    static Map<Contender, Interval> byRival(RatioKey key, Measured measured) {
        Map<Contender, Interval> byRival = new LinkedHashMap<>();
        if (key.basis() instanceof Paired(Contender subject, List<Contender> against) && against.size() > 1) {
            List<PlacedSlice> kept = measured.kept();
            for (Contender rival : against) {
                double[] ratios = ratios(kept, key.better(), subject, rival);
                if (ratios.length >= NEEDED_SLICES) {
                    byRival.put(rival, Interval.of(ratios));
                }
            }
        }
        return byRival;
    }
}
