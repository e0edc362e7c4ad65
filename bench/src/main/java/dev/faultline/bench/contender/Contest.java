package dev.faultline.bench.contender;

/**
 * One thing to measure: a requester that makes round trips and a responder that answers them.
 *
 * <p>Threads: one requester thread and one responder thread, the same two for the whole life.
 *
 * <p>Lifetime: between two slices neither loop runs, and nothing is outstanding.
 *
 * <p>Progress: both loops spin; nothing here sleeps.
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

    /** Responder: no slice follows. */
    default void endResponding() {}

    @Override
    void close();
}
