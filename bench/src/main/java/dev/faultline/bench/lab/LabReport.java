package dev.faultline.bench.lab;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.faultline.bench.contender.Contender;
import dev.faultline.examples.cli.Table;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What a run says at its end, for programs and for people.
 *
 * <p>Immutable. Units are in the names; a ratio has none.
 */
public final class LabReport {

    private final LabPlan plan;
    private final @Nullable String refusal;
    private final Measured measured;
    private final boolean isPinned;

    private LabReport(LabPlan plan, @Nullable String refusal, Measured measured, boolean isPinned) {
        this.plan = plan;
        this.refusal = refusal;
        this.measured = measured;
        this.isPinned = isPinned;
    }

    /**
     * A report of what was measured.
     *
     * @param plan what the run was to do
     * @param measured everything it measured
     * @param isPinned whether each hot thread had a core of its own
     * @return the report
     */
    public static LabReport of(LabPlan plan, Measured measured, boolean isPinned) {
        return new LabReport(plan, null, measured, isPinned);
    }

    /**
     * A report of a run that the machine does not allow.
     *
     * @param plan what the run was to do
     * @param reason why it was not done
     * @return the report
     */
    public static LabReport refused(LabPlan plan, String reason) {
        return new LabReport(plan, reason, Measured.of(List.of(), Map.of(), Map.of(), Map.of(), 0), false);
    }

    /**
     * Whether all contenders did their work; a ratio without a value for want of good slices is no fault of theirs.
     *
     * @return false if one failed
     */
    public boolean isGood() {
        return measured.failures().isEmpty();
    }

    /**
     * Contenders that could not go on.
     *
     * @return a line for each
     */
    public List<String> failures() {
        return measured.failures().entrySet().stream()
                .map(failure -> failure.getKey() + ": " + failure.getValue())
                .sorted()
                .toList();
    }

    private List<Ratio> ratios() {
        return plan.ratios().stream()
                .map(key -> refusal == null ? Ratio.of(key, measured) : Ratio.without(key, 0, refusal, null))
                .toList();
    }

    /**
     * Adds the ratios, and what they were made of, to the object.
     *
     * @param root gets {@code ratios}, {@code contenders} and {@code method}
     */
    public void describe(ObjectNode root) {
        ObjectNode ratios = root.putObject("ratios");
        for (Ratio ratio : ratios()) {
            describe(ratio, ratios.putObject(ratio.key().key()));
        }
        ObjectNode contenders = root.putObject("contenders");
        yardstick(contenders.putObject(Contender.PINGPONG.key()));
        for (Contender contender : plan.contenders()) {
            figures(contender, contenders.putObject(contender.key()));
        }
        ObjectNode method = root.putObject("method")
                .put("slices_wanted", plan.slices())
                .put("slices_needed", Ratio.NEEDED_SLICES)
                .put("slice_ms", plan.sliceMs())
                .put("warm_up_ms", plan.warmUpMs())
                .put("jvms", measured.jvms())
                .put("pinned", isPinned)
                .put("interval", "quartiles")
                .put("preempted_share", Sieve.PREEMPTED_SHARE)
                .put("far_factor", Sieve.FAR_FACTOR);
        ContenderProcess.COMMON_FLAGS.forEach(method.putArray("contender_flags")::add);
    }

    private void describe(Ratio ratio, ObjectNode node) {
        figures(ratio.interval(), node);
        Contender against = ratio.against();
        node.put("slices", ratio.slices())
                .put("better", ratio.key().better().name().toLowerCase(Locale.ROOT))
                .put("reason", ratio.reason())
                .put("against", against == null ? null : against.key());
        Map<Contender, Ratio.Interval> byRival = Ratio.byRival(ratio.key(), measured);
        if (!byRival.isEmpty()) {
            ObjectNode rivals = node.putObject("rivals");
            byRival.forEach((rival, interval) -> figures(interval, rivals.putObject(rival.key())));
        }
    }

    private static void figures(Ratio.@Nullable Interval interval, ObjectNode node) {
        node.put("value", interval == null ? null : rounded(interval.value()))
                .put("lo", interval == null ? null : rounded(interval.lo()))
                .put("hi", interval == null ? null : rounded(interval.hi()));
    }

    private void yardstick(ObjectNode node) {
        node.put("what", Contender.PINGPONG.what()).put("window", Contender.PINGPONG.window());
        quartiles(node, "ns_per_round_trip", measured.kept(), PlacedSlice::yardstickNs);
        node.put("failed", measured.failures().get(Contender.PINGPONG.key()));
    }

    private void figures(Contender contender, ObjectNode node) {
        List<PlacedSlice> all = measured.of(contender);
        List<PlacedSlice> kept = kept(contender);
        node.put("what", contender.what()).put("window", contender.window());
        quartiles(node, "ns_per_round_trip", kept, LabReport::ns);
        quartiles(node, "million_round_trips_per_s", kept, placed -> 1000 / ns(placed));
        node.putObject("allocated_bytes_per_round_trip")
                .put("requester", perRoundTrip(all, placed -> placed.slice().requesterBytes()))
                .put("responder", perRoundTrip(all, placed -> placed.slice().responderBytes()));
        node.put("slices", all.size());
        node.putObject("set_aside")
                .put("preempted", measured.count(contender, Sieve.Verdict.PREEMPTED))
                .put("far", measured.count(contender, Sieve.Verdict.FAR))
                .put("share", all.isEmpty() ? null : rounded(1 - (double) kept.size() / all.size()));
        contender.jvmFlags().forEach(node.putArray("flags")::add);
        node.put("failed", measured.failures().get(contender.key()));
        node.put("absent", measured.absences().get(contender.key()));
    }

    private List<PlacedSlice> kept(Contender contender) {
        return measured.kept().stream()
                .filter(placed -> placed.contender().equals(contender))
                .toList();
    }

    private static double ns(PlacedSlice placed) {
        return placed.slice().nsPerRoundTrip();
    }

    /** Of all slices: who allocates does so whether it is preempted or not. */
    private static @Nullable Double perRoundTrip(List<PlacedSlice> slices, ToDoubleFunction<PlacedSlice> bytes) {
        double roundTrips = slices.stream()
                .mapToLong(placed -> placed.slice().allRoundTrips())
                .sum();
        return slices.isEmpty()
                ? null
                : rounded(slices.stream().mapToDouble(bytes).sum() / roundTrips);
    }

    private static @Nullable Quantiles quantiles(List<PlacedSlice> slices, ToDoubleFunction<PlacedSlice> figure) {
        return slices.isEmpty()
                ? null
                : Quantiles.of(slices.stream().mapToDouble(figure).toArray());
    }

    private static void quartiles(
            ObjectNode node, String name, List<PlacedSlice> slices, ToDoubleFunction<PlacedSlice> figure) {
        Quantiles quantiles = quantiles(slices, figure);
        if (quantiles == null) {
            node.putNull(name);
        } else {
            node.putObject(name)
                    .put("median", rounded(quantiles.median()))
                    .put("lo", rounded(quantiles.lowerQuartile()))
                    .put("hi", rounded(quantiles.upperQuartile()));
        }
    }

    private static double rounded(double figure) {
        return Math.round(figure * 1000) / 1000.0;
    }

    /**
     * Adds the same, shorter, for people.
     *
     * @param table gets the rows
     */
    public void describe(Table table) {
        table.title("ratios");
        for (Ratio ratio : ratios()) {
            Ratio.Interval interval = ratio.interval();
            Contender against = ratio.against();
            String name = padded(ratio.key().key());
            if (interval == null) {
                table.row(name, "    -  %s", String.valueOf(ratio.reason()));
            } else {
                table.row(
                        name,
                        "%5.2f  %.2f to %.2f in %d slices, %s is better%s",
                        interval.value(),
                        interval.lo(),
                        interval.hi(),
                        ratio.slices(),
                        ratio.key().better().name().toLowerCase(Locale.ROOT),
                        against == null ? "" : ", against " + against.key());
            }
        }
        if (refusal != null) {
            return;
        }
        table.title("contenders");
        table.row(padded(""), "%8s %9s %10s %10s", "ns", "M/s", "bytes", "set aside");
        Stream.concat(Stream.of(Contender.PINGPONG), plan.contenders().stream())
                .forEach(contender -> row(contender, table));
    }

    private void row(Contender contender, Table table) {
        boolean isYardstick = contender.equals(Contender.PINGPONG);
        List<PlacedSlice> all = isYardstick ? measured.slices() : measured.of(contender);
        List<PlacedSlice> kept = isYardstick ? measured.kept() : kept(contender);
        Quantiles quantiles = quantiles(kept, isYardstick ? PlacedSlice::yardstickNs : LabReport::ns);
        String name = padded(contender.key());
        if (quantiles == null) {
            String why = measured.missing(contender.key());
            table.row(name, "%8s  %s", "-", why == null ? "no slice kept of " + all.size() : why);
            return;
        }
        double ns = quantiles.median();
        Double bytes =
                isYardstick ? null : perRoundTrip(all, placed -> placed.slice().allocatedBytes());
        table.row(
                name,
                "%8.1f %9.2f %10s %9.0f%%",
                ns,
                1000 / ns,
                bytes == null ? "" : String.format(Locale.ROOT, "%.3f", bytes),
                100.0 * (all.size() - kept.size()) / all.size());
    }

    private static String padded(String name) {
        return String.format(Locale.ROOT, "%-25s", name);
    }
}
