package dev.faultline.bench.contender;

/**
 * The responder's end of a {@link Carrier}: reads faults and answers them.
 *
 * <p>Threads: the responder's, but for {@link #readFields}.
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

    /**
     * The sum of all fields that were read: so that reading them is not optimised away. Exact while nothing is under way.
     *
     * @return a number that changes with every request
     */
    long readFields();
}
