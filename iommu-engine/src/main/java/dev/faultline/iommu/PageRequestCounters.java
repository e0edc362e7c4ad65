package dev.faultline.iommu;

/**
 * What became of the page request messages a device sent, up to the fault queue; from there on the queue's {@link
 * dev.faultline.ring.Accounting} counts groups.
 *
 * @param sent messages sent, stop markers included
 * @param delivered handed to a fault queue as part of a whole group
 * @param overflowAnswered last requests answered SUCCESS by the IOMMU, for there was no room for them
 * @param overflowDropped other requests and stop markers that were dropped for there was no room
 * @param unhandled requests nobody handles: nothing attached, no fault queue, a closed one, or a group larger than it takes. Their
 *     groups were answered INVALID
 * @param discarded requests of groups that lacked their last one: after an overflow, at a reset, or as the device left
 * @param markers stop markers received
 * @param lost on the wire
 * @param outstanding stored in the page request queue, or in a group that lacks its last request; counted, not computed
 */
public record PageRequestCounters(
        long sent,
        long delivered,
        long overflowAnswered,
        long overflowDropped,
        long unhandled,
        long discarded,
        long markers,
        long lost,
        long outstanding) {
    /**
     * Whether each message is accounted for.
     *
     * @return true if what was sent is what became of it
     */
    public boolean balanced() {
        return sent
                == delivered
                        + overflowAnswered
                        + overflowDropped
                        + unhandled
                        + discarded
                        + markers
                        + lost
                        + outstanding;
    }
}
