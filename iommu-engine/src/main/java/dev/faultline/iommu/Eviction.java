package dev.faultline.iommu;

/** How an eviction ended, and what its caller does next. */
public enum Eviction {
    /** Nothing is mapped there: look elsewhere. */
    NOT_MAPPED,
    /** A device asked for the page and has not tried again yet: take another page, or come back after the device stepped. */
    BUSY,
    /** Evicted. No device wrote to it since it was mapped, and nothing was copied. */
    CLEAN,
    /** Evicted. It was written to, and its content was copied out: keep it. */
    DIRTY
}
