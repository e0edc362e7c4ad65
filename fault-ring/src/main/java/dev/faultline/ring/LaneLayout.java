package dev.faultline.ring;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ring.internal.RingLayout;

/**
 * Where everything of a lane is in its region.
 *
 * <pre>{@code
 *  revoked line | completion ring | submission ring | claims | group buffers | response table
 * }</pre>
 *
 * <p>Completion entry, 64 bytes: the record lies inside for a group of one; a larger group lies in the group buffer that
 * belongs to the entry's index.
 *
 * <pre>{@code
 *  0          8      12      16            24                                64
 *  +----------+------+-------+-------------+----------------------------------+
 *  | userData | kind | count | raisedAtNs  | record (40)                      |
 *  +----------+------+-------+-------------+----------------------------------+
 * }</pre>
 *
 * <p>Submission entry, 64 bytes: up to six answers, or one operation.
 *
 * <pre>{@code
 *  0        4       8          16                                             64
 *  +--------+-------+----------+-----------------------------------------------+
 *  | opcode | count | userData | six times { cookie u32, code u32 }            |
 *  +--------+-------+----------+-----------------------------------------------+
 * }</pre>
 *
 * <p>Claims, one for each slot: the consumer's note of the cookies it has been given and not answered.
 *
 * <p>Response table, one slot for each group that may be open. Only the thread that has entered the lane writes it; the
 * consumer reads {@code state} when a group of the lane has been answered automatically.
 *
 * <pre>{@code
 *  0               8     16           24     28     32     36     40
 *  +---------------+-----+------------+------+------+------+------+------------------------+
 *  | cookie, state | tag | raisedAtNs | prev | next | size |  0   | records (40 each)      |
 *  +---------------+-----+------------+------+------+------+------+------------------------+
 * }</pre>
 *
 * <table>
 * <caption>The shared words besides the rings'</caption>
 * <tr><th>word</th><th>written by</th><th>read by</th><th>published by, pairs with</th><th>a stale value costs</th></tr>
 * <tr><td>revoked</td><td>the lane's thread, after the states of the groups it answers by itself</td><td>the consumer, with
 * each answer</td><td>release, acquire</td><td>an answer that lost the race goes out and is counted stale on arrival</td></tr>
 * <tr><td>state</td><td>the lane's thread</td><td>the consumer, once revoked has moved</td><td>release, acquire</td><td>as
 * revoked</td></tr>
 * <tr><td>claim</td><td>the consumer, at delivery and with its answer; another thread that answers LATER, by
 * compare-and-set</td><td>the same</td><td>volatile among the threads that answer LATER; the hand-over of the cookie orders
 * delivery before them</td><td>if the consumer and another thread answer one cookie at once, both may be told OK; the response
 * table takes one, and counts the other stale</td></tr>
 * </table>
 *
 * @param allocation groups that may be open: slots
 * @param largestGroup requests in a group at most
 * @param completionEntries capacity of the completion ring
 * @param submissionEntries capacity of the submission ring
 */
record LaneLayout(int allocation, int largestGroup, int completionEntries, int submissionEntries) {
    static final int COMPLETION_USER_DATA = 0;
    static final int COMPLETION_KIND = 8;
    static final int COMPLETION_COUNT = 12;
    static final int COMPLETION_RAISED_AT = 16;
    static final int COMPLETION_RECORD = 24;

    /** The low bits of the kind word are the kind; in a group's, the others are the low bits of revoked at delivery. */
    static final int KIND_BITS = 8;

    static final int KIND_MASK = (1 << KIND_BITS) - 1;
    static final int REVOKED_MASK = -1 >>> KIND_BITS;

    /** A group; count is its requests. */
    static final int KIND_GROUP = 1;
    /** Reads that were cancelled; count is how many. */
    static final int KIND_CANCELLED = 2;
    /** Reads that ended because the queue or the lane did; count is how many. */
    static final int KIND_CLOSED = 3;

    static final int SUBMISSION_OPCODE = 0;
    static final int SUBMISSION_COUNT = 4;
    static final int SUBMISSION_USER_DATA = 8;
    static final int SUBMISSION_ANSWERS = 16;
    static final int ANSWERS_PER_ENTRY = 6;
    static final int ANSWER_BYTES = 8;

    /** Answers; count is how many. */
    static final int OPCODE_ANSWER = 1;
    /** Reads; count is how many. */
    static final int OPCODE_POST = 2;
    /** Takes back the reads with the entry's user data. */
    static final int OPCODE_CANCEL = 3;
    /** Takes back all reads. */
    static final int OPCODE_CANCEL_ALL = 4;

    /** Bit of an answer's code: {@link Answer#INVALID} rather than {@link Answer#SUCCESS}. */
    static final int CODE_INVALID = 1;
    /** Bit of an answer's code: no answer yet, only the read is posted again. */
    static final int CODE_LATER = 1 << 1;
    /** Bit of an answer's code: the handler threw. */
    static final int CODE_THREW = 1 << 2;
    /** Bit of an answer's code: post the group's read again. */
    static final int CODE_REPOST = 1 << 3;

    static final int SLOT_TAG = 8;
    static final int SLOT_RAISED_AT = 16;
    static final int SLOT_PREV = 24;
    static final int SLOT_NEXT = 28;
    static final int SLOT_SIZE = 32;
    static final int SLOT_RECORDS = 40;

    /** The slot is free; its cookie is the one it had last. */
    static final int FREE = 0;
    /** The group lacks its last request. */
    static final int ASSEMBLING = 1;
    /** The group is whole and waits for a read. */
    static final int WAITING = 2;
    /** The group is in a completion, or with the consumer. */
    static final int DELIVERED = 3;
    /** The group is answered; the sink has not been told. */
    static final int ANSWERED = 4;

    static final String[] STATE_NAMES = {"free", "assembling", "waiting", "delivered", "answered"};

    /** A claim: {@code u32 cookie, u32 low bits of revoked at delivery}; the cookie is 0 when there is nothing to answer. */
    static final int CLAIM_BYTES = 8;

    /** Submission entries kept for what is not an answer. */
    static final int CONTROL_ENTRIES = 64;

    static final long REVOKED_OFFSET = 0;
    static final long COMPLETIONS_OFFSET = CacheLine.BYTES;

    static LaneLayout of(QueueConfig config, int allocation) {
        // Completions: a read that was posted, or one that its consumer has not given back yet, and a result for each
        // cancel.
        int completions = CacheLine.ceilingPowerOfTwo(2 * config.entries() + CONTROL_ENTRIES);
        // Submissions: an entry for every open group's answer, and the control entries: an answer always finds room.
        int submissions = CacheLine.ceilingPowerOfTwo(allocation + CONTROL_ENTRIES);
        return new LaneLayout(allocation, config.largestGroup(), completions, submissions);
    }

    long submissionsOffset() {
        return COMPLETIONS_OFFSET + RingLayout.bytes(completionEntries);
    }

    long claimsOffset() {
        return submissionsOffset() + RingLayout.bytes(submissionEntries);
    }

    long claimOffset(int slot) {
        return claimsOffset() + (long) slot * CLAIM_BYTES;
    }

    long buffersOffset() {
        return CacheLine.alignUp(claimOffset(allocation));
    }

    /** Bytes of one group buffer; none where every group lies inside its completion. */
    long bufferBytes() {
        return largestGroup == 1 ? 0 : (long) largestGroup * PageFaultLayout.SIZE;
    }

    /** The group buffer that belongs to an entry of the completion ring. */
    long bufferOffset(int entry) {
        return buffersOffset() + entry * bufferBytes();
    }

    long tableOffset() {
        return CacheLine.alignUp(buffersOffset() + completionEntries * bufferBytes());
    }

    long slotBytes() {
        return SLOT_RECORDS + (long) largestGroup * PageFaultLayout.SIZE;
    }

    long bytes() {
        return CacheLine.alignUp(tableOffset() + allocation * slotBytes());
    }
}
