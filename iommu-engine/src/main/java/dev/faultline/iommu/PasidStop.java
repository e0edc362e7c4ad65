package dev.faultline.iommu;

/** How a function stops using a PASID. */
public enum PasidStop {
    /**
     * It sends a stop marker behind its last page request and waits for nothing. The next user of the PASID may see stale requests
     * until the marker has passed; who reuses it drains first.
     */
    MARKER,
    /** It asks no more, and is stopped once everything it asked for that PASID is answered. */
    WAIT
}
