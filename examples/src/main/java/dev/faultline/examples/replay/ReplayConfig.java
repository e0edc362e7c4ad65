package dev.faultline.examples.replay;

import dev.faultline.examples.BadInput;
import dev.faultline.iommu.Disaster;
import dev.faultline.ring.Waiting;
import org.jspecify.annotations.Nullable;

/**
 * How a trace is replayed. Immutable; any thread. Units: nanoseconds, frames and pages of 4096 bytes.
 *
 * @param devices how many devices replay the trace, each all of it, in an address space of its own
 * @param deviceThreads how many threads step them
 * @param frames physical frames for their pages; 0 for {@link #DEFAULT_FRAMES} a device, or more where that is too few
 * @param tableFrames physical frames for page tables
 * @param window accesses a device may have under way
 * @param group pages asked for together
 * @param waiting how threads wait for each other
 * @param deadlineNs after which a group is answered without its handler; 0 for never
 * @param limit accesses of the trace after which it counts as ended
 * @param seed decides all data
 * @param disaster what every device causes again and again; null for none
 * @param virtual whether all run on one thread in virtual time, in an order that the seed decides too
 */
public record ReplayConfig(
        int devices,
        int deviceThreads,
        int frames,
        int tableFrames,
        int window,
        int group,
        Waiting waiting,
        long deadlineNs,
        long limit,
        long seed,
        @Nullable Disaster disaster,
        boolean virtual) {
    /** Frames for each device, unless told otherwise. */
    public static final int DEFAULT_FRAMES = 256;

    /** Frames for page tables, unless told otherwise. */
    public static final int DEFAULT_TABLE_FRAMES = 8192;

    /** The largest {@code devices}. */
    public static final int MAX_DEVICES = 256;

    /** The largest {@code window}. */
    public static final int MAX_WINDOW = 256;

    /** The largest {@code group}. */
    public static final int MAX_GROUP = 64;

    /** The largest {@code frames}: 64 GiB. */
    public static final int MAX_FRAMES = 1 << 24;

    /** The longest {@code deadlineNs}: an hour. */
    public static final long MAX_DEADLINE_NS = 3_600_000_000_000L;

    /**
     * Without a disaster, and in real time.
     *
     * @param devices as above
     * @param deviceThreads as above
     * @param frames as above
     * @param tableFrames as above
     * @param window as above
     * @param group as above
     * @param waiting as above
     * @param deadlineNs as above
     * @param limit as above
     * @param seed as above
     */
    public ReplayConfig(
            int devices,
            int deviceThreads,
            int frames,
            int tableFrames,
            int window,
            int group,
            Waiting waiting,
            long deadlineNs,
            long limit,
            long seed) {
        this(devices, deviceThreads, frames, tableFrames, window, group, waiting, deadlineNs, limit, seed, null, false);
    }

    /**
     * One device, one thread, one access at a time.
     *
     * @return the settings to start from
     */
    public static ReplayConfig usual() {
        return new ReplayConfig(
                1, 1, 0, DEFAULT_TABLE_FRAMES, 1, 1, Waiting.SPIN_THEN_PARK, 10_000_000_000L, Long.MAX_VALUE, 1);
    }

    /**
     * The fewest frames with which nobody can be stuck: every access under way may hold the pages it asked for.
     *
     * @return devices x window x group
     */
    public int leastFrames() {
        return devices * window * group;
    }

    /**
     * Checks every setting, and settles the frames.
     *
     * @return these settings with the number of frames they come to
     * @throws BadInput naming the option
     */
    public ReplayConfig checked() throws BadInput {
        inRange("--devices", devices, 1, MAX_DEVICES, "");
        inRange("--device-threads", deviceThreads, 1, devices, deviceThreads > devices ? " (one a device)" : "");
        inRange("--window", window, 1, MAX_WINDOW, "");
        inRange("--group", group, 1, MAX_GROUP, "");
        inRange("--limit", limit, 1, Long.MAX_VALUE, "");
        inRange("--table-frames", tableFrames, 16, MAX_FRAMES, "");
        if (deadlineNs < 0 || deadlineNs > MAX_DEADLINE_NS) {
            throw new BadInput("--deadline", deadlineNs + "ns", "out of range", "0s for none, up to 60m");
        }
        int least = leastFrames();
        int settled = frames == 0 ? Math.max(least, devices * DEFAULT_FRAMES) : frames;
        inRange(
                "--frames",
                settled,
                least,
                MAX_FRAMES,
                " for " + devices + " devices x window " + window + " x group " + group);
        return new ReplayConfig(
                devices,
                deviceThreads,
                settled,
                tableFrames,
                window,
                group,
                waiting,
                deadlineNs,
                limit,
                seed,
                disaster,
                virtual);
    }

    private static void inRange(String field, long value, long from, long to, String why) throws BadInput {
        if (value < from || value > to) {
            String allowed = to == Long.MAX_VALUE ? from + " or more" : from + " to " + to;
            throw new BadInput(field, Long.toString(value), value < from ? "too few" : "too many", allowed + why);
        }
    }
}
