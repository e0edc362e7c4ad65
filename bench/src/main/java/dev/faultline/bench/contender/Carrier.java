package dev.faultline.bench.contender;

/**
 * Carries a 40-byte fault to the responder and an 8-byte answer back.
 *
 * <p>Threads: {@link #send}, {@link #flush} and {@link #receive} belong to the requester, {@link #serve} to the responder.
 *
 * <p>Work, the same for all: the requester fills in device, PASID, group, access, address and tag; the responder reads each of them and
 * answers with the tag and a code; {@link #receive} hands both to {@link Outstanding}.
 *
 * <p>Progress: no call waits.
 */
public interface Carrier extends AutoCloseable {

    /** The device every request names. */
    int DEVICE = 1;

    /** The PASID every request names. */
    int PASID = 7;

    /** What a request asks for: read and write. */
    int ACCESS = 3;

    /** Requester: a slice begins. */
    default void begin() {}

    /** Requester: the slice is over. */
    default void end() {}

    /** Responder: a slice begins. */
    default void beginServing() {}

    /** Responder: no slice follows. */
    default void endServing() {}

    /**
     * Stages one request.
     *
     * @param tag comes back with the answer
     * @param group the group number the request carries
     * @param address the page asked for
     */
    void send(int tag, int group, long address);

    /** Publishes what is staged. */
    void flush();

    /** Takes the answers that are there. */
    void receive();

    /**
     * Answers the requests that are there.
     *
     * @return how many; 0 if none was there
     */
    int serve();

    /**
     * The sum of all fields the responder read: so that reading them is not optimised away. Exact while nothing is under way.
     *
     * @return a number that changes with every request
     */
    long readFields();

    @Override
    default void close() {}
}
