package dev.faultline.iommu;

/** How a change of {@link Areas} ended. Each but {@link #DONE} leaves things as they were, unless the method says otherwise. */
public enum AreaResult {
    /** It was done. */
    DONE,
    /** A value is none of those allowed: an empty range, or one that is not aligned. */
    REFUSED,
    /** A range goes beyond the last address. */
    WRAPS,
    /** It reaches into a reserved range. */
    RESERVED,
    /** Something is mapped there. */
    TAKEN,
    /** No free range is large enough. */
    NO_SPACE,
    /** Nothing is mapped there, or a mapping would have to be cut. */
    NOT_MAPPED,
    /** A mapping is just being made or taken away, or is held by an object that has to go first. */
    BUSY,
    /** The memory, or the mapping, permits no such access. */
    DENIED,
    /** The caller has no such memory. */
    UNREACHABLE,
    /** No memory for a table. */
    NO_MEMORY,
    /** A mapping or an allowed range is in the way. */
    IN_USE,
    /** Who uses the memory was asked to let go, again and again, and did not. */
    NOT_LET_GO
}
