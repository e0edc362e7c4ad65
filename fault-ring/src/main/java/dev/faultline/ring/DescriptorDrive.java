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
     * Waits until the descriptor is ready for what is wanted of it, its other end has gone, or the consumer's {@link WakePair} was
     * signalled. May also return for no reason.
     *
     * @param receives whether a message is wanted
     * @param limitNs nanoseconds at most, 1 or more
     * @return whether the wake pair's descriptor has to be read
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
