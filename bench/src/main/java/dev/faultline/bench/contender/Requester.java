package dev.faultline.bench.contender;

/**
 * The requester's end of a {@link Carrier}: sends faults and takes answers.
 *
 * <p>Threads: the requester's. Progress: no call waits.
 */
interface Requester {

    /** The device every request names. */
    int DEVICE = 1;

    /** The PASID every request names. */
    int PASID = 7;

    /** What a request asks for: read and write. */
    int ACCESS = 3;

    /** A slice begins. */
    default void begin() {}

    /** The slice is over. */
    default void end() {}

    /**
     * Stages one request.
     *
     * @param tag comes back with the answer
     * @param group the group number the request carries
     * @param address the page asked for
     */
    void send(int tag, int group, long address);

    /** Publishes what is staged. */
    default void flush() {}

    /** Takes the answers that are there to {@link Outstanding}. */
    void receive();
}
