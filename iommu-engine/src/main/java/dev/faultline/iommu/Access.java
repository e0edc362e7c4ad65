package dev.faultline.iommu;

/** What a device does at an address. */
public enum Access {
    /** From the page into the buffer. */
    READ,
    /** From the buffer into the page. */
    WRITE
}
