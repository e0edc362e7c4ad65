package dev.faultline.ring;

/** Why a group was answered {@link Answer#INVALID} by something else than its consumer's decision. */
public enum AutoAnswer {
    /** No answer came within the queue's deadline. */
    DEADLINE,
    /** The device left the address space, or its producer was closed. */
    DETACH,
    /** The device was reset. */
    RESET,
    /** The queue was closed. */
    CLOSE,
    /** The handler threw, or was at the other end of a {@link FaultServer}'s socket and is gone. */
    HANDLER
}
