package dev.faultline.ring;

import static dev.faultline.ring.LaneLayout.CODE_INVALID;
import static dev.faultline.ring.LaneLayout.CODE_LATER;
import static dev.faultline.ring.LaneLayout.CODE_REPOST;
import static dev.faultline.ring.LaneLayout.CODE_THREW;
import static dev.faultline.ring.ResponseTable.NONE;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import dev.faultline.ring.internal.EntryReader;
import dev.faultline.ring.internal.EntryWriter;
import dev.faultline.ring.internal.Wakeup;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongPredicate;
import org.jspecify.annotations.Nullable;

/**
 * The producer's side of a lane: requests become groups in the {@link ResponseTable}, groups go into {@link PostedReads}, answers
 * come back and go to the sink.
 *
 * <p>Plain memory that only the thread inside the {@link LaneGate} touches, but for {@code ended}, {@code sides} and {@code
 * accountingAtClose}. The sink is called by the thread that has entered, last in each call: what a visitor answers is kept, slot and
 * all, until that thread polls.
 */
final class Lane implements FaultProducer {
    /** How many groups are staged before they are published without being asked. */
    private static final int BATCH = 16;

    /** The clock is read after so many answers, and once in so many polls that find nothing, the first of them included. */
    private static final int ANSWERS_PER_CLOCK = 64;

    private static final int IDLE_POLLS_PER_CLOCK = 4;

    /** How long somebody who wants to see inside waits for the thread that is. */
    private static final long LOOK_LIMIT_NS = 200_000_000;

    final int index;
    final LaneLayout layout;
    final Cookies cookies;
    final MemorySegment memory;

    private final FaultQueue queue;
    private final QueueConfig config;
    private final Region region;
    private final AnswerSink sink;
    private final LaneGate gate;
    private final EntryWriter completions;
    private final EntryReader submissions;
    private final ResponseTable table;
    private final PostedReads reads;
    private final LaneCounts counts = new LaneCounts();
    private final List<Lane> alone = List.of(this);

    /** Set once everything is answered and published; the consumer drops the lane when it has read the rest. */
    private volatile boolean ended;

    /** How many sides still use the region: this one, and the consumer once it has looked. */
    private final AtomicInteger sides = new AtomicInteger(1);

    private volatile @Nullable Accounting accountingAtClose;

    /** False once closing has begun: what is raised by a sink that is told of it is refused. */
    private boolean admits = true;

    private boolean closed;

    /** What was untold when the lane was closed: tags, and codes beside them. */
    private long[] untoldAtClose = {};

    private int untoldGiven;

    private long nowNs;
    private int idlePolls;
    private int answersSinceClock;
    private int revoked;
    private int lastCookie;

    Lane(FaultQueue queue, int index, int allocation, int lastCookie, AnswerSink sink) {
        this.queue = queue;
        this.config = queue.config();
        this.index = index;
        this.sink = sink;
        this.gate = new LaneGate(index, config.waiting() == Waiting.SPIN_THEN_PARK);
        this.cookies = Cookies.of(config.lanes(), allocation);
        this.layout = LaneLayout.of(config, allocation);
        this.region = Region.allocate(layout.bytes());
        this.memory = region.segment();
        this.completions = new EntryWriter(memory, LaneLayout.COMPLETIONS_OFFSET, layout.completionEntries());
        this.submissions = new EntryReader(memory, layout.submissionsOffset(), layout.submissionEntries());
        this.table = new ResponseTable(memory, layout, cookies, index, lastCookie);
        this.reads = new PostedReads(config.entries());
        this.nowNs = System.nanoTime();
        queue.countHeld(region.bytes());
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
        nowNs = System.nanoTime();
        if (!closed) {
            table.stamp(nowNs);
        }
    }

    // ---- raising ----

    @Override
    public Result raise(long tag, int device, int pasid, int group, long address, int access, boolean last) {
        gate.checkEntered("raise");
        if (pasid < NO_PASID || pasid > 0xfffff || group < 0 || (access & ~0xf) != 0) {
            throw badRequest(pasid, group, access);
        }
        if (!admits) {
            return Result.CLOSED;
        }
        int slot = table.firstAssembling() == NONE ? NONE : table.assembling(device, group);
        int size = 0;
        if (slot == NONE) {
            slot = table.take();
            if (slot == NONE) {
                return Result.FULL;
            }
            counts.countRaised();
            if (!last) {
                table.linkAssembling(slot);
            }
        } else {
            size = table.size(slot);
        }
        counts.countRequest();
        if (size == layout.largestGroup()) {
            table.unlinkAssembling(slot);
            drop(slot, DropRule.OVERSIZED);
            return Result.SHORT_BUFFER;
        }
        int flags = (pasid == NO_PASID ? 0 : PageFaultLayout.FLAG_PASID_VALID)
                | (last ? PageFaultLayout.FLAG_LAST_PAGE : 0);
        table.addRequest(slot, size, tag, flags, device, pasid == NO_PASID ? 0 : pasid, group, access, address);
        if (last) {
            if (size > 0) {
                table.unlinkAssembling(slot);
            }
            table.linkOpen(slot, nowNs);
            deliverWaiting();
            if (completions.staged() >= BATCH) {
                publish();
            }
        }
        return Result.OK;
    }

    private static IllegalArgumentException badRequest(int pasid, int group, int access) {
        if (pasid < NO_PASID || pasid > 0xfffff) {
            return new IllegalArgumentException("pasid=" + pasid + ": allowed 0 to 1048575, or NO_PASID");
        }
        if (group < 0) {
            return new IllegalArgumentException("group=" + group + ": allowed 0 or more");
        }
        return new IllegalArgumentException(
                "access=" + access + ": allowed bits 1 (read), 2 (write), 4 (execute), 8 (privileged)");
    }

    /** Completes reads with waiting groups, oldest with oldest, while there are both and the ring has room. */
    private void deliverWaiting() {
        int slot;
        while ((slot = table.firstWaiting()) != NONE && reads.total() > 0) {
            long entry = completions.claim();
            if (entry < 0) {
                return;
            }
            int size = table.size(slot);
            SharedWords.putLong(memory, entry + LaneLayout.COMPLETION_USER_DATA, reads.take());
            SharedWords.putLong(
                    memory,
                    entry + LaneLayout.COMPLETION_KIND,
                    pair(LaneLayout.KIND_GROUP | revoked << LaneLayout.KIND_BITS, size));
            SharedWords.putLong(memory, entry + LaneLayout.COMPLETION_RAISED_AT, table.raisedAtNs(slot));
            if (size == 1) {
                PageFaultLayout.copy(memory, table.record(slot, 0), memory, entry + LaneLayout.COMPLETION_RECORD);
            } else {
                long buffer = layout.bufferOffset((int) (completions.position() - 1) & layout.completionEntries() - 1);
                MemorySegment.copy(memory, table.record(slot, 0), memory, buffer, (long) size * PageFaultLayout.SIZE);
            }
            table.setDelivered(slot);
        }
    }

    @Override
    public void flush() {
        gate.checkEntered("flush");
        publish();
    }

    private void publish() {
        if (!closed && completions.publish()) {
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
        takeSubmissions();
        deliverWaiting();
        publish();
        int told = tellUntold();
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
            while ((slot = table.firstOpen()) != NONE && nowNs - table.raisedAtNs(slot) >= config.deadlineNs()) {
                revoke(slot, AutoAnswer.DEADLINE);
            }
        }
    }

    private void takeSubmissions() {
        long entry;
        while ((entry = submissions.next()) >= 0) {
            long header = SharedWords.getLong(memory, entry + LaneLayout.SUBMISSION_OPCODE);
            long userData = SharedWords.getLong(memory, entry + LaneLayout.SUBMISSION_USER_DATA);
            int opcode = (int) header;
            int count = (int) (header >>> 32);
            switch (opcode) {
                case LaneLayout.OPCODE_ANSWER -> {
                    int n = Math.min(count, LaneLayout.ANSWERS_PER_ENTRY);
                    for (int i = 0; i < n; i++) {
                        long word = SharedWords.getLong(
                                memory, entry + LaneLayout.SUBMISSION_ANSWERS + (long) i * LaneLayout.ANSWER_BYTES);
                        takeAnswer((int) word, (int) (word >>> 32), userData);
                    }
                }
                case LaneLayout.OPCODE_POST -> addReads(userData, count);
                case LaneLayout.OPCODE_CANCEL, LaneLayout.OPCODE_CANCEL_ALL -> {
                    long completion = completions.claim();
                    if (completion < 0) {
                        // Room comes when the consumer gives entries back; the cancel, and what follows it, waits for
                        // that.
                        submissions.release();
                        return;
                    }
                    boolean all = opcode == LaneLayout.OPCODE_CANCEL_ALL;
                    end(completion, LaneLayout.KIND_CANCELLED, all ? 0 : userData, reads.cancel(all, userData));
                }
                default -> counts.countStale(); // a peer that scribbles: counted, and nothing done
            }
            submissions.advance();
        }
        submissions.release();
    }

    private void addReads(long userData, int count) {
        if (!reads.add(userData, count)) {
            counts.countStale(); // a peer that scribbles: its own end refuses such a post
        }
    }

    /** Takes an answer that has arrived, from the ring or by a task. */
    private void takeAnswer(int cookie, int code, long userData) {
        // The read comes back whatever became of the group: its consumer counts on it.
        if ((code & CODE_REPOST) != 0) {
            addReads(userData, 1);
        }
        if ((code & CODE_LATER) != 0) {
            return;
        }
        counts.countAnswer();
        int slot = table.delivered(cookie);
        if (slot == NONE) {
            counts.countStale();
            return;
        }
        table.unlinkOpen(slot);
        if ((code & CODE_THREW) == 0) {
            counts.countAnswered();
        } else {
            counts.countAuto(AutoAnswer.HANDLER);
        }
        table.addUntold(slot, code & CODE_INVALID);
    }

    /** An answer from a thread that is not the consumer's. */
    void answerFromOutside(int cookie, int code, long userData) {
        gate.request(() -> {
            if (!closed) {
                takeAnswer(cookie, code, userData);
            }
        });
    }

    /**
     * Tells the sink what is answered: last in every call, when all else is done, so that it may raise, close or throw. Only by
     * the thread that has entered.
     */
    private int tellUntold() {
        int told = 0;
        int slot;
        while (!closed && (slot = table.takeUntold()) != NONE) {
            long tag = table.tag(slot);
            int code = table.code(slot);
            // Free before the sink, for it may raise again at once.
            table.free(slot);
            told++;
            sink.answered(tag, answer(code));
        }
        while (closed && untoldGiven < untoldAtClose.length) {
            long tag = untoldAtClose[untoldGiven];
            long code = untoldAtClose[untoldGiven + 1];
            untoldGiven += 2;
            told++;
            sink.answered(tag, answer(code));
        }
        return told;
    }

    private static Answer answer(long code) {
        return code == CODE_INVALID ? Answer.INVALID : Answer.SUCCESS;
    }

    private void end(long completion, int kind, long userData, int count) {
        SharedWords.putLong(memory, completion + LaneLayout.COMPLETION_USER_DATA, userData);
        SharedWords.putLong(memory, completion + LaneLayout.COMPLETION_KIND, pair(kind, count));
    }

    private static long pair(int low, int high) {
        return (low & 0xffff_ffffL) | ((long) high << 32);
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
        return closed
                ? untoldGiven < untoldAtClose.length
                : submissions.isReady() || gate.hasTasks() || table.hasUntold();
    }

    /** Nanoseconds until the oldest open group expires; a day if none does. Groups raised since the last reading age from now. */
    long untilExpiry(long now) {
        if (closed || config.deadlineNs() == 0) {
            return TimeUnit.DAYS.toNanos(1);
        }
        nowNs = now;
        table.stamp(now);
        int slot = table.firstOpen();
        return slot == NONE ? TimeUnit.DAYS.toNanos(1) : table.raisedAtNs(slot) + config.deadlineNs() - now;
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
        // What the consumer has answered by now counts as answered.
        gate.runTasks();
        int n = 0;
        if (!closed) {
            takeSubmissions();
            for (int slot = table.firstOpen(); slot != NONE; ) {
                int next = table.nextOpen(slot);
                if (tags.test(table.tag(slot))) {
                    revoke(slot, why);
                    n++;
                }
                slot = next;
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
        tellUntold();
        return n;
    }

    private void revoke(int slot, AutoAnswer why) {
        boolean given = table.state(slot) == LaneLayout.DELIVERED;
        table.unlinkOpen(slot);
        counts.countAuto(why);
        table.addUntold(slot, CODE_INVALID);
        if (given) {
            // Release, after the state was changed: a consumer that sees this count sees that state.
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
        // First what can fail; all that is in use may have to be told.
        long[] rest = new long[2 * (layout.allocation() - table.freeCount())];
        admits = false;
        takeSubmissions();
        int slot;
        while ((slot = table.firstOpen()) != NONE) {
            revoke(slot, why);
        }
        while ((slot = table.firstAssembling()) != NONE) {
            table.unlinkAssembling(slot);
            drop(slot, DropRule.ABANDONED);
        }
        while (reads.total() > 0) {
            long completion = completions.claim();
            if (completion < 0) {
                break; // a peer that scribbled over its head; it learns from the lane's end
            }
            long userData = reads.oldestUserData();
            end(completion, LaneLayout.KIND_CLOSED, userData, reads.takeRun());
        }
        accountingAtClose = counts.with(table.outstanding());
        lastCookie = table.lastCookie();
        int n = 0;
        while ((slot = table.takeUntold()) != NONE) {
            rest[n++] = table.tag(slot);
            rest[n++] = table.code(slot);
        }
        untoldAtClose = Arrays.copyOf(rest, n);
        completions.publish();
        closed = true;
        ended = true;
        queue.signalConsumer();
        letGo();
    }

    /** The highest cookie given, known once the lane is closed: a later lane in this place gives others. */
    int lastCookie() {
        return lastCookie;
    }

    boolean isEnded() {
        return ended;
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
            queue.countHeld(-region.bytes());
        }
    }

    /** What has to be done on a lane that nobody steps: take answers, give waiting groups to reads, answer what is overdue. */
    void lookAfter() {
        gate.visit(() -> {
            if (!closed) {
                takeSubmissions();
                deliverWaiting();
                expireOverdue();
                publish();
            }
        });
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
                seen = counts.with(table.outstanding());
            } finally {
                letGo();
            }
        } while (!seen.balanced() && ++tries < 1_000);
        return seen;
    }

    private Accounting accountingHere() {
        Accounting atClose = accountingAtClose;
        return atClose != null ? atClose : counts.with(table.outstanding());
    }

    String dump() {
        String[] result = new String[1];
        if (!gate.call(() -> result[0] = dumpHere(), LOOK_LIMIT_NS)) {
            if (!hold()) {
                return "lane " + index + ": closed\n";
            }
            try {
                return dumpHere();
            } finally {
                letGo();
            }
        }
        return result[0];
    }

    private String dumpHere() {
        if (closed) {
            return "lane " + index + ": closed\n";
        }
        StringBuilder text = new StringBuilder("lane ")
                .append(index)
                .append(": ")
                .append(layout.allocation() - table.freeCount())
                .append(" of ")
                .append(layout.allocation())
                .append(" slots used, ")
                .append(reads.total())
                .append(" reads posted\n");
        table.dump(text, System.nanoTime());
        return text.toString();
    }

    @Override
    public int allocation() {
        return layout.allocation();
    }
}
