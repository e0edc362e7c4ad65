package dev.faultline.ring;

import com.google.errorprone.annotations.CheckReturnValue;

/**
 * How the calls on a descriptor are made: moves what a {@link DescriptorProtocol} has and wants, and tells it each result.
 *
 * <p>Threads: the consumer's. Ownership: closed by the consumer. Progress: only {@link #sleep} waits.
 */
interface DescriptorDrive {
    /** Has answers written, as many as are taken without waiting; says how many that is known of. */
    int send();

    /**
     * {@link #send}, and lets one message come if there is one.
     *
     * @param receives whether a message is wanted
     */
    void exchange(boolean receives);

    /**
     * {@link #send}, after groups have been handed over.
     *
     * @param receives whether the next message may be fetched where that costs nothing: nobody looks at the last one any more
     */
    void flush(boolean receives);

    /**
     * How often to look before sleeping.
     *
     * @return calls of {@link #exchange} that find nothing and take some 20 to 50 us together
     */
    int looksBeforeSleep();

    /**
     * Waits until the descriptor is ready for what is wanted of it, its other end has gone, or the consumer's wake-up was
     * signalled. May also return for no reason.
     *
     * @param receives whether a message is wanted
     * @param limitNs nanoseconds at most, 1 or more
     * @return whether the wake-up's descriptor has to be read
     */
    @CheckReturnValue
    boolean sleep(boolean receives, long limitNs);

    /**
     * Lets go of the descriptor, which stays open.
     *
     * @return whether the protocol's memory may be freed: false if the kernel may still write there
     */
    @CheckReturnValue
    boolean close();
}
