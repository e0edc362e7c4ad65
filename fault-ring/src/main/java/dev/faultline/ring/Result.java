package dev.faultline.ring;

/** How a call ended, and what its caller does next. */
public enum Result {
    /** Done. */
    OK,
    /** Nothing was taken, for want of room: take completions or answers first, then call again. */
    FULL,
    /** The cookie names no group that waits for this answer: it was answered before, expired, or never given. Forget it. */
    STALE,
    /**
     * Too small for the group. From a read: the group stays where it is, call again with a larger buffer. From a producer: the
     * group has more requests than the queue takes, and is dropped; raise a smaller one.
     */
    SHORT_BUFFER,
    /** The reads were taken back as asked. */
    CANCELLED,
    /** The engine does not know the command, or could not do it: nothing was done. */
    REFUSED,
    /** The time limit passed first: call again, or look after something else. */
    TIMED_OUT,
    /** Somebody called {@code wake}: look at what they want, then call again. */
    WOKEN,
    /** The queue is closed: stop calling. */
    CLOSED
}
