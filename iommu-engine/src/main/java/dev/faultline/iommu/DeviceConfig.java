package dev.faultline.iommu;

import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * How a {@link Device} is made.
 *
 * @param name for people
 * @param id what page requests carry: 0 or more and unique in the {@link Iommu}, or {@link #ANY_ID}
 * @param requester its {@link RequesterId}: 0 to 65535 and unique in the {@link Iommu}, or {@link #ANY_ID}
 * @param pasidBits width of its PASIDs: 0, for none, to 20
 * @param faults what it does where a page is absent
 * @param allocation page requests, or stalls, it may have unanswered: 0 to 32768; with 0 it makes none. For page requests also the
 *     capacity of its {@link PageRequestInterface}; a virtual function uses that of its physical one
 * @param pasidInResponses whether a request with PASID wants it back in the response (PRG Response PASID Required)
 * @param requestLimitNs how long it waits for a response before the access fails, in nanoseconds; 0 for ever
 * @param window accesses that may be under way: 1 to 4096
 * @param tlbEntries translations it keeps: a power of two, 4 to 2^20
 * @param groupPages consecutive pages it asks for at once: 1 to 64, and not above {@code allocation}; 1 where it stalls
 * @param retryLimit page requests in a row for one page that may be answered SUCCESS in vain: 1 or more
 * @param reserved addresses at which nothing may be mapped while the device is attached without PASID; kept sorted and merged
 * @param latency takes the time of each fault; null to measure none
 */
public record DeviceConfig(
        String name,
        int id,
        int requester,
        int pasidBits,
        FaultModel faults,
        int allocation,
        boolean pasidInResponses,
        long requestLimitNs,
        int window,
        int tlbEntries,
        int groupPages,
        int retryLimit,
        List<ReservedRegion> reserved,
        @Nullable LatencySink latency) {
    /** The {@link Iommu} chooses. */
    public static final int ANY_ID = -1;

    /** More than a fault queue's deadline, which answers what a handler forgets: only what is lost elsewhere takes so long. */
    private static final long REQUEST_LIMIT_NS = 30_000_000_000L;

    private static final int REPORTED_GROUPS = 4096;

    /** Checks the values. */
    public DeviceConfig {
        Limits.inRange("id", id, ANY_ID, Integer.MAX_VALUE);
        Limits.inRange("requester", requester, ANY_ID, RequesterId.LARGEST);
        Limits.inRange("pasidBits", pasidBits, 0, 20);
        Limits.inRange("allocation", allocation, 0, 1 << 15);
        Limits.inRange("requestLimitNs", requestLimitNs, 0, Long.MAX_VALUE);
        Limits.inRange("window", window, 1, 1 << 12);
        Limits.powerOfTwo("tlbEntries", tlbEntries, 4, 1 << 20);
        Limits.inRange("groupPages", groupPages, 1, faults == FaultModel.STALL ? 1 : 64);
        Limits.inRange("retryLimit", retryLimit, 1, Integer.MAX_VALUE);
        reserved = ReservedRegion.merged(reserved);
        if (faults != FaultModel.TERMINATE && allocation > 0 && groupPages > allocation) {
            throw new IllegalArgumentException("groupPages=" + groupPages + ": allowed 1 to allocation=" + allocation
                    + ", for a larger group could never be whole");
        }
    }

    private static DeviceConfig of(String name, FaultModel faults, int allocation) {
        return new DeviceConfig(
                name, ANY_ID, ANY_ID, 20, faults, allocation, false, REQUEST_LIMIT_NS, 64, 256, 1, 64, List.of(), null);
    }

    /**
     * A device that makes page requests: 64 of them, one page each, a window of 64 accesses and a TLB of 256 entries.
     *
     * @param name for people
     * @return a configuration to start from
     */
    public static DeviceConfig pri(String name) {
        return of(name, FaultModel.PAGE_REQUEST, 64);
    }

    /**
     * A device whose transactions stall, 64 at most.
     *
     * @param name for people
     * @return a configuration to start from
     */
    public static DeviceConfig stalling(String name) {
        return of(name, FaultModel.STALL, 64);
    }

    /**
     * A device whose page requests are made elsewhere and reported by a driver: 4096 groups of them may be open; a window of one access and a
     * TLB of 4 entries.
     *
     * @param name for people
     * @return a configuration to start from
     */
    public static DeviceConfig reported(String name) {
        return of(name, FaultModel.REPORTED, REPORTED_GROUPS).withWindow(1).withTlbEntries(4);
    }

    /**
     * A device that fails at once where a page is absent.
     *
     * @param name for people
     * @return a configuration to start from
     */
    public static DeviceConfig plain(String name) {
        return of(name, FaultModel.TERMINATE, 0);
    }

    /**
     * Another id.
     *
     * @param value 0 or more
     * @return the changed configuration
     */
    public DeviceConfig withId(int value) {
        return with(values -> values.id = value);
    }

    /**
     * Another name on the wire.
     *
     * @param value a {@link RequesterId}
     * @return the changed configuration
     */
    public DeviceConfig withRequester(int value) {
        return with(values -> values.requester = value);
    }

    /**
     * Another width of PASIDs.
     *
     * @param bits 0 to 20
     * @return the changed configuration
     */
    public DeviceConfig withPasidBits(int bits) {
        return with(values -> values.pasidBits = bits);
    }

    /**
     * Another number of page requests.
     *
     * @param messages that may be unanswered
     * @return the changed configuration
     */
    public DeviceConfig withAllocation(int messages) {
        return with(values -> values.allocation = messages);
    }

    /**
     * Whether responses carry the PASID of their request.
     *
     * @param required PRG Response PASID Required
     * @return the changed configuration
     */
    public DeviceConfig withPasidInResponses(boolean required) {
        return with(values -> values.pasidInResponses = required);
    }

    /**
     * Another patience with responses that do not come.
     *
     * @param ns nanoseconds; 0 for ever
     * @return the changed configuration
     */
    public DeviceConfig withRequestLimitNs(long ns) {
        return with(values -> values.requestLimitNs = ns);
    }

    /**
     * Another window.
     *
     * @param accesses that may be under way
     * @return the changed configuration
     */
    public DeviceConfig withWindow(int accesses) {
        return with(values -> values.window = accesses);
    }

    /**
     * Another TLB.
     *
     * @param entries a power of two, 4 or more
     * @return the changed configuration
     */
    public DeviceConfig withTlbEntries(int entries) {
        return with(values -> values.tlbEntries = entries);
    }

    /**
     * Larger page-request groups.
     *
     * @param pages consecutive pages from the one that is missing
     * @return the changed configuration
     */
    public DeviceConfig withGroupPages(int pages) {
        return with(values -> values.groupPages = pages);
    }

    /**
     * Another patience with answers that do not help.
     *
     * @param times in a row
     * @return the changed configuration
     */
    public DeviceConfig withRetryLimit(int times) {
        return with(values -> values.retryLimit = times);
    }

    /**
     * Measures faults.
     *
     * @param sink takes the time of each
     * @return the changed configuration
     */
    public DeviceConfig withLatency(LatencySink sink) {
        return with(values -> values.latency = sink);
    }

    /**
     * Other reserved regions.
     *
     * @param regions in any order
     * @return the changed configuration
     */
    public DeviceConfig withReserved(ReservedRegion... regions) {
        return with(values -> values.reserved = List.of(regions));
    }

    /** A copy that is being changed. */
    private static final class Values {
        String name;
        int id;
        int requester;
        int pasidBits;
        FaultModel faults;
        int allocation;
        boolean pasidInResponses;
        long requestLimitNs;
        int window;
        int tlbEntries;
        int groupPages;
        int retryLimit;
        List<ReservedRegion> reserved;

        @Nullable
        LatencySink latency;

        Values(DeviceConfig from) {
            name = from.name;
            id = from.id;
            requester = from.requester;
            pasidBits = from.pasidBits;
            faults = from.faults;
            allocation = from.allocation;
            pasidInResponses = from.pasidInResponses;
            requestLimitNs = from.requestLimitNs;
            window = from.window;
            tlbEntries = from.tlbEntries;
            groupPages = from.groupPages;
            retryLimit = from.retryLimit;
            reserved = from.reserved;
            latency = from.latency;
        }

        DeviceConfig checked() {
            return new DeviceConfig(
                    name,
                    id,
                    requester,
                    pasidBits,
                    faults,
                    allocation,
                    pasidInResponses,
                    requestLimitNs,
                    window,
                    tlbEntries,
                    groupPages,
                    retryLimit,
                    reserved,
                    latency);
        }
    }

    private DeviceConfig with(Consumer<Values> change) {
        Values values = new Values(this);
        change.accept(values);
        return values.checked();
    }
}
