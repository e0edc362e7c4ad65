package dev.faultline.ring;

import dev.faultline.ffm.PaddedBefore;
import java.util.EnumMap;
import java.util.Map;

/** What a lane has counted. Threads: the one inside the lane. */
abstract class LaneCounts extends PaddedBefore {
    private long moreRequests;
    private long answered;
    private long lateAnswers;
    private long strays;
    private final long[] autoBy = new long[AutoAnswer.values().length];
    private final long[] droppedBy = new long[DropRule.values().length];

    private LaneCounts() {}

    static LaneCounts zero() {
        return new Alone();
    }

    /** A request that is not the first of its group. */
    void countMoreRequest() {
        moreRequests++;
    }

    void countAnswered() {
        answered++;
    }

    /** An answer to a group that does not wait for one. */
    void countLateAnswer() {
        lateAnswers++;
    }

    /** A submission that no consumer of ours sends. */
    void countStray() {
        strays++;
    }

    void countAuto(AutoAnswer why) {
        autoBy[why.ordinal()]++;
    }

    long auto(AutoAnswer why) {
        return autoBy[why.ordinal()];
    }

    void countDropped(DropRule rule) {
        droppedBy[rule.ordinal()]++;
    }

    /**
     * All counts.
     *
     * @param raised groups begun, as the table counts them
     * @param outstanding groups open, counted one by one
     */
    Accounting with(long raised, long outstanding) {
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
        long answers = answered + autoBy[AutoAnswer.HANDLER.ordinal()] + lateAnswers;
        return new Accounting(
                raised + moreRequests,
                raised,
                answered,
                autoAnswered,
                dropped,
                outstanding,
                auto,
                drop,
                answers,
                lateAnswers + strays);
    }

    /** Keeps the fields above off the lines of what comes after them. */
    @SuppressWarnings("unused")
    private static final class Alone extends LaneCounts {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;
    }
}
