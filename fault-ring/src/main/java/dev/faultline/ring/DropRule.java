package dev.faultline.ring;

/** The rules by which a group that was never whole is dropped without an answer. */
public enum DropRule {
    /** The group had no last request when its device left, or its producer or queue was closed. */
    ABANDONED,
    /** The group had more requests than the queue's largest group; its producer was told so by {@link Result#SHORT_BUFFER}. */
    OVERSIZED
}
