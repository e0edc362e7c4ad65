package dev.faultline.iommu;

/** How far page requests have to be for {@link Device#drain}. */
public enum Drain {
    /**
     * With the fault queue, or dropped: nothing of them is left in the page request queue. As a kernel drains before it detaches;
     * groups that lack their last request stay.
     */
    DELIVERED,
    /** Answered: no group waits for a response. */
    ANSWERED
}
