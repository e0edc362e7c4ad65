package dev.faultline.ring;

/** What a source of faults promises beyond the common contract of {@link FaultConsumer}. */
public enum Guarantee {
    /** Every group the device raised is counted, also those never delivered. */
    RAISED_COUNTED,
    /** A device may have so many groups open, is told {@link Result#FULL} beyond that, and no answer is refused for want of room. */
    QUOTA,
    /** A group without an answer is answered {@link Answer#INVALID} when the deadline passes. */
    DEADLINE,
    /** A device that leaves has all its groups answered. */
    ANSWERED_AT_DETACH,
    /** Closing the source answers everything outstanding. */
    ANSWERED_AT_CLOSE,
    /** A late or repeated answer is always {@link Result#STALE}, never another group's. */
    STALE_TOLD_APART
}
