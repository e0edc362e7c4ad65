package dev.faultline.iommu;

/** How an access ended. Bytes before the one it ended at have been moved. */
public enum AccessResult {
    /** All bytes were moved. */
    OK,
    /** Its page request was answered INVALID: there is no such page, or not for this access. Do not try again. */
    INVALID,
    /** Nothing is attached for this PASID: attach, then start it again. */
    NOT_ATTACHED,
    /** The page is absent or may not be used so, and the address space has no fault queue to ask through. */
    NO_FAULT_QUEUE,
    /** The page is absent or may not be used so, and the device makes no page requests, or none is allocated to it. */
    NO_PAGE_REQUESTS,
    /** The address is outside of what the page-table format translates. */
    NOT_CANONICAL,
    /** The walk met an entry that no table of this format has: the table is damaged. */
    TABLE_ERROR,
    /** Its page requests were answered SUCCESS, as often as the device's retry limit, and the page was not there. */
    UNRESOLVED,
    /** The caller's buffer could not be used: closed, confined to another thread, or read-only. */
    BAD_BUFFER,
    /** The device or its fault queue was closed. */
    CLOSED
}
