package dev.faultline.iommu;

import dev.faultline.ring.Clock;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.BooleanSupplier;

/**
 * Virtual time: devices, engine, queue and handlers take turns on one thread, in an order that a seed decides, by a clock that
 * nothing but this moves. The same seed gives the same run, act for act, so a seed that fails is a bug report.
 *
 * <p>Who takes part is an {@link Actor}: a device that is stepped, a consumer that is polled by hand. None of them may wait or use a
 * thread of its own; the {@link Iommu} and the {@link dev.faultline.ring.FaultQueue} are opened with {@link #clock}, and the thread
 * that runs this has entered the devices and stays in them.
 *
 * <p>Every act takes up to a microsecond, more where the actor says so. When all have found nothing to do, again and again, time
 * leaps, further each time; so deadlines pass at once, and a run in which everybody waits for everybody ends.
 *
 * <p>Threads: one at a time. Units: nanoseconds from 0. The order is that of {@link Random}, whose algorithm is specified, so it is the
 * same on every machine.
 */
public final class SeededSchedule {
    /** Somebody who takes turns. */
    @FunctionalInterface
    public interface Actor {
        /**
         * Does something, if there is something to do.
         *
         * @return whether anything moved
         */
        boolean act();
    }

    private static final int LONGEST_ACT_NS = 1_000;
    private static final long LONGEST_LEAP_NS = 100_000_000;
    /** Turns without anything moving, for each actor, after which time leaps. */
    private static final int IDLE_TURNS = 4;

    private final Random random;
    private final List<Actor> actors = new ArrayList<>();
    private long nowNs;
    private long acts;
    private long order;

    /**
     * A schedule with nobody in it, at time 0.
     *
     * @param seed decides everything
     */
    public SeededSchedule(long seed) {
        this.random = new Random(seed);
        this.order = seed;
    }

    /**
     * Its clock.
     *
     * @return what the others are opened with
     */
    public Clock clock() {
        return () -> nowNs;
    }

    /**
     * Lets somebody take part.
     *
     * @param actor who
     */
    public void add(Actor actor) {
        actors.add(actor);
    }

    /**
     * A number that the seed decides, for what an actor does.
     *
     * @param bound 1 or more
     * @return 0 to {@code bound} - 1
     */
    public int pick(int bound) {
        return random.nextInt(bound);
    }

    /**
     * Says that the act under way takes longer.
     *
     * @param ns nanoseconds, 0 or more
     */
    public void spend(long ns) {
        Limits.inRange("ns", ns, 0, Long.MAX_VALUE / 4);
        nowNs += ns;
    }

    /**
     * Lets them take turns.
     *
     * @param done whether it is enough, asked before each turn
     * @param limitNs virtual nanoseconds at most
     * @return false if the time ran out first
     * @throws IllegalStateException if nobody takes part
     */
    public boolean runUntil(BooleanSupplier done, long limitNs) {
        if (actors.isEmpty()) {
            throw new IllegalStateException("actors=0: add some before");
        }
        long start = nowNs;
        long leapNs = LONGEST_ACT_NS;
        int idle = 0;
        while (!done.getAsBoolean()) {
            if (nowNs - start >= limitNs) {
                return false;
            }
            int who = random.nextInt(actors.size());
            boolean moved = actors.get(who).act();
            nowNs += 1 + random.nextInt(LONGEST_ACT_NS);
            acts++;
            order = (order ^ (2L * who + (moved ? 1 : 0)) ^ (nowNs << 16)) * 0x9e37_79b9_7f4a_7c15L;
            order ^= order >>> 29;
            if (moved) {
                idle = 0;
                leapNs = LONGEST_ACT_NS;
            } else if (++idle >= IDLE_TURNS * actors.size()) {
                idle = 0;
                nowNs += leapNs;
                leapNs = Math.min(2 * leapNs, LONGEST_LEAP_NS);
            }
        }
        return true;
    }

    /**
     * What time it is.
     *
     * @return nanoseconds since the schedule was made
     */
    public long nowNs() {
        return nowNs;
    }

    /**
     * How many turns were taken.
     *
     * @return a count
     */
    public long acts() {
        return acts;
    }

    /**
     * A number made of who acted when, and whether anything moved: two runs that went the same way have the same.
     *
     * @return any
     */
    public long order() {
        return order;
    }
}
