package dev.faultline.iommu.table;

/**
 * Where frames for tables come from: the one allocator on the control path, which tests replace by one that fails.
 *
 * <p>Threads: any. Units: physical addresses of frames of 4 KiB.
 */
public interface Allocator {
    /** A frame, or -1 if none is free. What it contains is left over from its last use. */
    long allocate();

    /** Gives a frame back, once. */
    void free(long address);
}
