package dev.faultline.bench.contender;

/**
 * One thing to measure: a requester that makes round trips and a responder that answers them.
 *
 * <p>Threads: one requester thread and one responder thread, and as many helpers as {@link #helpers} says; the same for the whole life.
 *
 * <p>Lifetime: between two slices no loop runs, and nothing is under way.
 *
 * <p>Progress: the loops spin; only a responder that {@link #responderSleeps} does not.
 */
public interface Contest extends AutoCloseable {

    /** Requester: a slice begins. Not timed. */
    default void begin() {}

    /** Requester: before every {@link #request}. Not timed: what has to be put back in place is put back here. */
    default void prepare() {}

    /**
     * Requester: makes round trips, and may leave its window open for the next call.
     *
     * @param roundTrips how many must be completed before it returns
     * @return how many were completed, at least as many
     */
    int request(int roundTrips);

    /** Requester: the slice is over; takes what is still outstanding. Not timed. */
    void end();

    /**
     * Responder: answers until it has nothing to do and the flag is up.
     *
     * @param stop raised at the end of the slice, after {@link #end}
     */
    void respond(StopFlag stop);

    /** Requester: the flag of the responder is up; one that sleeps is to be woken. */
    default void wake() {}

    /**
     * Whether the responder sleeps, so that waits for a core are part of what is measured.
     *
     * @return false if both ends spin
     */
    default boolean responderSleeps() {
        return false;
    }

    /**
     * Threads that make requests beside the requester.
     *
     * @return how many
     */
    default int helpers() {
        return 0;
    }

    /**
     * Helper: makes round trips until the flag is up, and takes what it has under way. The responder answers until all have returned.
     *
     * @param helper which one, from 0
     * @param stop raised at the end of the slice
     */
    default void help(int helper, StopFlag stop) {
        throw new UnsupportedOperationException("helper=" + helper + ": this contest has none");
    }

    /** Responder: no slice follows. */
    default void endResponding() {}

    @Override
    void close();
}
