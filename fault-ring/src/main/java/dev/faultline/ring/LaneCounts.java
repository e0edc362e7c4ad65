package dev.faultline.ring;

import java.util.EnumMap;
import java.util.Map;

/** What a lane has counted. Threads: the one inside the lane. */
final class LaneCounts {
    private long requests;
    private long raised;
    private long answered;
    private long answers;
    private long stale;
    private final long[] autoBy = new long[AutoAnswer.values().length];
    private final long[] droppedBy = new long[DropRule.values().length];

    void countRequest() {
        requests++;
    }

    void countRaised() {
        raised++;
    }

    void countAnswer() {
        answers++;
    }

    void countStale() {
        stale++;
    }

    void countAnswered() {
        answered++;
    }

    void countAuto(AutoAnswer why) {
        autoBy[why.ordinal()]++;
    }

    void countDropped(DropRule rule) {
        droppedBy[rule.ordinal()]++;
    }

    Accounting with(long outstanding) {
        Map<AutoAnswer, Long> auto = new EnumMap<>(AutoAnswer.class);
        long autoAnswered = 0;
        for (AutoAnswer why : AutoAnswer.values()) {
            auto.put(why, autoBy[why.ordinal()]);
            autoAnswered += autoBy[why.ordinal()];
        }
        Map<DropRule, Long> drop = new EnumMap<>(DropRule.class);
        long dropped = 0;
        for (DropRule rule : DropRule.values()) {
            drop.put(rule, droppedBy[rule.ordinal()]);
            dropped += droppedBy[rule.ordinal()];
        }
        return new Accounting(
                requests, raised, answered, autoAnswered, dropped, outstanding, auto, drop, answers, stale);
    }
}
