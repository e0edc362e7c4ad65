package dev.faultline.iommu;

/** What a device does with an access whose page is not there. */
public enum FaultModel {
    /** The access fails at once. */
    TERMINATE,
    /** The device asks for the page through its page request interface (PCIe PRI), and tries again after the answer. */
    PAGE_REQUEST,
    /**
     * The IOMMU stops the transaction where it is and reports it with its exact address and a tag (SMMUv3 stall): an answer
     * resumes or aborts it. A stall is a group by itself.
     */
    STALL,
    /**
     * The device's accesses fail at once; its page requests are made elsewhere, and reported by a driver, see {@link
     * Device#reportTo}.
     */
    REPORTED
}
