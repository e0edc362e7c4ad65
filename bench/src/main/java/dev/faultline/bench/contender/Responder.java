package dev.faultline.bench.contender;

/**
 * The responder's end of a {@link Carrier}: reads faults and answers them.
 *
 * <p>Threads: the responder's, but for {@link #awaitIdle}, {@link #wake} and {@link #readFields}.
 */
interface Responder {

    /** A slice begins. */
    default void begin() {}

    /** No slice follows. */
    default void end() {}

    /**
     * Answers the requests that are there.
     *
     * @return how many; 0 if none was there
     */
    int serve();

    /** Requester: returns once this end is as idle as its contest wants it before each round trip. */
    default void awaitIdle() {}

    /** Requester: ends a sleep in {@link #serve}. */
    default void wake() {}

    /**
     * Whether {@link #serve} sleeps when nothing is there.
     *
     * @return false if it returns at once
     */
    default boolean sleeps() {
        return false;
    }

    /**
     * The sum of all fields that were read: so that reading them is not optimised away. Exact while nothing is under way.
     *
     * @return a number that changes with every request
     */
    long readFields();
}
