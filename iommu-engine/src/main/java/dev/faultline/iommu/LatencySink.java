package dev.faultline.iommu;

/**
 * Takes the time of each fault, from raising its first page request to the access going on.
 *
 * <p>Threads: called inside {@link Device#step}, by the thread that has entered the device. It must not unmap, wait, or use
 * the device.
 */
@FunctionalInterface
public interface LatencySink {
    /**
     * A fault is over.
     *
     * @param latencyNs nanoseconds
     */
    void fault(long latencyNs);
}
