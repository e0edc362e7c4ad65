package dev.faultline.iommu;

import dev.faultline.ring.Clock;
import java.util.Objects;

/**
 * How an {@link Iommu} is made.
 *
 * @param memoryBytes emulated physical memory, for pages and page tables: a multiple of 4096, up to 1 TiB
 * @param iotlbEntries translations that all devices share: a power of two, 4 to 2^20
 * @param stations threads that may have entered devices at once: 1 to 4096
 * @param logEntries invalidations that a thread may lag behind before it forgets all translations: a power of two, 16 to 2^20
 * @param pageRequestEntries page requests that software may be behind with: a power of two, 1 to 2^16
 * @param limitNs how long to wait for a thread that has entered a device to step it, in nanoseconds: 1 or more
 * @param clock by which page requests and invalidations run out of time, and latencies are measured
 */
public record IommuConfig(
        long memoryBytes,
        int iotlbEntries,
        int stations,
        int logEntries,
        int pageRequestEntries,
        long limitNs,
        Clock clock) {
    private static final long MAX_BYTES = 1L << 40;
    private static final int MAX_ENTRIES = 1 << 20;

    /** Checks the values. */
    public IommuConfig {
        if (memoryBytes < Frames.BYTES || memoryBytes > MAX_BYTES || memoryBytes % Frames.BYTES != 0) {
            throw new IllegalArgumentException("memoryBytes=" + memoryBytes + ": allowed multiples of " + Frames.BYTES
                    + " from " + Frames.BYTES + " to " + MAX_BYTES);
        }
        Limits.powerOfTwo("iotlbEntries", iotlbEntries, 4, MAX_ENTRIES);
        Limits.inRange("stations", stations, 1, 4096);
        Limits.powerOfTwo("logEntries", logEntries, 16, MAX_ENTRIES);
        Limits.powerOfTwo("pageRequestEntries", pageRequestEntries, 1, 1 << 16);
        Limits.inRange("limitNs", limitNs, 1, Long.MAX_VALUE);
        Objects.requireNonNull(clock, "clock=null: allowed a Clock");
    }

    /**
     * 16 MiB, 1024 entries in the IOTLB, 64 threads, 1024 entries in the log, 1024 page requests, 10 seconds, the machine's clock.
     *
     * @return a configuration to start from
     */
    public static IommuConfig small() {
        return new IommuConfig(16L << 20, 1024, 64, 1024, 1024, 10_000_000_000L, Clock.SYSTEM);
    }

    /**
     * Another size of memory.
     *
     * @param frames in frames of 4096 bytes
     * @return the changed configuration
     */
    public IommuConfig withFrames(int frames) {
        return new IommuConfig(
                (long) frames * Frames.BYTES, iotlbEntries, stations, logEntries, pageRequestEntries, limitNs, clock);
    }

    /**
     * Another IOTLB.
     *
     * @param entries a power of two, 4 or more
     * @return the changed configuration
     */
    public IommuConfig withIotlbEntries(int entries) {
        return new IommuConfig(memoryBytes, entries, stations, logEntries, pageRequestEntries, limitNs, clock);
    }

    /**
     * Room for another number of threads.
     *
     * @param threads that may have entered devices at once
     * @return the changed configuration
     */
    public IommuConfig withStations(int threads) {
        return new IommuConfig(memoryBytes, iotlbEntries, threads, logEntries, pageRequestEntries, limitNs, clock);
    }

    /**
     * Another invalidation log.
     *
     * @param entries a power of two, 16 or more
     * @return the changed configuration
     */
    public IommuConfig withLogEntries(int entries) {
        return new IommuConfig(memoryBytes, iotlbEntries, stations, entries, pageRequestEntries, limitNs, clock);
    }

    /**
     * Another page request queue.
     *
     * @param entries a power of two, 1 or more
     * @return the changed configuration
     */
    public IommuConfig withPageRequestEntries(int entries) {
        return new IommuConfig(memoryBytes, iotlbEntries, stations, logEntries, entries, limitNs, clock);
    }

    /**
     * Another patience.
     *
     * @param ns nanoseconds
     * @return the changed configuration
     */
    public IommuConfig withLimitNs(long ns) {
        return new IommuConfig(memoryBytes, iotlbEntries, stations, logEntries, pageRequestEntries, ns, clock);
    }

    /**
     * Another clock, such as one that a test moves.
     *
     * @param other the clock
     * @return the changed configuration
     */
    public IommuConfig withClock(Clock other) {
        return new IommuConfig(memoryBytes, iotlbEntries, stations, logEntries, pageRequestEntries, limitNs, other);
    }
}
