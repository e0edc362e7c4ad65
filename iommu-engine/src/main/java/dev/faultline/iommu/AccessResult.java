package dev.faultline.iommu;

/** How an access ended. Bytes before the one it ended at have been moved. */
public enum AccessResult {
    /** All bytes were moved. */
    OK,
    /** Its page request was answered INVALID: there is no such page, or not for this access. Do not try again. */
    INVALID,
    /** Nothing is attached for this PASID, or its guest has no tables for it: attach, then start it again. */
    NOT_ATTACHED,
    /** The page is absent or may not be used so, and the address space has no fault queue to ask through. */
    NO_FAULT_QUEUE,
    /**
     * The page is absent or may not be used so, and the device makes no page requests, or has disabled them, or none is allocated to it, or its
     * guest wants such accesses to end.
     */
    NO_PAGE_REQUESTS,
    /** The address is outside of what the page-table format translates. */
    NOT_CANONICAL,
    /** The walk met an entry that no table of this format has: the table is damaged. */
    TABLE_ERROR,
    /** Its page requests were answered SUCCESS, as often as the device's retry limit, and the page was not there. */
    UNRESOLVED,
    /** The caller's buffer could not be used: closed, confined to another thread, or read-only. */
    BAD_BUFFER,
    /** Its page request was answered with failure, or another one was: the interface has to be enabled again. */
    RESPONSE_FAILURE,
    /** The device stops using the PASID, and the page was not there. */
    STOPPED,
    /** No response came within the device's limit; or none is free, for none of those it waits for came. Reset the device. */
    TIMED_OUT,
    /** The device was reset. */
    RESET,
    /** The device is attached to nothing on purpose: every access is refused. */
    BLOCKED,
    /** The device or its fault queue was closed. */
    CLOSED
}
