package dev.faultline.ring;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.SharedWords;
import dev.faultline.ring.internal.Stamps;
import java.lang.foreign.MemorySegment;

/**
 * Where everything is that the two sides of a lane share: first what only the producer's side writes, then, on pages of its own,
 * what only the consumer's side writes. So it can lie in a file that is mapped by a peer which is not trusted. What a side needs
 * to be sure of, the response table and the claims, is nowhere in it.
 *
 * <pre>{@code
 *  header | status | taken | completion ring | group buffers | revoked cookies || submission ring
 * }</pre>
 *
 * <p>Header, written once, before anybody else knows the lane:
 *
 * <pre>{@code
 *  0       8         12             16           20          24           28            32
 *  +-------+---------+--------------+------------+-----------+------------+-------------+--------------+
 *  | magic | version | largestGroup | allocation | completions | submissions | lanes      | lane's number |
 *  +-------+---------+--------------+------------+-----------+------------+-------------+--------------+
 * }</pre>
 *
 * <p>Completion, 64 bytes: the record lies inside for a group of one; a larger group lies in the group buffer that belongs to the
 * entry's index. The stamp's low bits, see {@link Stamps}: 32 bits of value (for a group the low bits of revoked at delivery;
 * else how many reads, or what the engine returned), 12 bits of size, 4 bits of kind. A kind of its own says of a group that its
 * user data and time are those of the group before it, and are not written.
 *
 * <pre>{@code
 *  0       8          16            24                                64
 *  +-------+----------+-------------+----------------------------------+
 *  | stamp | userData | raisedAtNs  | record (40)                      |
 *  +-------+----------+-------------+----------------------------------+
 * }</pre>
 *
 * <p>Submission, 8 bytes: 32 bits of value, 8 bits of argument, 8 bits of opcode, the lap. An answer is one word. What needs user
 * data uses that of the stream, which two words set when it changes.
 *
 * <table>
 * <caption>The shared words besides the rings'</caption>
 * <tr><th>word</th><th>written by</th><th>read by</th><th>published by, pairs with</th><th>a stale value costs</th></tr>
 * <tr><td>revoked</td><td>the lane's thread, when it answers a group that the consumer may hold</td><td>the consumer, with
 * each answer</td><td>release, acquire</td><td>an answer that lost the race goes out and is counted stale on arrival</td></tr>
 * <tr><td>revoked cookie, one for each slot</td><td>the lane's thread, before revoked</td><td>the consumer, once revoked has
 * moved</td><td>revoked</td><td>as revoked</td></tr>
 * <tr><td>ended</td><td>the lane's thread, last of all</td><td>the consumer, when it finds nothing</td><td>release,
 * acquire</td><td>the lane is dropped later</td></tr>
 * </table>
 *
 * @param largestGroup requests in a group at most
 * @param allocation groups that may be open: slots
 * @param completionEntries capacity of the completion ring
 * @param submissionWords capacity of the submission ring
 * @param lanes lanes the queue was configured for, which cookies are made for
 * @param lane the lane's number
 */
record LaneLayout(int largestGroup, int allocation, int completionEntries, int submissionWords, int lanes, int lane) {
    static final int VERSION = 1;

    private static final long MAGIC = 0x454e_414c_544c_4146L; // "FALTLANE" read from low to high
    private static final int HEADER_MAGIC = 0;
    private static final int HEADER_VERSION = 8;
    private static final int HEADER_LARGEST_GROUP = 12;
    private static final int HEADER_ALLOCATION = 16;
    private static final int HEADER_COMPLETIONS = 20;
    private static final int HEADER_SUBMISSIONS = 24;
    private static final int HEADER_LANES = 28;
    private static final int HEADER_LANE = 32;

    static final long REVOKED_OFFSET = CacheLine.BYTES;
    static final long ENDED_OFFSET = CacheLine.BYTES + 4;
    static final long TAKEN_OFFSET = 2L * CacheLine.BYTES;
    static final long COMPLETIONS_OFFSET = 3L * CacheLine.BYTES;

    static final int COMPLETION_USER_DATA = 8;
    static final int COMPLETION_RAISED_AT = 16;
    static final int COMPLETION_RECORD = 24;

    private static final int SIZE_SHIFT = 32;
    private static final int KIND_SHIFT = 44;
    private static final int SIZE_MASK = (1 << (KIND_SHIFT - SIZE_SHIFT)) - 1;

    /** A group; the value is the low bits of revoked, the size its requests. */
    static final int KIND_GROUP = 1;
    /** Reads that were cancelled; the value is how many. */
    static final int KIND_CANCELLED = 2;
    /** Reads that ended because the queue or the lane did; the value is how many. */
    static final int KIND_CLOSED = 3;
    /** A nop, or a command that was done; the value is what the engine returned. */
    static final int KIND_DONE = 4;
    /** A command that the engine does not know, or could not do. */
    static final int KIND_REFUSED = 5;

    /** A group whose user data and time are those of the group before it in the ring, and not written again. */
    static final int KIND_GROUP_AGAIN = 6;

    private static final int ARGUMENT_SHIFT = 32;
    private static final int OPCODE_SHIFT = 40;

    /** An answer: the value is the cookie, the argument the code. */
    static final int OPCODE_ANSWER = 1;
    /** The low half of the stream's user data. */
    static final int OPCODE_USER_DATA_LOW = 2;
    /** The high half of the stream's user data. */
    static final int OPCODE_USER_DATA_HIGH = 3;
    /** Posts reads; the value is how many. */
    static final int OPCODE_POST = 4;
    /** Takes back the reads with the stream's user data. */
    static final int OPCODE_CANCEL = 5;
    /** Takes back all reads. */
    static final int OPCODE_CANCEL_ALL = 6;
    /** Does nothing, and completes. */
    static final int OPCODE_NOP = 7;
    /** Four bytes of a command's payload; the argument says which. */
    static final int OPCODE_PAYLOAD = 8;
    /** A command to the engine: the argument is its opcode, the value how many bytes its payload has. */
    static final int OPCODE_COMMAND = 9;

    /** Bit of an answer's code: {@link Answer#INVALID} rather than {@link Answer#SUCCESS}. */
    static final int CODE_INVALID = 1;
    /** Bit of an answer's code: no answer yet, only the read is posted again. */
    static final int CODE_LATER = 1 << 1;
    /** Bit of an answer's code: the handler threw. */
    static final int CODE_THREW = 1 << 2;
    /** Bit of an answer's code: post a read with the stream's user data. */
    static final int CODE_REPOST = 1 << 3;

    /** Operations besides posts that may be under way: each has a completion kept free for it. */
    static final int CONTROL_ENTRIES = 64;

    /** Words to set the stream's user data. */
    static final int USER_DATA_WORDS = 2;

    /** Words of the submission ring for what is no answer, and the one that stays free. */
    static final int CONTROL_WORDS = 3 * CONTROL_ENTRIES + 1;

    private static final int MOST_ENTRIES = (1 << 20) + CONTROL_ENTRIES + 1;
    private static final int PAGE_BYTES = 4096;

    static LaneLayout of(QueueConfig config, int allocation, int lane) {
        // A completion for each read, for each operation under way, and for the group that a handler is looking at.
        int completions = config.entries() + CONTROL_ENTRIES + 1;
        int submissions = answerWords(config.entries(), allocation) + CONTROL_WORDS;
        return new LaneLayout(config.largestGroup(), allocation, completions, submissions, config.lanes(), lane);
    }

    /** Words that answers may take: one each, and one for a read that is given back, with its user data. */
    private static int answerWords(int entries, int allocation) {
        return allocation + (1 + USER_DATA_WORDS) * Math.min(entries, allocation);
    }

    /** Words of the submission ring that are kept for answers, whatever else is submitted. */
    int answerWords() {
        return answerWords(mostReads(), allocation);
    }

    /** Says in the lane's memory what lies where. */
    void writeTo(MemorySegment memory) {
        SharedWords.putInt(memory, HEADER_VERSION, VERSION);
        SharedWords.putInt(memory, HEADER_LARGEST_GROUP, largestGroup);
        SharedWords.putInt(memory, HEADER_ALLOCATION, allocation);
        SharedWords.putInt(memory, HEADER_COMPLETIONS, completionEntries);
        SharedWords.putInt(memory, HEADER_SUBMISSIONS, submissionWords);
        SharedWords.putInt(memory, HEADER_LANES, lanes);
        SharedWords.putInt(memory, HEADER_LANE, lane);
        // Release: whoever finds the magic number finds the rest.
        SharedWords.setLongRelease(memory, HEADER_MAGIC, MAGIC);
    }

    /**
     * What lies where in memory that somebody else has laid out. Each word is read once, and none is believed.
     *
     * @throws IllegalArgumentException if the memory holds no lane, or one of another version, or one that does not fit into it
     */
    static LaneLayout readFrom(MemorySegment memory) {
        if (memory.byteSize() < COMPLETIONS_OFFSET) {
            throw new IllegalArgumentException(
                    "bytes=" + memory.byteSize() + ": a lane has " + COMPLETIONS_OFFSET + " or more");
        }
        // Acquire: pairs with the release that ends the writing.
        long magic = SharedWords.getLongAcquire(memory, HEADER_MAGIC);
        if (magic != MAGIC) {
            throw new IllegalArgumentException("magic=0x" + Long.toHexString(magic) + ": allowed 0x"
                    + Long.toHexString(MAGIC) + "; this is no lane");
        }
        check("version", SharedWords.getInt(memory, HEADER_VERSION), VERSION, VERSION);
        int largestGroup =
                check("largestGroup", SharedWords.getInt(memory, HEADER_LARGEST_GROUP), 1, QueueConfig.MAX_GROUP);
        int lanes = check("lanes", SharedWords.getInt(memory, HEADER_LANES), 1, QueueConfig.MAX_LANES);
        int allocation =
                check("allocation", SharedWords.getInt(memory, HEADER_ALLOCATION), 1, Cookies.largestAllocation(lanes));
        int completions =
                check("completions", SharedWords.getInt(memory, HEADER_COMPLETIONS), CONTROL_ENTRIES + 2, MOST_ENTRIES);
        int answers = answerWords(completions - CONTROL_ENTRIES - 1, allocation);
        int submissions = check(
                "submissions",
                SharedWords.getInt(memory, HEADER_SUBMISSIONS),
                answers + CONTROL_WORDS,
                answers + CONTROL_WORDS);
        int lane = check("lane", SharedWords.getInt(memory, HEADER_LANE), 0, lanes - 1);
        LaneLayout layout = new LaneLayout(largestGroup, allocation, completions, submissions, lanes, lane);
        if (layout.bytes() > memory.byteSize()) {
            throw new IllegalArgumentException(
                    "bytes=" + memory.byteSize() + ": the lane's header asks for " + layout.bytes());
        }
        return layout;
    }

    private static int check(String field, int value, int low, int high) {
        if (value < low || value > high) {
            throw new IllegalArgumentException(
                    field + "=" + value + " in the header of a lane: allowed " + low + " to " + high);
        }
        return value;
    }

    /** The low bits of a completion's stamp. */
    static long completion(int kind, int size, int value) {
        return (value & 0xffff_ffffL) | (long) size << SIZE_SHIFT | (long) kind << KIND_SHIFT;
    }

    static int kind(long completion) {
        return (int) (completion >>> KIND_SHIFT);
    }

    static int size(long completion) {
        return (int) (completion >>> SIZE_SHIFT) & SIZE_MASK;
    }

    /** The low bits of a submission. */
    static long submission(int opcode, int argument, int value) {
        return (value & 0xffff_ffffL) | (long) argument << ARGUMENT_SHIFT | (long) opcode << OPCODE_SHIFT;
    }

    static int opcode(long submission) {
        return (int) (submission >>> OPCODE_SHIFT);
    }

    static int argument(long submission) {
        return (int) (submission >>> ARGUMENT_SHIFT) & 0xff;
    }

    /** Reads that may be posted at once. */
    int mostReads() {
        return completionEntries - CONTROL_ENTRIES - 1;
    }

    /** Bytes of one group buffer; none where every group lies inside its completion. */
    long bufferBytes() {
        return largestGroup == 1 ? 0 : (long) largestGroup * PageFaultLayout.SIZE;
    }

    /** The group buffer of the first entry of the completion ring. */
    long buffersOffset() {
        return CacheLine.alignUp(COMPLETIONS_OFFSET + (long) completionEntries * Stamps.ENTRY_BYTES);
    }

    /** The revoked cookie of the first slot. */
    long revokedCookiesOffset() {
        return CacheLine.alignUp(buffersOffset() + completionEntries * bufferBytes());
    }

    /** Where the part begins that the consumer's side writes. */
    long submissionsOffset() {
        long end = revokedCookiesOffset() + (long) allocation * Integer.BYTES;
        return (end + PAGE_BYTES - 1) & -PAGE_BYTES;
    }

    long bytes() {
        return CacheLine.alignUp(submissionsOffset() + (long) submissionWords * Stamps.WORD_BYTES);
    }
}
