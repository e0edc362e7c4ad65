package dev.faultline.ring;

/**
 * Takes the answers for a producer's groups: the way back to the device.
 *
 * <p>Threads: called inside {@link FaultProducer#poll} or {@link FaultProducer#revoke}, by the thread that has entered the
 * producer, and by no other. It is called last, when all else is done, so it may raise
 * again, and may close; it may not poll. What it throws reaches the caller, and no answer is lost by it.
 */
@FunctionalInterface
public interface AnswerSink {
    /**
     * A group is answered; its device may try again, or give up.
     *
     * @param tag the tag its last request was raised with
     * @param code {@link Answer#SUCCESS} or {@link Answer#INVALID}
     */
    void answered(long tag, Answer code);
}
