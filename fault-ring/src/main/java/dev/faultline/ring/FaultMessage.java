package dev.faultline.ring;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * A message of page-fault groups that was read from a descriptor: where each group lies, once all of it is checked.
 *
 * <p>Threads: the consumer's. The memory is the consumer's own, and the other end cannot write it, so what was checked stays.
 */
final class FaultMessage {
    private static final int RECORD = PageFaultLayout.SIZE;

    private final int fd;
    private final MemorySegment memory;
    private final long mostBytes;
    private final int largestGroup;

    /** Where each group ends, in records. */
    private final int[] ends;

    private int groups;

    /** Which message this is, and when it was read. */
    int number;

    long readAtNs;

    /**
     * No message.
     *
     * @param fd for messages to people
     * @param memory where messages are read to
     * @param mostRecords how long one may be
     */
    FaultMessage(int fd, MemorySegment memory, int mostRecords, int largestGroup) {
        this.fd = fd;
        this.memory = memory;
        this.mostBytes = (long) mostRecords * RECORD;
        this.largestGroup = largestGroup;
        this.ends = new int[mostRecords];
    }

    /**
     * Checks all of what was read.
     *
     * @throws IllegalStateException if it breaks a rule of the protocol; there are no groups then
     */
    void check(int bytes) {
        groups = 0;
        if (bytes % RECORD != 0 || bytes > mostBytes) {
            throw broken("bytes=" + bytes, "a multiple of " + RECORD + " up to " + mostBytes);
        }
        int records = bytes / RECORD;
        int found = 0;
        int first = 0;
        int cookie = 0;
        for (int i = 0; i < records; i++) {
            int its = word(i, PageFaultLayout.COOKIE_OFFSET);
            if (i == first) {
                cookie = its;
                if (cookie == 0) {
                    throw broken("record " + i + ": cookie=0", "1 or more");
                }
            } else if (its != cookie) {
                throw broken(
                        "record " + i + ": cookie=0x" + Integer.toHexString(its),
                        "0x" + Integer.toHexString(cookie) + ", the group's, until a record has FLAG_LAST_PAGE");
            }
            if (i - first == largestGroup) {
                throw broken("record " + i + ": group size=" + (largestGroup + 1), "1 to " + largestGroup);
            }
            if ((word(i, PageFaultLayout.FLAGS_OFFSET) & PageFaultLayout.FLAG_LAST_PAGE) != 0) {
                first = i + 1;
                ends[found++] = first;
            }
        }
        if (first != records) {
            throw broken(
                    "record " + (records - 1) + ": flags=" + word(records - 1, PageFaultLayout.FLAGS_OFFSET),
                    "FLAG_LAST_PAGE in the last record of a message");
        }
        groups = found;
    }

    private int word(int record, long offset) {
        return SharedWords.getInt(memory, (long) record * RECORD + offset);
    }

    IllegalStateException broken(String what, String allowed) {
        return new IllegalStateException("broken message on fd=" + fd + ": " + what + ": allowed " + allowed);
    }

    int groups() {
        return groups;
    }

    /** How many requests its groups have together. */
    int requests() {
        return groups == 0 ? 0 : ends[groups - 1];
    }

    int cookie(int group) {
        return word(first(group), PageFaultLayout.COOKIE_OFFSET);
    }

    private int first(int group) {
        return group == 0 ? 0 : ends[group - 1];
    }

    void show(int group, FaultGroup shown) {
        int first = first(group);
        shown.show(memory, (long) first * RECORD, ends[group] - first, readAtNs);
    }
}
