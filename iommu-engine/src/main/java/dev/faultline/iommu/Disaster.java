package dev.faultline.iommu;

/**
 * What can go wrong between a device and its handler, on purpose: see {@link Device#misbehave}. None of them hurts another device.
 * {@code docs/disasters.md} says of each what a handler sees.
 */
public enum Disaster {
    /** The page request queue is full when the device's next group arrives, and empty again a step later. */
    QUEUE_OVERFLOW,
    /** The last request of the next group is lost on its way. */
    LOST_LAST,
    /** The next group is sent under the index of another one that is open. */
    INDEX_REUSED,
    /** A stop marker for the PASID follows the next group, whose answer is still to come; the device goes on using the PASID. */
    STOP_MARKER_RACE,
    /** The device answers no invalidation of its TLB any more, until it is reset. */
    DEVICE_TLB_TIMEOUT,
    /** The next response says failure, whatever the handler answered: the page request interface stops. */
    FAILURE_ANSWER,
    /** The device is reset while the next group is open. */
    RESET_IN_FLIGHT,
    /** The PASID of the next group is detached, and attached anew, while its answer is still to come. */
    PASID_REUSED,
    /** The device asks for the page of the next group a thousand times more, allocation or not. */
    FLOOD
}
