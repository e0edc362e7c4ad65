package dev.faultline.iommu;

/**
 * What a device, or all devices of an {@link Iommu}, have done. Each number is exact; read while devices are stepped, they may
 * be of slightly different moments.
 *
 * @param accesses accesses finished, failed ones included
 * @param failed accesses that did not end {@link AccessResult#OK}
 * @param bytes bytes moved
 * @param deviceTlbHits pages found in the device's own TLB
 * @param deviceTlbMisses translation requests sent to the IOMMU
 * @param iotlbHits of those, found in the IOTLB
 * @param iotlbMisses of those, not found there
 * @param walks page-table walks, failed ones included
 * @param pageRequests page-request messages raised
 * @param groups page-request groups raised
 * @param retries accesses tried again after an answer
 * @param held times an access had to wait because the device's page requests were used up
 * @param invalidations invalidations obeyed
 * @param flushes times the device TLB was emptied as a whole
 * @param unknownAnswers responses for a group that was not open
 * @param ignoredAnswers responses that came after a failure, or after the device waited no longer
 * @param lateGroups groups without a response within the device's limit
 */
public record Counters(
        long accesses,
        long failed,
        long bytes,
        long deviceTlbHits,
        long deviceTlbMisses,
        long iotlbHits,
        long iotlbMisses,
        long walks,
        long pageRequests,
        long groups,
        long retries,
        long held,
        long invalidations,
        long flushes,
        long unknownAnswers,
        long ignoredAnswers,
        long lateGroups) {
    /** Nothing done. */
    public static final Counters ZERO = new Counters(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

    /**
     * The sum of two.
     *
     * @param other another device's
     * @return field by field
     */
    public Counters plus(Counters other) {
        return new Counters(
                accesses + other.accesses,
                failed + other.failed,
                bytes + other.bytes,
                deviceTlbHits + other.deviceTlbHits,
                deviceTlbMisses + other.deviceTlbMisses,
                iotlbHits + other.iotlbHits,
                iotlbMisses + other.iotlbMisses,
                walks + other.walks,
                pageRequests + other.pageRequests,
                groups + other.groups,
                retries + other.retries,
                held + other.held,
                invalidations + other.invalidations,
                flushes + other.flushes,
                unknownAnswers + other.unknownAnswers,
                ignoredAnswers + other.ignoredAnswers,
                lateGroups + other.lateGroups);
    }
}
