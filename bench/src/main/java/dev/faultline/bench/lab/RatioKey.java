package dev.faultline.bench.lab;

import dev.faultline.bench.contender.Contender;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/** The ratios the laboratory prints. */
public enum RatioKey {
    /** The fault queue at window 1 against the yardstick: times. */
    QUEUE_W1_VS_PINGPONG("queue.w1.vs_pingpong", Better.LOWER),
    /** The fault queue at window 64 against the fastest rival: rates. */
    QUEUE_W64_VS_BEST_RIVAL("queue.w64.vs_best_rival", Better.HIGHER),
    /** The engine's whole loop at window 1 against the queue's round trip: times. */
    LOOP_W1_VS_QUEUE("loop.w1.vs_queue", Better.LOWER);

    /** Which way is better. */
    public enum Better {
        /** Less is better: a ratio of times. */
        LOWER,
        /** More is better: a ratio of rates. */
        HIGHER
    }

    /** Whom the fault queue meets at window 64. */
    static final List<Contender> RIVALS = List.of(Contender.DISRUPTOR_W64, Contender.AGRONA_W64, Contender.JCTOOLS_W64);

    private final String key;
    private final Better better;

    RatioKey(String key, Better better) {
        this.key = key;
        this.better = better;
    }

    /**
     * Its name in results and options.
     *
     * @return words joined by dots
     */
    public String key() {
        return key;
    }

    /**
     * Which way is better.
     *
     * @return lower or higher
     */
    public Better better() {
        return better;
    }

    /**
     * Who must be measured for it, beside the yardstick.
     *
     * @return the contenders
     */
    public Set<Contender> contenders() {
        return switch (this) {
            case QUEUE_W1_VS_PINGPONG -> Set.of(Contender.QUEUE_W1);
            case QUEUE_W64_VS_BEST_RIVAL ->
                Set.of(Contender.QUEUE_W64, Contender.DISRUPTOR_W64, Contender.AGRONA_W64, Contender.JCTOOLS_W64);
            case LOOP_W1_VS_QUEUE -> Set.of(Contender.LOOP_W1, Contender.QUEUE_W1);
        };
    }

    /**
     * All names.
     *
     * @return in the order of printing
     */
    public static List<String> keys() {
        return Arrays.stream(values()).map(RatioKey::key).toList();
    }

    /**
     * Finds one by its name.
     *
     * @param key as {@link #key} gave it
     * @return the ratio
     * @throws IllegalArgumentException if there is none
     */
    public static RatioKey of(String key) {
        for (RatioKey ratio : values()) {
            if (ratio.key.equals(key)) {
                return ratio;
            }
        }
        throw new IllegalArgumentException("ratio=" + key + ": allowed " + String.join(", ", keys()));
    }
}
