package dev.faultline.ring;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ffm.SharedWords;
import dev.faultline.ring.internal.EntryReader;
import dev.faultline.ring.internal.WordWriter;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.atomic.AtomicLongArray;

/**
 * The consumer's side of a lane: its ends of both rings, and the cookies it has been given.
 *
 * <p>Threads: the consumer's, but for {@link #answerLater} and {@link #isOpen}. What the other side has laid out is read from the
 * lane's header, and what it writes is checked; it is written to in the submission ring only.
 *
 * <p>A claim for each slot says which cookie the consumer has been given, whether it waits for an answer (OPEN) and whether its
 * read has to be given back (OWED). The consumer sets it at delivery and clears it with its answer; another thread that answers
 * LATER takes OPEN away by compare-and-set, and so does the consumer with OWED while OPEN stays; the hand-over of the cookie orders
 * the delivery before that. If the consumer and another thread answer one cookie at once, both may be told OK; the response table
 * takes one, and counts the other stale.
 *
 * <pre>{@code
 *  0        32     33     34                       64
 *  +--------+------+------+-------------------------+
 *  | cookie | OPEN | OWED | revoked at delivery     |
 *  +--------+------+------+-------------------------+
 * }</pre>
 */
abstract class ConsumerLane extends PaddedBefore {
    /** Elements before the first slot and after the last that keep them off their neighbours' lines. */
    private static final int SLACK = CacheLine.BYTES / Integer.BYTES;

    private static final long OPEN = 1L << 32;
    private static final long OWED = 1L << 33;
    private static final int REVOKED_SHIFT = 34;
    private static final int REVOKED_MASK = -1 >>> (REVOKED_SHIFT - Integer.SIZE);

    final Lane lane;

    private final MemorySegment memory;
    private final LaneLayout layout;
    private final Cookies cookies;
    private final LaneGate gate;
    private final EntryReader completions;
    private final WordWriter submissions;
    private final long buffers;
    private final long bufferBytes;
    private final int mostReads;
    private final int answerWords;
    private final int allocation;
    private final boolean attends;

    /** Reads that are posted and have not been completed, as this side sees it. */
    private int reads;

    /** Other operations that have not been completed. */
    private int controls;

    /** The user data of the stream of submissions. */
    private long streamUserData;

    /** What the group completed last came with: the next one may have the same. */
    private long lastUserData;

    private long lastRaisedAtNs;

    private final AtomicLongArray claims;

    /** For each slot what the read that is owed was posted with. */
    private final long[] owedUserData;

    private ConsumerLane(Lane lane, boolean attends) {
        this.lane = lane;
        this.attends = attends;
        this.gate = lane.gate;
        this.memory = lane.memory.asReadOnly();
        this.layout = LaneLayout.readFrom(memory);
        this.cookies = Cookies.of(layout.lanes(), layout.allocation());
        this.mostReads = layout.mostReads();
        this.answerWords = layout.answerWords();
        this.allocation = layout.allocation();
        this.claims = new AtomicLongArray(allocation + 2 * SLACK);
        this.owedUserData = new long[allocation + 2 * SLACK];
        this.buffers = layout.buffersOffset();
        this.bufferBytes = layout.bufferBytes();
        this.completions = EntryReader.of(memory, LaneLayout.COMPLETIONS_OFFSET, layout.completionEntries());
        this.submissions = WordWriter.of(
                lane.memory, layout.submissionsOffset(), layout.submissionWords(), memory, LaneLayout.TAKEN_OFFSET);
    }

    /**
     * The consumer's side of a lane.
     *
     * @param attends whether what it submits runs the lane's attendant, if there is one
     */
    static ConsumerLane of(Lane lane, boolean attends) {
        return new Alone(lane, attends);
    }

    // ---- submissions ----

    boolean hasRoomForReads(int count) {
        return count <= mostReads - reads && hasRoomForWords(1);
    }

    /** Whether there is room for words that are no answer, and for the user data they may need, besides all answers. */
    private boolean hasRoomForWords(int words) {
        return submissions.hasRoom(LaneLayout.USER_DATA_WORDS + words + answerWords);
    }

    /** Whether there is room for an operation that has a completion of its own. */
    boolean hasRoomForControl(int words) {
        return controls < LaneLayout.CONTROL_ENTRIES && hasRoomForWords(words);
    }

    void post(long userData, int count) {
        reads += count;
        setUserData(userData);
        submissions.stage(LaneLayout.submission(LaneLayout.OPCODE_POST, 0, count));
    }

    void control(int opcode, long userData) {
        controls++;
        setUserData(userData);
        submissions.stage(LaneLayout.submission(opcode, 0, 0));
    }

    /** Sends a command, if there is room. */
    Result command(int opcode, long userData, MemorySegment payload) {
        int words = (int) (payload.byteSize() / Integer.BYTES);
        if (!hasRoomForControl(words + 1)) {
            return Result.FULL;
        }
        controls++;
        setUserData(userData);
        for (int i = 0; i < words; i++) {
            int value = payload.get(ValueLayout.JAVA_INT_UNALIGNED, (long) i * Integer.BYTES);
            submissions.stage(LaneLayout.submission(LaneLayout.OPCODE_PAYLOAD, i, value));
        }
        submissions.stage(LaneLayout.submission(LaneLayout.OPCODE_COMMAND, opcode, words * Integer.BYTES));
        return Result.OK;
    }

    private void setUserData(long userData) {
        if (userData != streamUserData) {
            submissions.stage(LaneLayout.submission(LaneLayout.OPCODE_USER_DATA_LOW, 0, (int) userData));
            submissions.stage(LaneLayout.submission(LaneLayout.OPCODE_USER_DATA_HIGH, 0, (int) (userData >>> 32)));
            streamUserData = userData;
        }
    }

    /** Answers a group this consumer has been given. */
    Result answer(int cookie, int code) {
        int slot = cookies.slot(cookie);
        if (cookie == 0 || slot >= allocation) {
            return Result.STALE;
        }
        int i = SLACK + slot;
        long claim = claims.getPlain(i);
        if ((int) claim != cookie) {
            return Result.STALE;
        }
        boolean stale = (claim & OPEN) == 0 || isRevoked(slot, claim);
        // A read is given back once, whatever became of its group, and never beyond what the lane can hold.
        boolean reposts = (code & LaneLayout.CODE_REPOST) != 0 && (claim & OWED) != 0 && reads < mostReads;
        int repost = reposts ? LaneLayout.CODE_REPOST : 0;
        boolean later = (code & LaneLayout.CODE_LATER) != 0;
        if (!later) {
            claims.setPlain(i, 0);
        } else if (reposts) {
            // Not a plain store: another thread may take OPEN away at this moment.
            claims.accumulateAndGet(i, ~OWED, (now, mask) -> now & mask);
        }
        if (stale || later) {
            if (reposts) {
                stage(cookie, LaneLayout.CODE_LATER | repost, owedUserData[i]);
            }
            return stale ? Result.STALE : Result.OK;
        }
        stage(cookie, (code & ~LaneLayout.CODE_REPOST) | repost, owedUserData[i]);
        return Result.OK;
    }

    /** Answers every group this consumer has been given and has not answered; says how many. */
    int answerAll(int code) {
        int n = 0;
        for (int slot = 0; slot < allocation; slot++) {
            int cookie = (int) claims.getPlain(SLACK + slot);
            if (cookie != 0 && answer(cookie, code) == Result.OK) {
                n++;
            }
        }
        return n;
    }

    /** Answers from any thread: the compare-and-set lets one of several through. */
    Result answerLater(int cookie, int code) {
        int slot = cookies.slot(cookie);
        if (cookie == 0 || slot >= allocation) {
            return Result.STALE;
        }
        long claim;
        do {
            claim = claims.get(SLACK + slot);
            if ((int) claim != cookie || (claim & OPEN) == 0) {
                return Result.STALE;
            }
        } while (!claims.compareAndSet(SLACK + slot, claim, claim & ~OPEN));
        if (isRevoked(slot, claim)) {
            return Result.STALE;
        }
        lane.answerFromOutside(cookie, code);
        return Result.OK;
    }

    /** Whether a group that was given out still waits for its answer. */
    boolean isOpen(int cookie) {
        int slot = cookies.slot(cookie);
        if (slot >= allocation) {
            return false;
        }
        long claim = claims.get(SLACK + slot);
        return (int) claim == cookie && (claim & OPEN) != 0 && !isRevoked(slot, claim);
    }

    private boolean isRevoked(int slot, long claim) {
        // Acquire: if the count moved, the cookies it was raised for are seen. Unmoved since delivery: nothing was
        // revoked.
        int revoked = SharedWords.getIntAcquire(memory, LaneLayout.REVOKED_OFFSET);
        if ((revoked & REVOKED_MASK) == (int) (claim >>> REVOKED_SHIFT)) {
            return false;
        }
        int cookie = SharedWords.getIntOpaque(memory, layout.revokedCookiesOffset() + (long) slot * Integer.BYTES);
        // A slot's cookies count up: if a later one was revoked, this one was answered before.
        return cookie != 0 && cookie - (int) claim >= 0;
    }

    /** Moves whenever a group given out may have been answered automatically; else it stays. */
    int revocations() {
        // Acquire: whoever sees the count sees the cookies it was raised for.
        return SharedWords.getIntAcquire(memory, LaneLayout.REVOKED_OFFSET);
    }

    private void stage(int cookie, int code, long userData) {
        boolean reposts = (code & LaneLayout.CODE_REPOST) != 0;
        if (!submissions.hasRoom(reposts ? LaneLayout.USER_DATA_WORDS + 1 : 1)) {
            // Rare: slots whose answers are under way were answered automatically and used again. The slower way has
            // room;
            // what was submitted before is taken before.
            submissions.publish();
            lane.answerAfterRing(cookie, code, userData);
        } else {
            if (reposts) {
                setUserData(userData);
            }
            submissions.stage(LaneLayout.submission(LaneLayout.OPCODE_ANSWER, code, cookie));
        }
        if (reposts) {
            reads++;
        }
    }

    int submit() {
        int n = submissions.staged();
        if (n > 0) {
            submissions.publish();
            gate.signal();
            if (attends) {
                gate.attended();
            }
        }
        return n;
    }

    // ---- completions ----

    boolean isReady() {
        return completions.next() != 0 || isEnded();
    }

    /** Whether the lane has closed; what it has published before is then in its ring. */
    boolean isEnded() {
        // Acquire: pairs with the release that ends the lane.
        return SharedWords.getIntAcquire(memory, LaneLayout.ENDED_OFFSET) != 0;
    }

    /** The lane is gone: reads that were under way to it end here. */
    void endRest(CompletionHandler handler) {
        if (reads > 0) {
            int rest = reads;
            reads = 0;
            handler.ended(0, Result.CLOSED, rest);
        }
    }

    int drain(CompletionHandler handler, FaultGroup view, int limit) {
        int n = 0;
        int batch = 1;
        long completion;
        while (n < limit && (completion = completions.next()) != 0) {
            n++;
            // The first answer at once, then two, then four: the other end has something to do while this one goes on.
            if (submissions.staged() >= batch) {
                submit();
                batch <<= 1;
            }
            long entry = completions.entry();
            int kind = LaneLayout.kind(completion);
            if (kind == LaneLayout.KIND_GROUP) {
                lastUserData = SharedWords.getLong(memory, entry + LaneLayout.COMPLETION_USER_DATA);
                lastRaisedAtNs = SharedWords.getLong(memory, entry + LaneLayout.COMPLETION_RAISED_AT);
                group(handler, view, entry, completion);
            } else if (kind == LaneLayout.KIND_GROUP_AGAIN) {
                group(handler, view, entry, completion);
            } else {
                completions.advance();
                long userData = SharedWords.getLong(memory, entry + LaneLayout.COMPLETION_USER_DATA);
                ended(handler, kind, (int) completion, userData);
            }
        }
        return n;
    }

    private void group(CompletionHandler handler, FaultGroup view, long entry, long completion) {
        int size = LaneLayout.size(completion);
        long base = size == 1 ? entry + LaneLayout.COMPLETION_RECORD : buffers + completions.index() * bufferBytes;
        completions.advance();
        int cookie = view.show(memory, base, size, lastRaisedAtNs);
        int slot = cookies.slot(cookie);
        if (size < 1 || size > layout.largestGroup() || slot >= allocation) {
            throw new IllegalStateException("group of " + size + " with cookie 0x" + Integer.toHexString(cookie)
                    + " in a completion of lane=" + layout.lane() + ": the memory was written by somebody else");
        }
        long userData = lastUserData;
        if (owedUserData[SLACK + slot] != userData) {
            owedUserData[SLACK + slot] = userData;
        }
        claims.setPlain(SLACK + slot, (cookie & 0xffff_ffffL) | OPEN | OWED | completion << REVOKED_SHIFT);
        reads--;
        handler.group(userData, view);
    }

    private void ended(CompletionHandler handler, int kind, int value, long userData) {
        switch (kind) {
            case LaneLayout.KIND_CANCELLED -> {
                controls--;
                reads -= value;
                handler.ended(userData, Result.CANCELLED, value);
            }
            case LaneLayout.KIND_CLOSED -> {
                reads -= value;
                handler.ended(userData, Result.CLOSED, value);
            }
            case LaneLayout.KIND_DONE -> {
                controls--;
                handler.ended(userData, Result.OK, value);
            }
            case LaneLayout.KIND_REFUSED -> {
                controls--;
                handler.ended(userData, Result.REFUSED, value);
            }
            default ->
                throw new IllegalStateException("kind=" + kind + " in a completion of lane=" + layout.lane()
                        + ": allowed 1 to 6; the memory was written by somebody else");
        }
    }

    /** Keeps the fields above off the lines of what comes after them. */
    @SuppressWarnings("unused")
    private static final class Alone extends ConsumerLane {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(Lane lane, boolean attends) {
            super(lane, attends);
        }
    }
}
