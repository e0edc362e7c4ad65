package dev.faultline.ring;

import java.util.Collections;
import java.util.EnumMap;
import java.util.Map;

/**
 * What became of every group, at one moment.
 *
 * <p>The unit is the group; {@code requests} counts messages. {@code outstanding} is counted by walking the tables, not
 * computed from the others, so {@link #balanced} is a statement about the world.
 *
 * @param requests page requests raised
 * @param raised groups, counted when their first request arrives
 * @param answered groups answered by their consumer
 * @param autoAnswered groups answered {@link Answer#INVALID} by something else
 * @param dropped groups dropped by a rule
 * @param outstanding groups assembling, waiting or delivered now
 * @param autoBy {@code autoAnswered} by reason
 * @param droppedBy {@code dropped} by rule
 * @param answers answers that arrived, the stale ones among them
 * @param stale what arrived, named nothing that waited, and changed nothing
 */
public record Accounting(
        long requests,
        long raised,
        long answered,
        long autoAnswered,
        long dropped,
        long outstanding,
        Map<AutoAnswer, Long> autoBy,
        Map<DropRule, Long> droppedBy,
        long answers,
        long stale) {
    /** Nothing raised, nothing outstanding. */
    public static final Accounting ZERO = new Accounting(0, 0, 0, 0, 0, 0, Map.of(), Map.of(), 0, 0);

    /** Copies the maps, leaving out what is zero. */
    public Accounting {
        autoBy = nonZero(AutoAnswer.class, autoBy);
        droppedBy = nonZero(DropRule.class, droppedBy);
    }

    /**
     * Whether every group raised is accounted for.
     *
     * @return raised = answered + auto-answered + dropped + outstanding
     */
    public boolean balanced() {
        return raised == answered + autoAnswered + dropped + outstanding;
    }

    /**
     * The sum of two.
     *
     * @param other another lane's or queue's
     * @return field by field
     */
    public Accounting plus(Accounting other) {
        Map<AutoAnswer, Long> auto = new EnumMap<>(AutoAnswer.class);
        auto.putAll(autoBy);
        other.autoBy.forEach((k, v) -> auto.merge(k, v, Long::sum));
        Map<DropRule, Long> drop = new EnumMap<>(DropRule.class);
        drop.putAll(droppedBy);
        other.droppedBy.forEach((k, v) -> drop.merge(k, v, Long::sum));
        return new Accounting(
                requests + other.requests,
                raised + other.raised,
                answered + other.answered,
                autoAnswered + other.autoAnswered,
                dropped + other.dropped,
                outstanding + other.outstanding,
                auto,
                drop,
                answers + other.answers,
                stale + other.stale);
    }

    @Override
    public String toString() {
        return "raised " + raised + " = answered " + answered + " + auto-answered " + autoAnswered
                + (autoBy.isEmpty() ? "" : " " + autoBy) + " + dropped " + dropped
                + (droppedBy.isEmpty() ? "" : " " + droppedBy) + " + outstanding " + outstanding
                + (balanced() ? "" : " DOES NOT BALANCE") + " (requests " + requests + ", answers " + answers
                + ", stale " + stale + ")";
    }

    private static <K extends Enum<K>> Map<K, Long> nonZero(Class<K> type, Map<K, Long> counts) {
        Map<K, Long> copy = new EnumMap<>(type);
        counts.forEach((k, v) -> {
            if (v != 0) {
                copy.put(k, v);
            }
        });
        return Collections.unmodifiableMap(copy);
    }
}
