package dev.faultline.examples.cli;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.faultline.ring.Accounting;
import java.util.Locale;
import java.util.Map;
import org.HdrHistogram.Histogram;
import org.jspecify.annotations.Nullable;

/**
 * What is said about faults, in the same words by every command.
 *
 * <p>Immutable as long as the histogram is left alone. Units: nanoseconds, bytes, seconds.
 *
 * @param accounting what became of every group
 * @param elapsedS how long it took
 * @param latencyNs from raised to retried
 * @param bytesPerFault allocated by the threads that raise and serve, for each group; null where nobody measured
 */
public record FaultBlock(
        Accounting accounting,
        double elapsedS,
        Histogram latencyNs,
        @Nullable Double bytesPerFault) {
    /**
     * Groups raised in a second.
     *
     * @return the rate, 0 if no time passed
     */
    public double faultsPerS() {
        return elapsedS > 0 ? accounting.raised() / elapsedS : 0;
    }

    /**
     * The block as every command's JSON has it.
     *
     * @return a JSON object
     */
    public ObjectNode json() {
        ObjectNode node = JsonNodeFactory.instance
                .objectNode()
                .put("requests", accounting.requests())
                .put("raised", accounting.raised())
                .put("answered", accounting.answered())
                .put("auto_answered", accounting.autoAnswered());
        counts(node.putObject("auto_by"), accounting.autoBy());
        node.put("dropped", accounting.dropped());
        counts(node.putObject("dropped_by"), accounting.droppedBy());
        node.put("outstanding", accounting.outstanding())
                .put("answers", accounting.answers())
                .put("faults_per_s", rounded(faultsPerS()));
        node.putObject("latency_ns")
                .put("p50", latencyNs.getValueAtPercentile(50))
                .put("p99", latencyNs.getValueAtPercentile(99))
                .put("p999", latencyNs.getValueAtPercentile(99.9))
                .put("max", latencyNs.getMaxValue())
                .put("count", latencyNs.getTotalCount());
        node.put("bytes_per_fault", bytesPerFault == null ? null : rounded(bytesPerFault));
        return node;
    }

    /**
     * Adds the same to a table for people.
     *
     * @param table gets some rows
     */
    public void rows(Table table) {
        table.row(
                "faults",
                "%,d groups, %,d requests (%,.0f/s)",
                accounting.raised(),
                accounting.requests(),
                faultsPerS());
        table.row(
                "",
                "= answered %,d + auto-answered %,d%s + dropped %,d%s + outstanding %,d",
                accounting.answered(),
                accounting.autoAnswered(),
                reasons(accounting.autoBy()),
                accounting.dropped(),
                reasons(accounting.droppedBy()),
                accounting.outstanding());
        table.row(
                "raised to retried",
                "p50 %s, p99 %s, p99.9 %s, max %s",
                Table.time(latencyNs.getValueAtPercentile(50)),
                Table.time(latencyNs.getValueAtPercentile(99)),
                Table.time(latencyNs.getValueAtPercentile(99.9)),
                Table.time(latencyNs.getMaxValue()));
        if (bytesPerFault != null) {
            table.row("allocated", "%.1f bytes/fault", bytesPerFault);
        }
    }

    private static double rounded(double value) {
        return Math.round(value * 10) / 10.0;
    }

    private static <K extends Enum<K>> void counts(ObjectNode node, Map<K, Long> by) {
        by.forEach((k, v) -> node.put(k.name().toLowerCase(Locale.ROOT), v));
    }

    private static <K extends Enum<K>> String reasons(Map<K, Long> by) {
        return by.isEmpty() ? "" : " " + by.toString().toLowerCase(Locale.ROOT);
    }
}
