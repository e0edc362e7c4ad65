package dev.faultline.ring;

/**
 * The settings of a fault queue, checked when they are made.
 *
 * @param entries reads a lane can hold posted at once, 1 to 2^20
 * @param largestGroup page requests a group may have, 1 to 2048
 * @param deadlineNs nanoseconds from a group's last request until it is answered {@link Answer#INVALID} for want of an
 *     answer; 0 for none, as the kernel does
 * @param waiting how both ends wait
 * @param lanes producers at once, 1 to 4096
 * @param closeLimitNs nanoseconds that closing waits for each end to leave
 * @param clock by which groups age
 */
public record QueueConfig(
        int entries, int largestGroup, long deadlineNs, Waiting waiting, int lanes, long closeLimitNs, Clock clock) {
    /** The deadline unless another is asked for: 10 seconds. */
    public static final long DEFAULT_DEADLINE_NS = 10_000_000_000L;

    /** How long closing waits unless asked otherwise: 1 second. */
    public static final long DEFAULT_CLOSE_LIMIT_NS = 1_000_000_000L;

    private static final int MAX_ENTRIES = 1 << 20;
    static final int MAX_GROUP = 2048;
    static final int MAX_LANES = 4096;

    /** Checks every setting. */
    public QueueConfig {
        check("entries", entries, 1, MAX_ENTRIES);
        check("largestGroup", largestGroup, 1, MAX_GROUP);
        check("deadlineNs", deadlineNs, 0, Long.MAX_VALUE / 4);
        Arguments.notNull("waiting", waiting, "SPIN, YIELD, SPIN_THEN_PARK, EVENTFD");
        check("lanes", lanes, 1, MAX_LANES);
        check("closeLimitNs", closeLimitNs, 0, Long.MAX_VALUE / 4);
        Arguments.notNull("clock", clock, "a Clock");
    }

    /**
     * The usual settings: groups of one, 10 seconds, spin then park, 16 lanes, the machine's clock.
     *
     * @param entries reads a lane can hold posted at once
     * @return the settings
     */
    public static QueueConfig of(int entries) {
        return new QueueConfig(
                entries, 1, DEFAULT_DEADLINE_NS, Waiting.SPIN_THEN_PARK, 16, DEFAULT_CLOSE_LIMIT_NS, Clock.SYSTEM);
    }

    /**
     * With another largest group.
     *
     * @param requests 1 to 2048
     * @return the changed settings
     */
    public QueueConfig withLargestGroup(int requests) {
        return new QueueConfig(entries, requests, deadlineNs, waiting, lanes, closeLimitNs, clock);
    }

    /**
     * With another deadline.
     *
     * @param ns nanoseconds, 0 for none
     * @return the changed settings
     */
    public QueueConfig withDeadlineNs(long ns) {
        return new QueueConfig(entries, largestGroup, ns, waiting, lanes, closeLimitNs, clock);
    }

    /**
     * With another way of waiting.
     *
     * @param how the way
     * @return the changed settings
     */
    public QueueConfig withWaiting(Waiting how) {
        return new QueueConfig(entries, largestGroup, deadlineNs, how, lanes, closeLimitNs, clock);
    }

    /**
     * With room for another number of producers.
     *
     * @param count 1 to 4096
     * @return the changed settings
     */
    public QueueConfig withLanes(int count) {
        return new QueueConfig(entries, largestGroup, deadlineNs, waiting, count, closeLimitNs, clock);
    }

    /**
     * With another limit for closing.
     *
     * @param ns nanoseconds
     * @return the changed settings
     */
    public QueueConfig withCloseLimitNs(long ns) {
        return new QueueConfig(entries, largestGroup, deadlineNs, waiting, lanes, ns, clock);
    }

    /**
     * With another clock, such as one that a test moves.
     *
     * @param other the clock
     * @return the changed settings
     */
    public QueueConfig withClock(Clock other) {
        return new QueueConfig(entries, largestGroup, deadlineNs, waiting, lanes, closeLimitNs, other);
    }

    private static void check(String field, long value, long low, long high) {
        if (value < low || value > high) {
            throw new IllegalArgumentException(field + "=" + value + ": allowed " + low + " to " + high);
        }
    }
}
