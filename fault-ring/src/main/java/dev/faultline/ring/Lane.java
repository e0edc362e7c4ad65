package dev.faultline.ring;

import static dev.faultline.ring.LaneLayout.CODE_INVALID;
import static dev.faultline.ring.LaneLayout.CODE_LATER;
import static dev.faultline.ring.LaneLayout.CODE_REPOST;
import static dev.faultline.ring.LaneLayout.CODE_THREW;
import static dev.faultline.ring.ResponseTable.NONE;

import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import dev.faultline.ring.internal.EntryWriter;
import dev.faultline.ring.internal.Wakeup;
import dev.faultline.ring.internal.WordReader;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntConsumer;
import java.util.function.LongPredicate;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The producer's side of a lane: requests become groups in the {@link ResponseTable}, groups go into {@link PostedReads}, answers
 * come back and go to the sink.
 *
 * <p>Plain memory that only the thread inside the {@link LaneGate} touches, but for {@code sides} and {@code accountingAtClose}. The sink is called by the thread that has entered: what a visitor answers is kept, slot and all, until that
 * thread polls.
 */
abstract class Lane extends PaddedBefore implements FaultProducer {
    /** How many groups are staged before they are published without being asked. */
    private static final int BATCH = 16;

    private static final Logger LOG = LoggerFactory.getLogger(FaultQueue.class);

    /** The clock is read after so many answers, and once in so many polls that find nothing, the first of them included. */
    private static final int ANSWERS_PER_CLOCK = 64;

    private static final int IDLE_POLLS_PER_CLOCK = 32;

    /** The deadline is kept to so small a part of it, and never passes early. */
    private static final int TOLERANCE_SHARE = 1024;

    /** How long somebody who wants to see inside waits for the thread that is. */
    private static final long LOOK_LIMIT_NS = 200_000_000;

    final int index;
    final LaneLayout layout;
    final Cookies cookies;
    final MemorySegment memory;
    final LaneGate gate;

    private final Runnable lookingAfter = this::lookAfterInside;

    private final FaultQueue queue;
    private final QueueConfig config;
    private final Clock clock;
    private final Region region;
    private final boolean signals;
    private final AnswerSink sink;
    private final CommandHandler commands;
    private final EntryWriter completions;
    private final WordReader submissions;
    private final ResponseTable table;
    private final PostedReads reads;
    private final LaneCounts counts = LaneCounts.zero();
    private final List<Lane> alone = List.of(this);

    /** How many sides still use the region: this one, and the consumer once it has looked. */
    private final AtomicInteger sides = new AtomicInteger(1);

    private volatile @Nullable Accounting accountingAtClose;

    /** False once closing has begun: what is raised by a sink that is told of it is refused. */
    private boolean admits = true;

    private boolean closed;

    /** How much older a group may look than it is, and how much longer it has for that until it is overdue. */
    private final long toleranceNs;

    private long nowNs;
    private int idlePolls;
    private int answersSinceClock;
    private int revoked;
    private int lastCookie;

    /** User data and time of the group completed last; no group has them at first. */
    private long lastUserData;

    private long lastRaisedAtNs;

    /** The user data that submissions use, until it is set anew. */
    private long streamUserData;

    /** The payload of the command that is being received, and the same as its handler sees it. */
    private final long[] payload = new long[FaultConsumer.MOST_PAYLOAD_BYTES / Long.BYTES];

    private final MemorySegment payloadView = MemorySegment.ofArray(payload).asReadOnly();

    private Lane(
            FaultQueue queue, int index, int allocation, int lastCookie, AnswerSink sink, CommandHandler commands) {
        this.queue = queue;
        this.config = queue.config();
        this.index = index;
        this.sink = sink;
        this.commands = commands;
        this.signals = config.waiting().sleeps();
        this.gate = new LaneGate(index, signals);
        this.cookies = Cookies.of(config.lanes(), allocation);
        this.layout = LaneLayout.of(config, allocation, index);
        this.region = Region.allocate(layout.bytes());
        this.memory = region.segment();
        this.completions = EntryWriter.of(memory, LaneLayout.COMPLETIONS_OFFSET, layout.completionEntries());
        this.submissions = WordReader.of(
                memory, layout.submissionsOffset(), layout.submissionWords(), memory, LaneLayout.TAKEN_OFFSET);
        this.table = ResponseTable.of(layout, cookies, lastCookie);
        this.reads = PostedReads.none(config.entries());
        this.toleranceNs = config.deadlineNs() / TOLERANCE_SHARE;
        this.clock = config.clock();
        this.nowNs = clock.nowNs();
        layout.writeTo(memory);
        queue.countHeld(heldBytes());
    }

    static Lane of(
            FaultQueue queue, int index, int allocation, int lastCookie, AnswerSink sink, CommandHandler commands) {
        return new Alone(queue, index, allocation, lastCookie, sink, commands);
    }

    private long heldBytes() {
        return region.bytes() + table.bytes();
    }

    @Override
    public boolean enter() {
        if (!gate.enter()) {
            return false;
        }
        readClock();
        return true;
    }

    @Override
    public void leave() {
        gate.checkEntered("leave");
        try {
            gate.runTasks();
            tellUntold();
            publish();
        } finally {
            gate.leave();
        }
    }

    private void readClock() {
        nowNs = clock.nowNs();
        if (!closed) {
            table.stamp(nowNs, toleranceNs);
        }
    }

    // ---- raising ----

    @Override
    public Result raise(
            long tag, int device, int pasid, int group, long address, int access, int length, boolean last) {
        gate.checkEntered("raise");
        if (pasid < NO_PASID || pasid > 0xfffff || group < 0 || (access & ~0xf) != 0 || length < 0) {
            throw badRequest(pasid, group, access, length);
        }
        int flags = (pasid == NO_PASID ? 0 : PageFaultLayout.FLAG_PASID_VALID)
                | (last ? PageFaultLayout.FLAG_LAST_PAGE : 0);
        return raise(tag, flags, device, pasid == NO_PASID ? 0 : pasid, group, address, access, length);
    }

    @Override
    public Result raiseAsIs(long tag, int flags, int device, int pasid, int group, long address, int access) {
        gate.checkEntered("raiseAsIs");
        return raise(tag, flags, device, pasid, group, address, access, 0);
    }

    private Result raise(long tag, int flags, int device, int pasid, int group, long address, int access, int length) {
        if (!admits) {
            return Result.CLOSED;
        }
        boolean last = (flags & PageFaultLayout.FLAG_LAST_PAGE) != 0;
        int slot = table.firstAssembling() == NONE ? NONE : table.assembling(device, group);
        if (slot == NONE) {
            if (!table.hasFree()) {
                return Result.FULL;
            }
            if (last && !reads.isEmpty() && !table.hasWaiting()) {
                deliverStraight(tag, flags, device, pasid, group, address, access, length);
                publishFullBatch();
                return Result.OK;
            }
            slot = table.takeAssembling();
        } else {
            counts.countMoreRequest();
        }
        int size = table.size(slot);
        if (size == layout.largestGroup()) {
            table.unlinkAssembling(slot);
            drop(slot, DropRule.OVERSIZED);
            return Result.SHORT_BUFFER;
        }
        table.addRequest(slot, size, tag, flags, device, pasid, group, access, address, length);
        if (last) {
            table.unlinkAssembling(slot);
            table.addWaiting(slot, nowNs);
            deliverWaiting();
            publishFullBatch();
        }
        return Result.OK;
    }

    /** Completes a read with a group of one: its record is written where the consumer reads it, and nowhere else. */
    private void deliverStraight(
            long tag, int flags, int device, int pasid, int group, long address, int access, int length) {
        int cookie = table.addDelivered(tag, device, nowNs);
        long entry = completions.next();
        int kind = nameOrigin(entry, reads.take(), nowNs);
        PageFaultLayout.write(
                memory,
                entry + LaneLayout.COMPLETION_RECORD,
                flags,
                device,
                pasid,
                group,
                access,
                address,
                length,
                cookie);
        completions.stage(LaneLayout.completion(kind, 1, revoked));
    }

    /**
     * Writes a group's user data and time into its completion, unless they are those of the group before; says which kind of
     * completion that makes.
     */
    private int nameOrigin(long entry, long userData, long raisedAtNs) {
        if (userData == lastUserData && raisedAtNs == lastRaisedAtNs) {
            return LaneLayout.KIND_GROUP_AGAIN;
        }
        SharedWords.putLong(memory, entry + LaneLayout.COMPLETION_USER_DATA, userData);
        SharedWords.putLong(memory, entry + LaneLayout.COMPLETION_RAISED_AT, raisedAtNs);
        lastUserData = userData;
        lastRaisedAtNs = raisedAtNs;
        return LaneLayout.KIND_GROUP;
    }

    private void publishFullBatch() {
        if (completions.staged() >= BATCH) {
            publish();
        }
    }

    private static IllegalArgumentException badRequest(int pasid, int group, int access, int length) {
        if (pasid < NO_PASID || pasid > 0xfffff) {
            return new IllegalArgumentException("pasid=" + pasid + ": allowed 0 to 1048575, or NO_PASID");
        }
        if (group < 0) {
            return new IllegalArgumentException("group=" + group + ": allowed 0 or more");
        }
        if (length < 0) {
            return new IllegalArgumentException("length=" + length + ": allowed 0 or more");
        }
        return new IllegalArgumentException(
                "access=" + access + ": allowed bits 1 (read), 2 (write), 4 (execute), 8 (privileged)");
    }

    /** Completes reads with waiting groups, oldest with oldest, while there are both. A read has an entry kept free for it. */
    private void deliverWaiting() {
        int slot;
        while ((slot = table.firstWaiting()) != NONE && !reads.isEmpty()) {
            long entry = completions.next();
            int size = table.size(slot);
            int kind = nameOrigin(entry, reads.take(), table.raisedAtNs(slot));
            long to = size == 1
                    ? entry + LaneLayout.COMPLETION_RECORD
                    : layout.buffersOffset() + completions.index() * layout.bufferBytes();
            if (size == 1) {
                PageFaultLayout.copy(table.recordMemory(), table.record(slot, 0), memory, to);
            } else {
                MemorySegment.copy(
                        table.recordMemory(), table.record(slot, 0), memory, to, (long) size * PageFaultLayout.SIZE);
            }
            table.setDelivered(slot);
            completions.stage(LaneLayout.completion(kind, size, revoked));
        }
    }

    @Override
    public void flush() {
        gate.checkEntered("flush");
        publish();
    }

    private void publish() {
        if (!closed && completions.publish() && signals) {
            queue.signalConsumer();
        }
    }

    // ---- taking answers ----

    @Override
    public int poll() {
        gate.checkEntered("poll");
        if (!closed) {
            publish();
            gate.runTasks();
        }
        if (closed) {
            return tellUntold();
        }
        // In the order of answering: what came otherwise than by the ring is older.
        int told = tellUntold();
        if (closed) {
            return told;
        }
        told += takeSubmissions(true);
        if (closed) {
            return told + tellUntold();
        }
        deliverWaiting();
        publish();
        told += tellUntold();
        if (told > 0) {
            // What the sink has raised just now.
            publish();
            idlePolls = 0;
            answersSinceClock += told;
            if (answersSinceClock >= ANSWERS_PER_CLOCK) {
                expireOverdue();
                told += tellUntold();
            }
        } else if (idlePolls++ % IDLE_POLLS_PER_CLOCK == 0) {
            expireOverdue();
            told = tellUntold();
        }
        return told;
    }

    /** Reads the clock and answers what is overdue. */
    private void expireOverdue() {
        answersSinceClock = 0;
        readClock();
        if (config.deadlineNs() > 0) {
            int slot;
            while ((slot = table.firstOpen()) != NONE
                    && nowNs - table.raisedAtNs(slot) >= config.deadlineNs() + toleranceNs) {
                revoke(slot, AutoAnswer.DEADLINE);
            }
        }
    }

    /**
     * Takes what the consumer has sent.
     *
     * @param tells whether the sink may be told at once, which may raise, close or throw; if not, it is told later
     * @return how many answers it was told
     */
    private int takeSubmissions(boolean tells) {
        int told = 0;
        // No more than the ring holds: a peer that writes on and on must not keep this thread.
        for (int left = layout.submissionWords(); left > 0; left--) {
            long submission = submissions.next();
            if (submission == 0) {
                break;
            }
            submissions.advance();
            int opcode = LaneLayout.opcode(submission);
            int argument = LaneLayout.argument(submission);
            int value = (int) submission;
            if (opcode != LaneLayout.OPCODE_ANSWER) {
                take(opcode, argument, value);
                continue;
            }
            int slot = takeAnswer(value, argument, streamUserData);
            if (slot == NONE) {
                continue;
            }
            if (!tells) {
                table.addUntold(slot, (argument & CODE_INVALID) != 0);
                continue;
            }
            told++;
            tell(slot, (argument & CODE_INVALID) == 0 ? Answer.SUCCESS : Answer.INVALID);
            if (closed) {
                return told;
            }
        }
        submissions.release();
        return told;
    }

    /** Takes a submission that is no answer. */
    private void take(int opcode, int argument, int value) {
        switch (opcode) {
            case LaneLayout.OPCODE_USER_DATA_LOW -> streamUserData = withLow(streamUserData, value);
            case LaneLayout.OPCODE_USER_DATA_HIGH -> streamUserData = withHigh(streamUserData, value);
            case LaneLayout.OPCODE_POST -> addReads(streamUserData, value);
            case LaneLayout.OPCODE_CANCEL ->
                end(LaneLayout.KIND_CANCELLED, streamUserData, reads.cancel(false, streamUserData));
            case LaneLayout.OPCODE_CANCEL_ALL -> end(LaneLayout.KIND_CANCELLED, 0, reads.cancel(true, 0));
            case LaneLayout.OPCODE_NOP -> end(LaneLayout.KIND_DONE, streamUserData, 0);
            case LaneLayout.OPCODE_PAYLOAD -> takePayload(argument, value);
            case LaneLayout.OPCODE_COMMAND -> command(argument, value);
            default -> counts.countStray(); // a peer that scribbles: counted, and nothing done
        }
    }

    private void takePayload(int index, int value) {
        int word = index >>> 1 & payload.length - 1;
        payload[word] = (index & 1) == 0 ? withLow(payload[word], value) : withHigh(payload[word], value);
    }

    private static long withLow(long word, int low) {
        return (word & ~0xffff_ffffL) | (low & 0xffff_ffffL);
    }

    private static long withHigh(long word, int high) {
        return (word & 0xffff_ffffL) | ((long) high << 32);
    }

    private void command(int opcode, int payloadBytes) {
        int kind = LaneLayout.KIND_REFUSED;
        int value = 0;
        if (payloadBytes >= 0 && payloadBytes <= FaultConsumer.MOST_PAYLOAD_BYTES) {
            try {
                value = commands.command(opcode, payloadView, payloadBytes);
                kind = LaneLayout.KIND_DONE;
            } catch (RuntimeException e) {
                LOG.warn("lane {}: command {} failed", index, opcode, e);
            }
        }
        end(kind, streamUserData, value);
    }

    private void addReads(long userData, int count) {
        if (!reads.add(userData, count)) {
            counts.countStray(); // a peer that scribbles: its own end refuses such a post
        }
    }

    /** Takes an answer that has arrived, from the ring or by a task; returns the slot of its group, or NONE. */
    private int takeAnswer(int cookie, int code, long userData) {
        // The read comes back whatever became of the group: its consumer counts on it.
        if ((code & CODE_REPOST) != 0) {
            addReads(userData, 1);
        }
        if ((code & CODE_LATER) != 0) {
            return NONE;
        }
        int slot = table.delivered(cookie);
        if (slot == NONE) {
            counts.countLateAnswer();
        } else if ((code & CODE_THREW) == 0) {
            counts.countAnswered();
        } else {
            counts.countAuto(AutoAnswer.HANDLER);
        }
        return slot;
    }

    /** An answer from a thread that is not the consumer's. */
    void answerFromOutside(int cookie, int code) {
        gate.request(() -> answerHere(cookie, code, 0));
        gate.attended();
    }

    /** An answer of the consumer for which the ring has no room; what it has published before is taken before. */
    void answerAfterRing(int cookie, int code, long userData) {
        gate.request(() -> {
            if (!closed) {
                var _ = takeSubmissions(false);
            }
            answerHere(cookie, code, userData);
        });
    }

    private void answerHere(int cookie, int code, long userData) {
        int slot = closed ? NONE : takeAnswer(cookie, code, userData);
        if (slot != NONE) {
            table.addUntold(slot, (code & CODE_INVALID) != 0);
        }
    }

    /** Tells the sink what is answered. Only by the thread that has entered. */
    private int tellUntold() {
        int told = 0;
        int slot;
        while ((slot = table.takeUntold()) != NONE) {
            told++;
            tell(slot, table.answer(slot));
        }
        return told;
    }

    /** Tells the sink, which may raise, close or throw: everything is in order when it is called. */
    private void tell(int slot, Answer answer) {
        long tag = table.tag(slot);
        // Free before the sink, for it may raise again at once.
        table.free(slot);
        sink.answered(tag, answer);
    }

    /** Completes an operation, or reads without a group; who asked for it keeps an entry free. */
    private void end(int kind, long userData, int value) {
        SharedWords.putLong(memory, completions.next() + LaneLayout.COMPLETION_USER_DATA, userData);
        completions.stage(LaneLayout.completion(kind, 0, value));
    }

    // ---- waiting ----

    @Override
    public boolean await(long limitNs) {
        return FaultProducer.awaitAny(alone, limitNs);
    }

    Waiting waiting() {
        return config.waiting();
    }

    Wakeup wakeup(String call) {
        gate.checkEntered(call);
        return gate.wakeup();
    }

    /** Whether a poll would find something; expiry aside. */
    boolean isReady() {
        return table.hasUntold() || (!closed && (submissions.next() != 0 || gate.hasTasks()));
    }

    /** Nanoseconds until the oldest open group expires; a day if none does. Groups raised since the last reading age from now. */
    long untilExpiry() {
        if (closed || config.deadlineNs() == 0) {
            return TimeUnit.DAYS.toNanos(1);
        }
        readClock();
        int slot = table.firstOpen();
        return slot == NONE
                ? TimeUnit.DAYS.toNanos(1)
                : table.raisedAtNs(slot) + config.deadlineNs() + toleranceNs - nowNs;
    }

    /** Wakes the thread that has entered, after the caller has published what it is to find. */
    void signalProducer() {
        gate.signal();
    }

    // ---- revoking and closing ----

    @Override
    public int revoke(LongPredicate tags, AutoAnswer why) {
        Arguments.notNull("tags", tags, "a LongPredicate");
        Arguments.notNull("why", why, "an AutoAnswer");
        gate.checkEntered("revoke");
        FaultFile file = queue.fileDoor();
        long before = counts.auto(why);
        if (file == null) {
            revokeHere(tags, why, null);
        } else {
            file.whileNobodyIsIn(() -> revokeHere(tags, why, file.isShut() ? null : file));
        }
        int n = (int) (counts.auto(why) - before);
        tellUntold();
        return n;
    }

    private void revokeHere(LongPredicate tags, AutoAnswer why, @Nullable FaultFile file) {
        // What the consumer has answered by now counts as answered.
        gate.runTasks();
        if (closed) {
            return;
        }
        var _ = takeSubmissions(false);
        for (int cookie : revocable(tags, file)) {
            revoke(cookies.slot(cookie), why);
        }
        for (int slot = table.firstAssembling(); slot != NONE; ) {
            int next = table.nextAssembling(slot);
            if (tags.test(table.tag(slot))) {
                table.unlinkAssembling(slot);
                drop(slot, DropRule.ABANDONED);
            }
            slot = next;
        }
        publish();
    }

    /** The cookies of the open groups with certain tags, in the order of revoking. */
    private int[] revocable(LongPredicate tags, @Nullable FaultFile file) {
        int[] found = new int[table.used()];
        int[] count = {0};
        IntConsumer note = slot -> {
            if (tags.test(table.tag(slot))) {
                found[count[0]++] = table.cookie(slot);
            }
        };
        if (file == null) {
            table.forEachOpen(note);
            return Arrays.copyOf(found, count[0]);
        }
        table.forEachOpenByAge(note);
        return file.inOrderOfRevoking(Arrays.copyOf(found, count[0]));
    }

    private void revoke(int slot, AutoAnswer why) {
        boolean given = table.state(slot) == ResponseTable.DELIVERED;
        counts.countAuto(why);
        table.addUntold(slot, true);
        if (given) {
            SharedWords.setIntOpaque(
                    memory, layout.revokedCookiesOffset() + (long) slot * Integer.BYTES, table.cookie(slot));
            // Release: a consumer that sees this count sees that cookie.
            SharedWords.setIntRelease(memory, LaneLayout.REVOKED_OFFSET, ++revoked);
        }
    }

    private void drop(int slot, DropRule rule) {
        counts.countDropped(rule);
        table.free(slot);
    }

    @Override
    public void close() {
        if (close(AutoAnswer.DETACH, config.closeLimitNs())) {
            queue.remove(this);
        } else {
            // The thread inside does not poll. When it does, the lane closes; until then its place in the queue is
            // taken.
            gate.request(() -> queue.remove(this));
        }
        tellHere();
    }

    /** Closes; false if the thread inside has not polled in time, and closes it when it does. Tells nobody yet. */
    boolean close(AutoAnswer why, long limitNs) {
        return gate.call(() -> closeHere(why), limitNs);
    }

    /** Tells the sink what the close has answered, if the calling thread is the one that may. */
    void tellHere() {
        if (gate.isEntered()) {
            tellUntold();
        } else if (closed() && gate.enter()) {
            try {
                tellUntold();
            } finally {
                gate.leave();
            }
        }
    }

    private boolean closed() {
        return accountingAtClose != null;
    }

    /** Answers everything, ends every read, and lets go of the region. */
    private void closeHere(AutoAnswer why) {
        // What other threads have answered by now counts as answered.
        gate.runTasks();
        if (!admits) {
            return;
        }
        admits = false;
        var _ = takeSubmissions(false);
        int slot;
        while ((slot = table.firstOpen()) != NONE) {
            revoke(slot, why);
        }
        while ((slot = table.firstAssembling()) != NONE) {
            table.unlinkAssembling(slot);
            drop(slot, DropRule.ABANDONED);
        }
        while (!reads.isEmpty()) {
            long userData = reads.oldestUserData();
            end(LaneLayout.KIND_CLOSED, userData, reads.takeRun());
        }
        accountingAtClose = counts.with(table.begun(), table.outstanding());
        lastCookie = table.newestCookie();
        completions.publish();
        closed = true;
        // Release: the completions are seen before the end.
        SharedWords.setIntRelease(memory, LaneLayout.ENDED_OFFSET, 1);
        queue.signalConsumer();
        letGo();
    }

    /** The newest cookie given, known once the lane is closed: a later lane in this place gives others. */
    int lastCookie() {
        return lastCookie;
    }

    /** Somebody else starts to use the region; false if it is gone. */
    boolean hold() {
        int n;
        do {
            n = sides.get();
            if (n == 0) {
                return false;
            }
        } while (!sides.compareAndSet(n, n + 1));
        return true;
    }

    /** A side stops using the region; the last one frees it. */
    void letGo() {
        if (sides.decrementAndGet() == 0) {
            region.close();
            table.close();
            queue.countHeld(-heldBytes());
        }
    }

    /** What has to be done on a lane that nobody steps: take answers, give waiting groups to reads, answer what is overdue. */
    void lookAfter() {
        gate.visit(lookingAfter);
    }

    @Override
    public void attend(Runnable attendant) {
        Arguments.notNull("attendant", attendant, "a Runnable");
        gate.attend(attendant);
    }

    private void lookAfterInside() {
        if (!closed) {
            var _ = takeSubmissions(false);
            deliverWaiting();
            expireOverdue();
            publish();
        }
    }

    // ---- seeing inside ----

    Accounting accounting() {
        Accounting[] result = new Accounting[1];
        if (accountingAtClose != null || gate.call(() -> result[0] = accountingHere(), LOOK_LIMIT_NS)) {
            Accounting atClose = accountingAtClose;
            return result[0] != null ? result[0] : atClose != null ? atClose : Accounting.ZERO;
        }
        // The thread inside has not polled for that long; it is busy elsewhere, or in the same call for another lane.
        // Nothing
        // moves, or what moves is noticed by the sum.
        Accounting seen;
        int tries = 0;
        do {
            if (!hold()) {
                Accounting atClose = accountingAtClose;
                return atClose != null ? atClose : Accounting.ZERO;
            }
            try {
                seen = counts.with(table.begun(), table.outstanding());
            } finally {
                letGo();
            }
        } while (!seen.balanced() && ++tries < 1_000);
        return seen;
    }

    private Accounting accountingHere() {
        Accounting atClose = accountingAtClose;
        return atClose != null ? atClose : counts.with(table.begun(), table.outstanding());
    }

    String dump() {
        @Nullable LaneDump[] result = new LaneDump[1];
        if (!gate.call(() -> result[0] = dumpHere(), LOOK_LIMIT_NS) && hold()) {
            try {
                result[0] = dumpHere();
            } finally {
                letGo();
            }
        }
        LaneDump seen = result[0];
        return seen == null ? "lane " + index + ": closed\n" : seen.text();
    }

    private @Nullable LaneDump dumpHere() {
        return closed ? null : new LaneDump(index, layout.allocation(), reads.total(), table.inUse(clock.nowNs()));
    }

    @Override
    public int allocation() {
        return layout.allocation();
    }

    /** Keeps the fields above off the lines of what comes after them. */
    @SuppressWarnings("unused")
    private static final class Alone extends Lane {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(FaultQueue queue, int index, int allocation, int lastCookie, AnswerSink sink, CommandHandler commands) {
            super(queue, index, allocation, lastCookie, sink, commands);
        }
    }
}
