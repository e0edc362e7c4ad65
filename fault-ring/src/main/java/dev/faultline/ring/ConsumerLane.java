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
 * <p>A claim for each slot says which cookie the consumer has been given and not answered. The consumer sets it at delivery and
 * clears it with its answer; another thread that answers LATER takes it by compare-and-set; the hand-over of the cookie orders the
 * delivery before that. If the consumer and another thread answer one cookie at once, both may be told OK; the response table takes
 * one, and counts the other stale.
 */
abstract class ConsumerLane extends PaddedBefore {
    /** Elements before the first slot and after the last that keep them off their neighbours' lines. */
    private static final int SLACK = CacheLine.BYTES / Integer.BYTES;

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

    /** Reads that are posted and have not been completed, as this side sees it. */
    private int reads;

    /** Other operations that have not been completed. */
    private int controls;

    /** The user data of the stream of submissions. */
    private long streamUserData;

    /** For each slot {@code u32 cookie, u32 revoked at delivery}; the cookie is 0 when there is nothing to answer. */
    private final AtomicLongArray claims;

    /** For each slot the cookie whose read has not been posted again, or 0; and what that read was posted with. */
    private final int[] owedCookies;

    private final long[] owedUserData;

    private ConsumerLane(Lane lane) {
        this.lane = lane;
        this.gate = lane.gate;
        this.memory = lane.memory.asReadOnly();
        this.layout = LaneLayout.readFrom(memory);
        this.cookies = Cookies.of(layout.lanes(), layout.allocation());
        this.mostReads = layout.mostReads();
        this.answerWords = layout.answerWords();
        this.allocation = layout.allocation();
        this.claims = new AtomicLongArray(allocation + 2 * SLACK);
        this.owedCookies = new int[allocation + 2 * SLACK];
        this.owedUserData = new long[allocation + 2 * SLACK];
        this.buffers = layout.buffersOffset();
        this.bufferBytes = layout.bufferBytes();
        this.completions = EntryReader.of(memory, LaneLayout.COMPLETIONS_OFFSET, layout.completionEntries());
        this.submissions = WordWriter.of(
                lane.memory, layout.submissionsOffset(), layout.submissionWords(), memory, LaneLayout.TAKEN_OFFSET);
    }

    static ConsumerLane of(Lane lane) {
        return new Alone(lane);
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
        boolean later = (code & LaneLayout.CODE_LATER) != 0;
        // A read is given back once, whatever became of its group, and never beyond what the lane can hold.
        boolean reposts = false;
        if (owedCookies[i] == cookie) {
            reposts = (code & LaneLayout.CODE_REPOST) != 0 && reads < mostReads;
            if (reposts || !later) {
                owedCookies[i] = 0;
            }
        }
        int repost = reposts ? LaneLayout.CODE_REPOST : 0;
        long claim = claims.getPlain(i);
        boolean stale = (int) claim != cookie;
        if (!stale && isRevoked(slot, claim)) {
            claims.setPlain(i, 0);
            stale = true;
        }
        if (stale || later) {
            if (reposts) {
                stage(cookie, LaneLayout.CODE_LATER | repost, owedUserData[i]);
            }
            return stale ? Result.STALE : Result.OK;
        }
        claims.setPlain(i, 0);
        stage(cookie, (code & ~LaneLayout.CODE_REPOST) | repost, owedUserData[i]);
        return Result.OK;
    }

    /** Answers from any thread: the compare-and-set lets one of several through. */
    Result answerLater(int cookie, int code) {
        int slot = cookies.slot(cookie);
        if (cookie == 0 || slot >= allocation) {
            return Result.STALE;
        }
        long claim = claims.get(SLACK + slot);
        if ((int) claim != cookie || !claims.compareAndSet(SLACK + slot, claim, 0) || isRevoked(slot, claim)) {
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
        return (int) claim == cookie && !isRevoked(slot, claim);
    }

    private boolean isRevoked(int slot, long claim) {
        // Acquire: if the count moved, the cookies it was raised for are seen. Unmoved since delivery: nothing was
        // revoked.
        int revoked = SharedWords.getIntAcquire(memory, LaneLayout.REVOKED_OFFSET);
        if (revoked == (int) (claim >>> 32)) {
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
            long userData = SharedWords.getLong(memory, entry + LaneLayout.COMPLETION_USER_DATA);
            int kind = LaneLayout.kind(completion);
            if (kind == LaneLayout.KIND_GROUP) {
                group(handler, view, entry, completion, userData);
            } else {
                completions.advance();
                ended(handler, kind, (int) completion, userData);
            }
        }
        return n;
    }

    private void group(CompletionHandler handler, FaultGroup view, long entry, long completion, long userData) {
        int size = LaneLayout.size(completion);
        long base = size == 1 ? entry + LaneLayout.COMPLETION_RECORD : buffers + completions.index() * bufferBytes;
        completions.advance();
        int cookie =
                view.show(memory, base, size, SharedWords.getLong(memory, entry + LaneLayout.COMPLETION_RAISED_AT));
        int slot = cookies.slot(cookie);
        if (size < 1 || size > layout.largestGroup() || slot >= allocation) {
            throw new IllegalStateException("group of " + size + " with cookie 0x" + Integer.toHexString(cookie)
                    + " in a completion of lane=" + layout.lane() + ": the memory was written by somebody else");
        }
        owedCookies[SLACK + slot] = cookie;
        owedUserData[SLACK + slot] = userData;
        claims.setPlain(SLACK + slot, (cookie & 0xffff_ffffL) | completion << 32);
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
                        + ": allowed 1 to 5; the memory was written by somebody else");
        }
    }

    /** Keeps the fields above off the lines of what comes after them. */
    @SuppressWarnings("unused")
    private static final class Alone extends ConsumerLane {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(Lane lane) {
            super(lane);
        }
    }
}
