package dev.faultline.bench.lab;

import dev.faultline.bench.contender.Slice;
import java.util.List;

/**
 * Decides which slices count. It looks at the machine's doings only, never at how fast the contender was.
 *
 * <p>A slice is set aside if it or a neighbouring yardstick was preempted, or if a neighbouring yardstick says that the two cores were far apart.
 */
public final class Sieve {

    /**
     * More than this share of a slice without a core, or stalled, and it was preempted. What stays below moves a ratio by less than its quartiles
     * lie apart; on a virtual machine hardly a slice has none.
     */
    static final double PREEMPTED_SHARE = 0.05;

    /** A yardstick slower than this many times its fastest quartile was taken on cores far apart. */
    static final double FAR_FACTOR = 1.6;

    private final double farNs;

    private Sieve(double farNs) {
        this.farNs = farNs;
    }

    /** What becomes of a slice. */
    public enum Verdict {
        /** It counts. */
        KEPT,
        /** Somebody else had a core for a while. */
        PREEMPTED,
        /** The cores were far apart. */
        FAR
    }

    /**
     * A sieve for one run.
     *
     * @param slices all that was measured; the fastest quartile of their yardsticks says what near is
     * @return the sieve
     */
    public static Sieve of(List<PlacedSlice> slices) {
        double[] undisturbed = slices.stream()
                .flatMap(placed -> java.util.stream.Stream.of(placed.before(), placed.after()))
                .filter(slice -> !isPreempted(slice))
                .mapToDouble(Slice::nsPerRoundTrip)
                .toArray();
        return new Sieve(
                undisturbed.length == 0
                        ? 0
                        : FAR_FACTOR * Quantiles.of(undisturbed).lowerQuartile());
    }

    /**
     * Decides about one slice.
     *
     * @param placed the slice and its neighbours
     * @return whether it counts, and why not
     */
    public Verdict verdict(PlacedSlice placed) {
        if (isPreempted(placed.slice()) || isPreempted(placed.before()) || isPreempted(placed.after())) {
            return Verdict.PREEMPTED;
        }
        if (placed.before().nsPerRoundTrip() > farNs || placed.after().nsPerRoundTrip() > farNs) {
            return Verdict.FAR;
        }
        return Verdict.KEPT;
    }

    /**
     * Whether somebody else had one of the cores. Where the kernel tells how long a thread waited for its core, that decides: an interruption of
     * a few microseconds changes nothing. Where it does not, any involuntary switch does. A stall covers what only a hypervisor knows.
     */
    static boolean isPreempted(Slice slice) {
        double limitNs = slice.timedNs() * PREEMPTED_SHARE;
        boolean lostItsCore =
                slice.waitedNs() == Slice.UNKNOWN ? slice.involuntarySwitches() > 0 : slice.waitedNs() > limitNs;
        return lostItsCore || slice.stalledNs() > limitNs;
    }
}
