package dev.faultline.iommu;

/** No frame of physical memory is free; evict a page, or open the IOMMU with more memory. Nothing was changed. */
public final class OutOfFrames extends RuntimeException {
    private static final long serialVersionUID = 1;

    OutOfFrames(String wantedFor, long total, long free) {
        super("no frame for " + wantedFor + ": " + (total - free) + " of " + total + " in use");
    }
}
