package dev.faultline.iommu;

/**
 * Takes finished accesses.
 *
 * <p>Threads: called inside {@link Device#poll}, by the thread that has entered the device. It may start further accesses.
 */
@FunctionalInterface
public interface AccessSink {
    /**
     * An access has ended; its buffer is the caller's again.
     *
     * @param userTag what it was started with
     * @param result how it ended
     */
    void finished(long userTag, AccessResult result);
}
