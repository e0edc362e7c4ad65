package dev.faultline.ring;

import dev.faultline.ffm.SharedWords;
import dev.faultline.ring.internal.EntryReader;
import dev.faultline.ring.internal.EntryWriter;
import java.lang.foreign.MemorySegment;

/**
 * The consumer's side of a lane: its ends of both rings, and the cookies it has been given.
 *
 * <p>Threads: the consumer's, but for {@link #answerLater}.
 */
final class ConsumerLane {
    final Lane lane;

    private final MemorySegment memory;
    private final LaneLayout layout;
    private final EntryReader completions;
    private final EntryWriter submissions;
    private final long claims;
    private final long buffers;
    private final long bufferBytes;
    private final int mostReads;

    /** Reads that are posted and have not been completed, as this side sees it. */
    private int reads;

    /** The entry that takes the next answer, or -1. */
    private long openEntry = -1;

    private int openCount;
    private long openUserData;

    /** Positions of the entries in the submission ring that are no answers, oldest first. */
    private final long[] controlPositions = new long[LaneLayout.CONTROL_ENTRIES];

    private int controlHead;
    private int controlTail;

    /** Cancels whose completion has not been handed over. */
    private int cancels;

    /** For each slot the cookie whose read has not been posted again, or 0; and what that read was posted with. */
    private final int[] owedCookies;

    private final long[] owedUserData;

    ConsumerLane(Lane lane, int mostReads) {
        this.lane = lane;
        this.memory = lane.memory;
        this.layout = lane.layout;
        this.mostReads = mostReads;
        this.owedCookies = new int[layout.allocation()];
        this.owedUserData = new long[layout.allocation()];
        this.claims = layout.claimOffset(0);
        this.buffers = layout.bufferOffset(0);
        this.bufferBytes = layout.bufferBytes();
        this.completions = new EntryReader(memory, LaneLayout.COMPLETIONS_OFFSET, layout.completionEntries());
        this.submissions = new EntryWriter(memory, layout.submissionsOffset(), layout.submissionEntries());
    }

    // ---- submissions ----

    boolean hasRoomForReads(int count) {
        return count <= mostReads - reads && hasRoomForControl();
    }

    boolean hasRoomForCancel() {
        return cancels < LaneLayout.CONTROL_ENTRIES && hasRoomForControl();
    }

    /** Control entries are few, and what is no answer never takes the room that answers need. */
    private boolean hasRoomForControl() {
        return submissions.canClaim() && hasFreeControl();
    }

    private boolean hasFreeControl() {
        dropTakenControls();
        if (controlTail - controlHead < LaneLayout.CONTROL_ENTRIES) {
            return true;
        }
        submissions.refresh();
        dropTakenControls();
        return controlTail - controlHead < LaneLayout.CONTROL_ENTRIES;
    }

    private void dropTakenControls() {
        while (controlHead != controlTail
                && controlPositions[controlHead % LaneLayout.CONTROL_ENTRIES] < submissions.headSeen()) {
            controlHead++;
        }
    }

    void post(long userData, int count) {
        reads += count;
        control(LaneLayout.OPCODE_POST, userData, count);
    }

    void cancel(int opcode, long userData) {
        cancels++;
        control(opcode, userData, 0);
    }

    private void control(int opcode, long userData, int count) {
        openEntry = -1;
        controlPositions[controlTail++ % LaneLayout.CONTROL_ENTRIES] = submissions.position();
        long entry = submissions.claim();
        if (entry < 0) {
            throw new IllegalStateException(
                    "lane=" + lane.index + ": the submission ring is full, which its size excludes");
        }
        header(entry, opcode, count);
        SharedWords.putLong(memory, entry + LaneLayout.SUBMISSION_USER_DATA, userData);
    }

    /** Answers a group this consumer has been given. */
    Result answer(int cookie, int code) {
        int slot = lane.cookies.slot(cookie);
        if (cookie == 0 || slot >= layout.allocation()) {
            return Result.STALE;
        }
        boolean later = (code & LaneLayout.CODE_LATER) != 0;
        // A read is given back once, whatever became of its group, and never beyond what the lane can hold.
        boolean reposts = false;
        if (owedCookies[slot] == cookie) {
            reposts = (code & LaneLayout.CODE_REPOST) != 0 && reads < mostReads;
            if (reposts || !later) {
                owedCookies[slot] = 0;
            }
        }
        int repost = reposts ? LaneLayout.CODE_REPOST : 0;
        long claim = claims + (long) slot * LaneLayout.CLAIM_BYTES;
        long word = SharedWords.getLong(memory, claim);
        boolean stale = (int) word != cookie;
        if (!stale && isRevoked(slot, word)) {
            SharedWords.putLong(memory, claim, 0);
            stale = true;
        }
        if (stale || later) {
            if (reposts) {
                stage(cookie, LaneLayout.CODE_LATER | repost, owedUserData[slot]);
            }
            return stale ? Result.STALE : Result.OK;
        }
        SharedWords.putLong(memory, claim, 0);
        stage(cookie, (code & ~LaneLayout.CODE_REPOST) | repost, owedUserData[slot]);
        return Result.OK;
    }

    /** Answers from any thread: the compare-and-set lets one of several through. */
    Result answerLater(int cookie, int code) {
        int slot = lane.cookies.slot(cookie);
        if (cookie == 0 || slot >= layout.allocation()) {
            return Result.STALE;
        }
        long claim = claims + (long) slot * LaneLayout.CLAIM_BYTES;
        long word = SharedWords.getLongVolatile(memory, claim);
        if ((int) word != cookie || !SharedWords.compareAndSetLong(memory, claim, word, 0)) {
            return Result.STALE;
        }
        if (isRevoked(slot, word)) {
            return Result.STALE;
        }
        lane.answerFromOutside(cookie, code, 0);
        return Result.OK;
    }

    /** Whether a group that was given out still waits for its answer. */
    boolean isOpen(int cookie) {
        int slot = lane.cookies.slot(cookie);
        if (slot >= layout.allocation()) {
            return false;
        }
        long word = SharedWords.getLongVolatile(memory, claims + (long) slot * LaneLayout.CLAIM_BYTES);
        return (int) word == cookie && !isRevoked(slot, word);
    }

    private boolean isRevoked(int slot, long claim) {
        // Acquire: if the count moved, the states it was raised for are seen. Unmoved since delivery: nothing was
        // revoked.
        int revoked = SharedWords.getIntAcquire(memory, LaneLayout.REVOKED_OFFSET);
        return (revoked & LaneLayout.REVOKED_MASK) != (int) (claim >>> 32)
                && SharedWords.getLongAcquire(memory, layout.tableOffset() + slot * layout.slotBytes())
                        != ResponseTable.stateWord(LaneLayout.DELIVERED, (int) claim);
    }

    private void stage(int cookie, int code, long userData) {
        boolean reposts = (code & LaneLayout.CODE_REPOST) != 0;
        if (reposts) {
            reads++;
        }
        if (openEntry < 0 || openCount == LaneLayout.ANSWERS_PER_ENTRY || (reposts && openUserData != userData)) {
            long entry = submissions.claim();
            if (entry < 0) {
                // Rare: a slot whose answer has not been taken was freed meanwhile and used again, or sent LATER as
                // well. The
                // slower way has room.
                lane.answerFromOutside(cookie, code, userData);
                return;
            }
            openEntry = entry;
            openCount = 0;
            openUserData = userData;
            SharedWords.putLong(memory, entry + LaneLayout.SUBMISSION_USER_DATA, userData);
        }
        SharedWords.putLong(
                memory,
                openEntry + LaneLayout.SUBMISSION_ANSWERS + (long) openCount * LaneLayout.ANSWER_BYTES,
                (cookie & 0xffff_ffffL) | ((long) code << 32));
        header(openEntry, LaneLayout.OPCODE_ANSWER, ++openCount);
    }

    private void header(long entry, int opcode, int count) {
        SharedWords.putLong(
                memory, entry + LaneLayout.SUBMISSION_OPCODE, (opcode & 0xffff_ffffL) | ((long) count << 32));
    }

    int submit() {
        int n = submissions.staged();
        if (n > 0) {
            openEntry = -1;
            submissions.publish();
            lane.signalProducer();
        }
        return n;
    }

    // ---- completions ----

    boolean isReady() {
        return completions.isReady();
    }

    /** The lane is gone: reads that were under way to it end here. */
    void endRest(CompletionHandler handler) {
        if (reads > 0) {
            int rest = reads;
            reads = 0;
            handler.ended(0, Result.CLOSED, rest);
        }
    }

    /** Gives back the entries of the last {@link #drain}; views of them end. */
    void release() {
        completions.release();
    }

    int drain(CompletionHandler handler, FaultGroup view, int limit) {
        int n = 0;
        long entry;
        while (n < limit && (entry = completions.next()) >= 0) {
            long word = SharedWords.getLong(memory, entry + LaneLayout.COMPLETION_KIND);
            long userData = SharedWords.getLong(memory, entry + LaneLayout.COMPLETION_USER_DATA);
            int count = (int) (word >>> 32);
            int buffer = completions.index();
            completions.advance();
            n++;
            int kind = (int) word & LaneLayout.KIND_MASK;
            switch (kind) {
                case LaneLayout.KIND_GROUP ->
                    group(handler, view, entry, buffer, count, (int) word >>> LaneLayout.KIND_BITS, userData);
                case LaneLayout.KIND_CANCELLED -> {
                    cancels--;
                    reads -= count;
                    handler.ended(userData, Result.CANCELLED, count);
                }
                case LaneLayout.KIND_CLOSED -> {
                    reads -= count;
                    handler.ended(userData, Result.CLOSED, count);
                }
                default ->
                    throw new IllegalStateException("kind=" + kind + " in a completion of lane=" + lane.index
                            + ": allowed 1 to 3; the memory was written by somebody else");
            }
        }
        return n;
    }

    private void group(
            CompletionHandler handler, FaultGroup view, long entry, int buffer, int count, int revoked, long userData) {
        long base = count == 1 ? entry + LaneLayout.COMPLETION_RECORD : buffers + buffer * bufferBytes;
        view.show(memory, base, count, SharedWords.getLong(memory, entry + LaneLayout.COMPLETION_RAISED_AT));
        int cookie = view.cookie();
        int slot = lane.cookies.slot(cookie);
        if (count < 1 || count > layout.largestGroup() || slot >= layout.allocation()) {
            throw new IllegalStateException("group of " + count + " with cookie 0x" + Integer.toHexString(cookie)
                    + " in a completion of lane=" + lane.index + ": the memory was written by somebody else");
        }
        long claim = claims + (long) slot * LaneLayout.CLAIM_BYTES;
        owedCookies[slot] = cookie;
        owedUserData[slot] = userData;
        SharedWords.putLong(memory, claim, (cookie & 0xffff_ffffL) | ((long) revoked << 32));
        reads--;
        handler.group(userData, view);
    }
}
