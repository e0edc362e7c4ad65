package dev.faultline.iommu;

import org.jspecify.annotations.Nullable;

/**
 * How a {@link Device} is made.
 *
 * @param name for people
 * @param id what page requests carry: 0 or more and unique in the {@link Iommu}, or {@link #ANY_ID}
 * @param pri whether it makes page requests
 * @param allocation page-request messages it may have unanswered: 0 to 32768; with 0 it makes none
 * @param window accesses that may be under way: 1 to 4096
 * @param tlbEntries translations it keeps: a power of two, 4 to 2^20
 * @param groupPages consecutive pages it asks for at once: 1 to 64, and not above {@code allocation}
 * @param retryLimit page requests in a row for one page that may be answered SUCCESS in vain: 1 or more
 * @param latency takes the time of each fault; null to measure none
 */
public record DeviceConfig(
        String name,
        int id,
        boolean pri,
        int allocation,
        int window,
        int tlbEntries,
        int groupPages,
        int retryLimit,
        @Nullable LatencySink latency) {
    /** The {@link Iommu} chooses the id. */
    public static final int ANY_ID = -1;

    /** Checks the values. */
    public DeviceConfig {
        Limits.inRange("id", id, ANY_ID, Integer.MAX_VALUE);
        Limits.inRange("allocation", allocation, 0, 1 << 15);
        Limits.inRange("window", window, 1, 1 << 12);
        Limits.powerOfTwo("tlbEntries", tlbEntries, 4, 1 << 20);
        Limits.inRange("groupPages", groupPages, 1, 64);
        Limits.inRange("retryLimit", retryLimit, 1, Integer.MAX_VALUE);
        if (pri && allocation > 0 && groupPages > allocation) {
            throw new IllegalArgumentException("groupPages=" + groupPages + ": allowed 1 to allocation=" + allocation
                    + ", for a larger group could never be whole");
        }
    }

    /**
     * A device that makes page requests: 64 of them, one page each, a window of 64 accesses and a TLB of 256 entries.
     *
     * @param name for people
     * @return a configuration to start from
     */
    public static DeviceConfig pri(String name) {
        return new DeviceConfig(name, ANY_ID, true, 64, 64, 256, 1, 64, null);
    }

    /**
     * A device that fails at once where a page is absent.
     *
     * @param name for people
     * @return a configuration to start from
     */
    public static DeviceConfig plain(String name) {
        return new DeviceConfig(name, ANY_ID, false, 0, 64, 256, 1, 64, null);
    }

    /**
     * Another id.
     *
     * @param value 0 or more
     * @return the changed configuration
     */
    public DeviceConfig withId(int value) {
        return new DeviceConfig(name, value, pri, allocation, window, tlbEntries, groupPages, retryLimit, latency);
    }

    /**
     * Another number of page requests.
     *
     * @param messages that may be unanswered
     * @return the changed configuration
     */
    public DeviceConfig withAllocation(int messages) {
        return new DeviceConfig(name, id, pri, messages, window, tlbEntries, groupPages, retryLimit, latency);
    }

    /**
     * Another window.
     *
     * @param accesses that may be under way
     * @return the changed configuration
     */
    public DeviceConfig withWindow(int accesses) {
        return new DeviceConfig(name, id, pri, allocation, accesses, tlbEntries, groupPages, retryLimit, latency);
    }

    /**
     * Another TLB.
     *
     * @param entries a power of two, 4 or more
     * @return the changed configuration
     */
    public DeviceConfig withTlbEntries(int entries) {
        return new DeviceConfig(name, id, pri, allocation, window, entries, groupPages, retryLimit, latency);
    }

    /**
     * Larger page-request groups.
     *
     * @param pages consecutive pages from the one that is missing
     * @return the changed configuration
     */
    public DeviceConfig withGroupPages(int pages) {
        return new DeviceConfig(name, id, pri, allocation, window, tlbEntries, pages, retryLimit, latency);
    }

    /**
     * Another patience with answers that do not help.
     *
     * @param times in a row
     * @return the changed configuration
     */
    public DeviceConfig withRetryLimit(int times) {
        return new DeviceConfig(name, id, pri, allocation, window, tlbEntries, groupPages, times, latency);
    }

    /**
     * Measures faults.
     *
     * @param sink takes the time of each
     * @return the changed configuration
     */
    public DeviceConfig withLatency(LatencySink sink) {
        return new DeviceConfig(name, id, pri, allocation, window, tlbEntries, groupPages, retryLimit, sink);
    }
}
