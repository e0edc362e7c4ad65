package dev.faultline.bench.contender;

import java.util.HashMap;
import java.util.Map;

/**
 * What one slice of one contender came to. One line of text carries it from the process that measured to the one that asked.
 *
 * @param roundTrips round trips completed in the timed part
 * @param timedNs time of those round trips, in ns
 * @param stalledNs the part of it in which far less was done than usual: somebody else had the core
 * @param waitedNs time the hot threads waited for a core they were ready to use, in ns, or {@link #UNKNOWN}
 * @param involuntarySwitches how often the hot threads were taken off their cores
 * @param requesterBytes bytes the requester's thread allocated, and its helpers'
 * @param responderBytes bytes the responder's thread allocated
 * @param allRoundTrips round trips the bytes were allocated in: the timed ones, the lead-in and the last
 */
public record Slice(
        long roundTrips,
        long timedNs,
        long stalledNs,
        long waitedNs,
        long involuntarySwitches,
        long requesterBytes,
        long responderBytes,
        long allRoundTrips) {

    /** A time the kernel does not tell. */
    public static final long UNKNOWN = -1;

    /** The first word of the line. */
    public static final String WORD = "slice";

    /**
     * Time of one round trip; at a window above 1, the time by which one more is completed.
     *
     * @return ns
     */
    public double nsPerRoundTrip() {
        return (double) timedNs / roundTrips;
    }

    /**
     * What all hot threads allocated.
     *
     * @return bytes, in {@link #allRoundTrips}
     */
    public long allocatedBytes() {
        return requesterBytes + responderBytes;
    }

    /**
     * The slice as one line.
     *
     * @return words that {@link #parse} understands
     */
    public String line() {
        return WORD + " round_trips=" + roundTrips + " timed_ns=" + timedNs + " stalled_ns=" + stalledNs + " waited_ns="
                + waitedNs + " involuntary_switches=" + involuntarySwitches + " requester_bytes=" + requesterBytes
                + " responder_bytes=" + responderBytes + " all_round_trips=" + allRoundTrips;
    }

    /**
     * Reads a line.
     *
     * @param line what {@link #line} gave
     * @return the slice
     * @throws IllegalArgumentException if it is another line
     */
    public static Slice parse(String line) {
        Map<String, Long> values = new HashMap<>();
        String[] words = line.split(" ", -1);
        if (!words[0].equals(WORD)) {
            throw new IllegalArgumentException("not a slice: " + line);
        }
        for (int i = 1; i < words.length; i++) {
            int equals = words[i].indexOf('=');
            if (equals < 0) {
                throw new IllegalArgumentException("word=" + words[i] + " in: " + line);
            }
            values.put(words[i].substring(0, equals), Long.valueOf(words[i].substring(equals + 1)));
        }
        return new Slice(
                value(values, "round_trips", line),
                value(values, "timed_ns", line),
                value(values, "stalled_ns", line),
                value(values, "waited_ns", line),
                value(values, "involuntary_switches", line),
                value(values, "requester_bytes", line),
                value(values, "responder_bytes", line),
                value(values, "all_round_trips", line));
    }

    private static long value(Map<String, Long> values, String name, String line) {
        Long value = values.get(name);
        if (value == null) {
            throw new IllegalArgumentException(name + " is missing in: " + line);
        }
        return value;
    }
}
