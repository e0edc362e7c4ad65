package dev.faultline.ring;

/**
 * What a handler says of a group.
 *
 * <p>Source: the codes of {@code struct iommu_hwpt_page_response}, and {@link #LATER}, which is ours and never reaches a
 * device. The general failure of PCIe is missing on purpose: it would stop a page-request interface that devices share.
 */
public enum Answer {
    /** The pages are there now; the device tries again. */
    SUCCESS,
    /** The pages cannot be had; the device gives the access up. */
    INVALID,
    /** The answer comes by cookie, from this thread or another, before the deadline. */
    LATER
}
