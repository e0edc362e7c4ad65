package dev.faultline.examples.replay;

import dev.faultline.iommu.Counters;
import dev.faultline.ring.Accounting;
import org.HdrHistogram.Histogram;
import org.jspecify.annotations.Nullable;

/**
 * What came out of a replay. Immutable, as long as the histogram is left alone. Units: bytes, seconds, pages.
 *
 * @param config the settings, with the frames they came to
 * @param trace what the trace is called
 * @param faultStream whether a recorded fault stream was raised, not a trace replayed
 * @param complete whether it went to the end
 * @param traceAccesses accesses read from the trace
 * @param spaces address spaces pages were mapped in
 * @param loads device reads finished or begun
 * @param stores device writes finished or begun
 * @param verifiedBytes bytes read and found right
 * @param storedBytes bytes written
 * @param restarts accesses started again because the queue answered for the handler
 * @param tlbTimeOuts invalidations that a device did not answer in time, after which it was reset
 * @param pages pages touched, all devices together
 * @param mapped pages mapped by the handler
 * @param restored of those, pages that had been written back before
 * @param evictions pages evicted
 * @param writtenBack of those, pages that were dirty
 * @param recorded groups written to the recording
 * @param counters what the devices counted
 * @param accounting what became of the groups
 * @param latencyNs from raised to retried
 * @param elapsedS how long it took
 * @param bytesPerFault allocated by the threads that step and serve, for each group, after the first 4096 accesses of the
 *     trace; null if there was none
 * @param mismatch a byte that was wrong, or null
 * @param refused an access or group that was refused, or null
 * @param virtual what it was like in virtual time, or null
 */
public record ReplayReport(
        ReplayConfig config,
        String trace,
        boolean faultStream,
        boolean complete,
        long traceAccesses,
        int spaces,
        long loads,
        long stores,
        long verifiedBytes,
        long storedBytes,
        long restarts,
        long tlbTimeOuts,
        long pages,
        long mapped,
        long restored,
        long evictions,
        long writtenBack,
        long recorded,
        Counters counters,
        Accounting accounting,
        Histogram latencyNs,
        double elapsedS,
        @Nullable Double bytesPerFault,
        @Nullable Mismatch mismatch,
        @Nullable String refused,
        @Nullable Virtual virtual) {
    /**
     * What a run in virtual time was like. Two runs that went the same way have the same.
     *
     * @param elapsedNs virtual nanoseconds it took
     * @param acts turns that somebody took
     * @param order made of all turns
     */
    public record Virtual(long elapsedNs, long acts, long order) {}

    /**
     * Device accesses: one for each page that an access of the trace touches, two for one that loads and stores.
     *
     * @return loads and stores
     */
    public long accesses() {
        return loads + stores;
    }

    /**
     * What is wrong, if anything is.
     *
     * @return a line for people, or null
     */
    public @Nullable String problem() {
        if (mismatch != null) {
            return mismatch.toString();
        }
        if (refused != null) {
            return refused;
        }
        if (!accounting.balanced()) {
            return "the accounting does not balance: " + accounting;
        }
        return complete && accounting.outstanding() != 0 ? "groups are left over: " + accounting : null;
    }
}
