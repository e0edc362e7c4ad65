package dev.faultline.ring;

import static dev.faultline.ring.LaneLayout.ANSWERED;
import static dev.faultline.ring.LaneLayout.ASSEMBLING;
import static dev.faultline.ring.LaneLayout.CODE_INVALID;
import static dev.faultline.ring.LaneLayout.CODE_LATER;
import static dev.faultline.ring.LaneLayout.CODE_REPOST;
import static dev.faultline.ring.LaneLayout.CODE_THREW;
import static dev.faultline.ring.LaneLayout.DELIVERED;
import static dev.faultline.ring.LaneLayout.FREE;
import static dev.faultline.ring.LaneLayout.WAITING;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import dev.faultline.ring.internal.EntryReader;
import dev.faultline.ring.internal.EntryWriter;
import dev.faultline.ring.internal.Wakeup;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.LongPredicate;
import org.jctools.queues.varhandle.MpscUnboundedVarHandleArrayQueue;
import org.jspecify.annotations.Nullable;

/**
 * The producer's side of a lane: the response table, the reads that are posted, and the engine's ends of both rings.
 *
 * <p>Everything here but {@code owner}, {@code tasks}, {@code ended} and {@code wakeup} is plain memory that only the thread
 * inside touches. A thread is inside after {@link #enter}, or for the length of a {@link #visit}: a task that has to act on
 * the lane is queued, and run by the visitor if nobody is inside, else by the thread that is, at its next poll.
 */
final class Lane implements FaultProducer {
    /** How many groups are staged before they are published without being asked. */
    private static final int BATCH = 16;

    /** The clock is read after so many answers, and once in so many polls that find nothing. */
    private static final int ANSWERS_PER_CLOCK = 64;

    private static final int IDLE_POLLS_PER_CLOCK = 32;

    private static final int NONE = -1;

    /** What {@link #owner} holds while a visitor is inside; visits are short. */
    private static final Object VISITOR = new Object();

    private static final ThreadLocal<Wakeup> THREAD_WAKEUP = ThreadLocal.withInitial(Wakeup::new);

    final int index;
    final LaneLayout layout;
    final Cookies cookies;
    final MemorySegment memory;

    private final FaultQueue queue;
    private final QueueConfig config;
    private final Region region;
    private final AnswerSink sink;
    private final EntryWriter completions;
    private final EntryReader submissions;
    private final long table;
    private final long slotBytes;

    /** Null, the thread that has entered, or {@link #VISITOR}. */
    private final AtomicReference<@Nullable Object> owner = new AtomicReference<>();

    private final MpscUnboundedVarHandleArrayQueue<Runnable> tasks = new MpscUnboundedVarHandleArrayQueue<>(64);

    /** Of the thread that has entered; the consumer signals it after it has published. */
    private volatile @Nullable Wakeup wakeup;

    /** Set once everything is answered and published; the consumer drops the lane when it has read the rest. */
    private volatile boolean ended;

    /** How many sides still use the region: this one, and the consumer once it has looked. */
    private final AtomicInteger sides = new AtomicInteger(1);

    /** Whether the thread inside is the one that entered, so that the sink may be called. */
    private boolean sinkHere;

    private boolean closed;

    /** False once closing has begun: what is raised by a sink that is told of it is refused. */
    private boolean admits = true;

    private final long[] readUserData;
    private final int[] readCount;
    private int readHead;
    private int readTail;
    private int reads;

    private final int[] freeSlots;
    private int freeHead;
    private int freeCount;

    /** Whole groups in the order in which they became whole, which is the order of delivery and of expiry. */
    private int openHead = NONE;

    private int openTail = NONE;
    private int firstWaiting = NONE;

    private int assemblingHead = NONE;

    /** Groups answered while the sink could not be called. */
    private int untoldHead = NONE;

    private int untoldTail = NONE;

    /** Answers that tasks have told since the last poll began. */
    private int toldByTasks;

    /** What was untold when the lane was closed: tags, and codes beside them. */
    private long[] untoldAtClose = {};

    private int untoldGiven;

    private long nowNs;
    private int idlePolls;
    private int answersSinceClock;
    private int revoked;

    private long requests;
    private long raised;
    private long answered;
    private long answers;
    private long stale;
    private final long[] autoBy = new long[AutoAnswer.values().length];
    private final long[] droppedBy = new long[DropRule.values().length];
    private volatile @Nullable Accounting accountingAtClose;
    private int lastCookie;
    private final List<Lane> alone = List.of(this);

    Lane(FaultQueue queue, int index, int allocation, int lastCookie, AnswerSink sink) {
        this.queue = queue;
        this.config = queue.config();
        this.index = index;
        this.sink = sink;
        this.cookies = Cookies.of(config.lanes(), allocation);
        this.layout = LaneLayout.of(config, allocation);
        this.region = Region.allocate(layout.bytes());
        this.memory = region.segment();
        this.completions = new EntryWriter(memory, LaneLayout.COMPLETIONS_OFFSET, layout.completionEntries());
        this.submissions = new EntryReader(memory, layout.submissionsOffset(), layout.submissionEntries());
        this.table = layout.tableOffset();
        this.slotBytes = layout.slotBytes();
        // A list of runs with the same user data; each has a read at least, so there are never more runs than reads.
        int runs = Integer.highestOneBit(config.entries()) << 1;
        this.readUserData = new long[runs];
        this.readCount = new int[runs];
        this.freeSlots = new int[allocation];
        for (int slot = 0; slot < allocation; slot++) {
            freeSlots[slot] = slot;
            SharedWords.putLong(memory, at(slot), state(FREE, cookies.startingAfter(lastCookie, slot, index)));
        }
        this.freeCount = allocation;
        this.nowNs = System.nanoTime();
    }

    // ---- entering
    // -----------------------------------------------------------------------------------------------------

    @Override
    public boolean enter() {
        Thread me = Thread.currentThread();
        for (; ; ) {
            Object inside = owner.compareAndExchange(null, me);
            if (inside == null) {
                break;
            }
            if (inside == me) {
                throw new IllegalStateException("lane=" + index + ": " + me + " has entered it already");
            }
            if (inside != VISITOR) {
                return false;
            }
            Thread.onSpinWait();
        }
        sinkHere = true;
        wakeup = THREAD_WAKEUP.get();
        nowNs = System.nanoTime();
        return true;
    }

    @Override
    public void leave() {
        checkEntered("leave");
        flush();
        runTasks();
        sinkHere = false;
        wakeup = null;
        owner.set(null);
        visit();
    }

    private void checkEntered(String call) {
        // Plain: a thread that finds itself here wrote it itself.
        if (owner.getPlain() != Thread.currentThread()) {
            throw notEntered(call);
        }
    }

    private IllegalStateException notEntered(String call) {
        return new IllegalStateException(call + " by " + Thread.currentThread() + ": lane=" + index + " is entered by "
                + owner.get() + "; allowed is the thread that has entered");
    }

    /** Runs what is queued, unless somebody is inside, who will. */
    private void visit() {
        while (!tasks.isEmpty() && owner.compareAndSet(null, VISITOR)) {
            try {
                runTasks();
            } finally {
                owner.set(null);
            }
        }
    }

    private void runTasks() {
        Runnable task;
        while ((task = tasks.poll()) != null) {
            task.run();
        }
    }

    /** Has a task run inside the lane, without waiting for it. */
    void request(Runnable task) {
        tasks.offer(task);
        signalProducer();
        visit();
    }

    /**
     * Has a task run inside the lane, and waits for it.
     *
     * @return false if the thread inside has not polled in time; the task runs when it does
     */
    boolean call(Runnable task, long limitNs) {
        if (owner.getPlain() == Thread.currentThread()) {
            task.run();
            return true;
        }
        CountDownLatch done = new CountDownLatch(1);
        request(() -> {
            try {
                task.run();
            } finally {
                done.countDown();
            }
        });
        boolean interrupted = false;
        long end = System.nanoTime() + limitNs;
        try {
            for (; ; ) {
                try {
                    return done.await(end - System.nanoTime(), TimeUnit.NANOSECONDS);
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** Wakes the thread inside, after the caller has published what it is to find. */
    void signalProducer() {
        if (config.waiting() == Waiting.SPIN_THEN_PARK) {
            Wakeup w = wakeup;
            if (w != null) {
                w.signal();
            }
        }
    }

    // ---- raising
    // ------------------------------------------------------------------------------------------------------

    @Override
    public Result raise(long tag, int device, int pasid, int group, long address, int access, boolean last) {
        checkEntered("raise");
        if (pasid < NO_PASID || pasid > 0xfffff || group < 0 || (access & ~0xf) != 0) {
            throw badRequest(pasid, group, access);
        }
        if (!admits) {
            return Result.CLOSED;
        }
        int slot = assemblingHead == NONE ? NONE : assembling(device, group);
        int size = 0;
        if (slot == NONE) {
            if (freeCount == 0) {
                return Result.FULL;
            }
            slot = takeSlot();
            raised++;
            if (!last) {
                link(slot);
            }
        } else {
            size = SharedWords.getInt(memory, at(slot) + LaneLayout.SLOT_SIZE);
        }
        requests++;
        if (size == layout.largestGroup()) {
            unlinkAssembling(slot);
            drop(slot, DropRule.OVERSIZED);
            return Result.SHORT_BUFFER;
        }
        long at = at(slot);
        int cookie = (int) SharedWords.getLong(memory, at);
        PageFaultLayout.write(
                memory,
                at + LaneLayout.SLOT_RECORDS + (long) size * PageFaultLayout.SIZE,
                (pasid == NO_PASID ? 0 : PageFaultLayout.FLAG_PASID_VALID)
                        | (last ? PageFaultLayout.FLAG_LAST_PAGE : 0),
                device,
                pasid == NO_PASID ? 0 : pasid,
                group,
                access,
                address,
                0,
                cookie);
        SharedWords.putLong(memory, at + LaneLayout.SLOT_TAG, tag);
        SharedWords.putInt(memory, at + LaneLayout.SLOT_SIZE, size + 1);
        if (last) {
            if (size > 0) {
                unlinkAssembling(slot);
            }
            whole(slot, cookie);
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
                "access=" + access + ": allowed bits 1 (read), 2 (write), 4 (execute), 8" + " (privileged)");
    }

    private void whole(int slot, int cookie) {
        long at = at(slot);
        SharedWords.putLong(memory, at + LaneLayout.SLOT_RAISED_AT, nowNs);
        SharedWords.putInt(memory, at + LaneLayout.SLOT_PREV, openTail);
        SharedWords.putInt(memory, at + LaneLayout.SLOT_NEXT, NONE);
        if (openTail == NONE) {
            openHead = slot;
        } else {
            SharedWords.putInt(memory, at(openTail) + LaneLayout.SLOT_NEXT, slot);
        }
        openTail = slot;
        if (firstWaiting == NONE && reads > 0 && deliver(slot, cookie)) {
            if (completions.staged() >= BATCH) {
                flush();
            }
            return;
        }
        SharedWords.setLongRelease(memory, at, state(WAITING, cookie));
        if (firstWaiting == NONE) {
            firstWaiting = slot;
        }
    }

    /** Completes the oldest read with a whole group; false if the ring has no room just now. */
    private boolean deliver(int slot, int cookie) {
        long entry = completions.claim();
        if (entry < 0) {
            return false;
        }
        int run = readHead & readCount.length - 1;
        long userData = readUserData[run];
        if (--readCount[run] == 0) {
            readHead++;
        }
        reads--;
        long at = at(slot);
        int size = SharedWords.getInt(memory, at + LaneLayout.SLOT_SIZE);
        SharedWords.putLong(memory, entry + LaneLayout.COMPLETION_USER_DATA, userData);
        SharedWords.putLong(
                memory,
                entry + LaneLayout.COMPLETION_KIND,
                pair(LaneLayout.KIND_GROUP | revoked << LaneLayout.KIND_BITS, size));
        SharedWords.putLong(
                memory,
                entry + LaneLayout.COMPLETION_RAISED_AT,
                SharedWords.getLong(memory, at + LaneLayout.SLOT_RAISED_AT));
        if (size == 1) {
            PageFaultLayout.copy(memory, at + LaneLayout.SLOT_RECORDS, memory, entry + LaneLayout.COMPLETION_RECORD);
        } else {
            long buffer = layout.buffersOffset()
                    + (completions.position() - 1 & layout.completionEntries() - 1) * layout.bufferBytes();
            MemorySegment.copy(
                    memory, at + LaneLayout.SLOT_RECORDS, memory, buffer, (long) size * PageFaultLayout.SIZE);
        }
        SharedWords.setLongRelease(memory, at, state(DELIVERED, cookie));
        return true;
    }

    private void deliverWaiting() {
        while (firstWaiting != NONE && reads > 0) {
            int slot = firstWaiting;
            int next = SharedWords.getInt(memory, at(slot) + LaneLayout.SLOT_NEXT);
            if (!deliver(slot, (int) SharedWords.getLong(memory, at(slot)))) {
                return;
            }
            firstWaiting = next;
        }
    }

    @Override
    public void flush() {
        if (!closed && completions.publish()) {
            queue.signalConsumer();
        }
    }

    // ---- taking answers
    // -----------------------------------------------------------------------------------------------

    @Override
    public int poll() {
        checkEntered("poll");
        if (closed) {
            return tellRest();
        }
        flush();
        int told = untoldHead == NONE ? 0 : tellUntold();
        if (!tasks.isEmpty()) {
            toldByTasks = 0;
            runTasks();
            told += toldByTasks;
            if (closed) {
                return told;
            }
        }
        told += takeSubmissions();
        deliverWaiting();
        flush();
        if (told > 0) {
            idlePolls = 0;
            answersSinceClock += told;
            if (answersSinceClock >= ANSWERS_PER_CLOCK) {
                told += tick();
            }
        } else if (idlePolls++ % IDLE_POLLS_PER_CLOCK == 0) {
            told = tick();
        }
        return told;
    }

    /** Reads the clock and answers what is overdue. */
    private int tick() {
        answersSinceClock = 0;
        nowNs = System.nanoTime();
        int expired = 0;
        if (config.deadlineNs() > 0) {
            while (openHead != NONE
                    && nowNs - SharedWords.getLong(memory, at(openHead) + LaneLayout.SLOT_RAISED_AT)
                            >= config.deadlineNs()) {
                revokeSlot(openHead, AutoAnswer.DEADLINE);
                expired++;
            }
        }
        return expired;
    }

    private int takeSubmissions() {
        int told = 0;
        long entry;
        while ((entry = submissions.next()) >= 0) {
            long header = SharedWords.getLong(memory, entry + LaneLayout.SUBMISSION_OPCODE);
            long userData = SharedWords.getLong(memory, entry + LaneLayout.SUBMISSION_USER_DATA);
            int count = (int) (header >>> 32);
            switch ((int) header) {
                case LaneLayout.OPCODE_ANSWER -> {
                    int n = Math.min(count, LaneLayout.ANSWERS_PER_ENTRY);
                    for (int i = 0; i < n; i++) {
                        long word = SharedWords.getLong(
                                memory, entry + LaneLayout.SUBMISSION_ANSWERS + (long) i * LaneLayout.ANSWER_BYTES);
                        told += takeAnswer((int) word, (int) (word >>> 32), userData);
                    }
                }
                case LaneLayout.OPCODE_POST -> addReads(userData, count);
                case LaneLayout.OPCODE_CANCEL, LaneLayout.OPCODE_CANCEL_ALL -> {
                    long completion = completions.claim();
                    if (completion < 0) {
                        // Room comes when the consumer gives entries back; the cancel, and what follows it, waits for
                        // that.
                        submissions.release();
                        return told;
                    }
                    boolean all = (int) header == LaneLayout.OPCODE_CANCEL_ALL;
                    end(completion, LaneLayout.KIND_CANCELLED, all ? 0 : userData, cancelReads(all, userData));
                }
                default -> stale++; // a peer that scribbles: counted, and nothing done
            }
            submissions.advance();
        }
        submissions.release();
        return told;
    }

    /** Takes an answer that has arrived, from the ring or by a task. */
    private int takeAnswer(int cookie, int code, long userData) {
        // The read comes back whatever became of the group: its consumer counts on it.
        if ((code & CODE_REPOST) != 0) {
            addReads(userData, 1);
        }
        if ((code & CODE_LATER) != 0) {
            return 0;
        }
        answers++;
        int slot = cookies.slot(cookie);
        if (slot >= layout.allocation() || SharedWords.getLong(memory, at(slot)) != state(DELIVERED, cookie)) {
            stale++;
            return 0;
        }
        unlinkOpen(slot);
        if ((code & CODE_THREW) == 0) {
            answered++;
        } else {
            autoBy[AutoAnswer.HANDLER.ordinal()]++;
        }
        settle(slot, code & CODE_INVALID);
        return 1;
    }

    /** An answer from a thread that is not the consumer's. */
    void answerFromOutside(int cookie, int code, long userData) {
        request(() -> {
            if (!closed) {
                toldByTasks += takeAnswer(cookie, code, userData);
            }
        });
    }

    /** Gives a group's slot back and tells its device, now or when that is possible. */
    private void settle(int slot, int code) {
        long at = at(slot);
        int cookie = (int) SharedWords.getLong(memory, at);
        if (sinkHere) {
            long tag = SharedWords.getLong(memory, at + LaneLayout.SLOT_TAG);
            freeSlot(slot, cookie);
            sink.answered(tag, code == CODE_INVALID ? Answer.INVALID : Answer.SUCCESS);
            return;
        }
        SharedWords.putInt(memory, at + LaneLayout.SLOT_CODE, code);
        SharedWords.putInt(memory, at + LaneLayout.SLOT_NEXT, NONE);
        SharedWords.setLongRelease(memory, at, state(ANSWERED, cookie));
        if (untoldTail == NONE) {
            untoldHead = slot;
        } else {
            SharedWords.putInt(memory, at(untoldTail) + LaneLayout.SLOT_NEXT, slot);
        }
        untoldTail = slot;
    }

    private int tellUntold() {
        int told = 0;
        while (untoldHead != NONE) {
            int slot = untoldHead;
            long at = at(slot);
            untoldHead = SharedWords.getInt(memory, at + LaneLayout.SLOT_NEXT);
            if (untoldHead == NONE) {
                untoldTail = NONE;
            }
            long tag = SharedWords.getLong(memory, at + LaneLayout.SLOT_TAG);
            int code = SharedWords.getInt(memory, at + LaneLayout.SLOT_CODE);
            freeSlot(slot, (int) SharedWords.getLong(memory, at));
            sink.answered(tag, code == CODE_INVALID ? Answer.INVALID : Answer.SUCCESS);
            told++;
        }
        return told;
    }

    /** Tells what was untold when the lane was closed; the region may be gone. */
    private int tellRest() {
        int told = 0;
        while (untoldGiven < untoldAtClose.length) {
            long tag = untoldAtClose[untoldGiven];
            long code = untoldAtClose[untoldGiven + 1];
            untoldGiven += 2;
            sink.answered(tag, code == CODE_INVALID ? Answer.INVALID : Answer.SUCCESS);
            told++;
        }
        return told;
    }

    // ---- reads
    // --------------------------------------------------------------------------------------------------------

    private void addReads(long userData, int count) {
        if (count < 1 || count > config.entries() - reads) {
            stale++; // a peer that scribbles: its own end refuses such a post
            return;
        }
        int mask = readCount.length - 1;
        int newest = readTail - 1 & mask;
        if (reads > 0 && readUserData[newest] == userData) {
            readCount[newest] += count;
        } else {
            int run = readTail++ & mask;
            readUserData[run] = userData;
            readCount[run] = count;
        }
        reads += count;
    }

    private int cancelReads(boolean all, long userData) {
        int mask = readCount.length - 1;
        int end = readTail;
        int kept = readHead;
        int taken = 0;
        for (int i = readHead; i != end; i++) {
            int from = i & mask;
            if (all || readUserData[from] == userData) {
                taken += readCount[from];
            } else {
                int to = kept++ & mask;
                readUserData[to] = readUserData[from];
                readCount[to] = readCount[from];
            }
        }
        readTail = kept;
        reads -= taken;
        return taken;
    }

    private void end(long completion, int kind, long userData, int count) {
        SharedWords.putLong(memory, completion + LaneLayout.COMPLETION_USER_DATA, userData);
        SharedWords.putLong(memory, completion + LaneLayout.COMPLETION_KIND, pair(kind, count));
    }

    // ---- waiting
    // ------------------------------------------------------------------------------------------------------

    @Override
    public boolean await(long limitNs) {
        return FaultProducer.awaitAny(alone, limitNs);
    }

    Waiting waiting() {
        return config.waiting();
    }

    Wakeup enteredWakeup(String call) {
        checkEntered(call);
        Wakeup w = wakeup;
        if (w == null) {
            throw notEntered(call);
        }
        return w;
    }

    /** Whether a poll would find something; expiry aside. */
    boolean isReady() {
        if (closed) {
            return true;
        }
        return submissions.isReady() || !tasks.isEmpty() || untoldHead != NONE;
    }

    /** When the oldest open group expires, by {@link System#nanoTime}; a day from {@code now} if none does. */
    long expiresAt(long now) {
        return closed || config.deadlineNs() == 0 || openHead == NONE
                ? now + TimeUnit.DAYS.toNanos(1)
                : SharedWords.getLong(memory, at(openHead) + LaneLayout.SLOT_RAISED_AT) + config.deadlineNs();
    }

    // ---- revoking and closing
    // -----------------------------------------------------------------------------------------

    @Override
    public int revoke(LongPredicate tags, AutoAnswer why) {
        checkEntered("revoke");
        if (closed) {
            return 0;
        }
        // What the consumer has answered by now counts as answered.
        takeSubmissions();
        int n = 0;
        for (int slot = openHead; slot != NONE; ) {
            int next = SharedWords.getInt(memory, at(slot) + LaneLayout.SLOT_NEXT);
            if (tags.test(SharedWords.getLong(memory, at(slot) + LaneLayout.SLOT_TAG))) {
                revokeSlot(slot, why);
                n++;
            }
            slot = next;
        }
        for (int slot = assemblingHead; slot != NONE; ) {
            int next = SharedWords.getInt(memory, at(slot) + LaneLayout.SLOT_NEXT);
            if (tags.test(SharedWords.getLong(memory, at(slot) + LaneLayout.SLOT_TAG))) {
                unlinkAssembling(slot);
                drop(slot, DropRule.ABANDONED);
            }
            slot = next;
        }
        return n;
    }

    private void revokeSlot(int slot, AutoAnswer why) {
        boolean given = (SharedWords.getLong(memory, at(slot)) >>> 32) == DELIVERED;
        unlinkOpen(slot);
        autoBy[why.ordinal()]++;
        settle(slot, CODE_INVALID);
        if (given) {
            // Release, after settle changed the state: a consumer that sees this count sees that state.
            SharedWords.setIntRelease(memory, LaneLayout.REVOKED_OFFSET, ++revoked);
        }
    }

    private void drop(int slot, DropRule rule) {
        droppedBy[rule.ordinal()]++;
        freeSlot(slot, (int) SharedWords.getLong(memory, at(slot)));
    }

    @Override
    public void close() {
        if (call(() -> closeHere(AutoAnswer.DETACH), config.closeLimitNs())) {
            queue.remove(this);
        } else {
            // The thread inside does not poll. When it does, the lane closes; until then its slot in the queue is
            // taken.
            request(() -> queue.remove(this));
        }
    }

    /** Answers everything, ends every read, and lets go of the region. Runs inside the lane. */
    void closeHere(AutoAnswer why) {
        if (!admits) {
            return;
        }
        admits = false;
        takeSubmissions();
        while (openHead != NONE) {
            revokeSlot(openHead, why);
        }
        while (assemblingHead != NONE) {
            int slot = assemblingHead;
            unlinkAssembling(slot);
            drop(slot, DropRule.ABANDONED);
        }
        for (; readHead != readTail; readHead++) {
            long completion = completions.claim();
            if (completion < 0) {
                break; // a peer that scribbled over its head; it is told by the lane's end
            }
            int run = readHead & readCount.length - 1;
            end(completion, LaneLayout.KIND_CLOSED, readUserData[run], readCount[run]);
        }
        reads = 0;
        accountingAtClose = count();
        long[] rest = new long[2 * layout.allocation()];
        int n = 0;
        for (int slot = untoldHead; slot != NONE; slot = SharedWords.getInt(memory, at(slot) + LaneLayout.SLOT_NEXT)) {
            rest[n++] = SharedWords.getLong(memory, at(slot) + LaneLayout.SLOT_TAG);
            rest[n++] = SharedWords.getInt(memory, at(slot) + LaneLayout.SLOT_CODE);
        }
        untoldAtClose = Arrays.copyOf(rest, n);
        for (int slot = 0; slot < layout.allocation(); slot++) {
            int cookie = (int) SharedWords.getLong(memory, at(slot));
            if (Integer.compareUnsigned(cookie, lastCookie) > 0) {
                lastCookie = cookie;
            }
        }
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

    /** The consumer starts to use the region; false if it is gone. */
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
        }
    }

    boolean isFreed() {
        return sides.get() == 0;
    }

    long regionBytes() {
        return layout.bytes();
    }

    /** What has to be done on a lane that nobody steps: take answers, answer what is overdue. */
    void lookAfter() {
        if (owner.compareAndSet(null, VISITOR)) {
            try {
                if (!closed) {
                    takeSubmissions();
                    deliverWaiting();
                    tick();
                    flush();
                }
                runTasks();
            } finally {
                owner.set(null);
            }
            visit();
        }
    }

    // ---- seeing inside
    // ------------------------------------------------------------------------------------------------

    Accounting accounting() {
        Accounting atClose = accountingAtClose;
        if (atClose != null) {
            return atClose;
        }
        Accounting[] result = new Accounting[1];
        if (!call(() -> result[0] = accountingHere(), config.closeLimitNs())) {
            // The thread inside has not polled for that long. It is not in a call, so nothing moves: reading is safe,
            // and exact
            // unless it starts to move this moment.
            result[0] = accountingHere();
        }
        return result[0];
    }

    private Accounting accountingHere() {
        Accounting atClose = accountingAtClose;
        return atClose != null ? atClose : count();
    }

    private Accounting count() {
        long outstanding = 0;
        for (int slot = 0; slot < layout.allocation(); slot++) {
            int state = (int) (SharedWords.getLongAcquire(memory, at(slot)) >>> 32);
            if (state == ASSEMBLING || state == WAITING || state == DELIVERED) {
                outstanding++;
            }
        }
        Map<AutoAnswer, Long> auto = new EnumMap<>(AutoAnswer.class);
        long autoAnswered = 0;
        for (AutoAnswer why : AutoAnswer.values()) {
            auto.put(why, autoBy[why.ordinal()]);
            autoAnswered += autoBy[why.ordinal()];
        }
        Map<DropRule, Long> drop = new EnumMap<>(DropRule.class);
        long dropped = 0;
        for (DropRule rule : DropRule.values()) {
            drop.put(rule, droppedBy[rule.ordinal()]);
            dropped += droppedBy[rule.ordinal()];
        }
        return new Accounting(
                requests, raised, answered, autoAnswered, dropped, outstanding, auto, drop, answers, stale);
    }

    String dump() {
        String[] result = new String[1];
        if (!call(() -> result[0] = dumpHere(), config.closeLimitNs())) {
            result[0] = dumpHere();
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
                .append(layout.allocation() - freeCount)
                .append(" of ")
                .append(layout.allocation())
                .append(" slots used, ")
                .append(reads)
                .append(" reads posted\n");
        long now = System.nanoTime();
        for (int slot = 0; slot < layout.allocation(); slot++) {
            long at = at(slot);
            long word = SharedWords.getLongAcquire(memory, at);
            int state = (int) (word >>> 32);
            if (state == FREE) {
                continue;
            }
            long record = at + LaneLayout.SLOT_RECORDS;
            text.append("  cookie 0x")
                    .append(Integer.toHexString((int) word))
                    .append(' ')
                    .append(LaneLayout.STATE_NAMES[state]);
            if (state != ASSEMBLING) {
                long raisedAt = SharedWords.getLong(memory, at + LaneLayout.SLOT_RAISED_AT);
                text.append(", age ").append((now - raisedAt) / 1_000).append(" us");
            }
            text.append(", device ")
                    .append(SharedWords.getInt(memory, record + PageFaultLayout.DEVICE_OFFSET))
                    .append(", pasid ")
                    .append(SharedWords.getInt(memory, record + PageFaultLayout.PASID_OFFSET))
                    .append(", group ")
                    .append(SharedWords.getInt(memory, record + PageFaultLayout.GROUP_OFFSET))
                    .append(", requests ")
                    .append(SharedWords.getInt(memory, at + LaneLayout.SLOT_SIZE))
                    .append(", first 0x")
                    .append(Long.toHexString(SharedWords.getLong(memory, record + PageFaultLayout.ADDRESS_OFFSET)))
                    .append('\n');
        }
        return text.toString();
    }

    @Override
    public int allocation() {
        return layout.allocation();
    }

    // ---- slots and lists
    // ----------------------------------------------------------------------------------------------

    private long at(int slot) {
        return table + slot * slotBytes;
    }

    static long state(int state, int cookie) {
        return pair(cookie, state);
    }

    private static long pair(int low, int high) {
        return (low & 0xffff_ffffL) | ((long) high << 32);
    }

    private int takeSlot() {
        int slot = freeSlots[freeHead];
        freeHead = freeHead + 1 == freeSlots.length ? 0 : freeHead + 1;
        freeCount--;
        long at = at(slot);
        int cookie = cookies.next((int) SharedWords.getLong(memory, at));
        SharedWords.setLongRelease(memory, at, state(ASSEMBLING, cookie));
        return slot;
    }

    private void freeSlot(int slot, int cookie) {
        SharedWords.setLongRelease(memory, at(slot), state(FREE, cookie));
        int tail = freeHead + freeCount;
        freeSlots[tail >= freeSlots.length ? tail - freeSlots.length : tail] = slot;
        freeCount++;
    }

    private int assembling(int device, int group) {
        for (int slot = assemblingHead; slot != NONE; ) {
            long record = at(slot) + LaneLayout.SLOT_RECORDS;
            if (SharedWords.getInt(memory, record + PageFaultLayout.DEVICE_OFFSET) == device
                    && SharedWords.getInt(memory, record + PageFaultLayout.GROUP_OFFSET) == group) {
                return slot;
            }
            slot = SharedWords.getInt(memory, at(slot) + LaneLayout.SLOT_NEXT);
        }
        return NONE;
    }

    private void link(int slot) {
        long at = at(slot);
        SharedWords.putInt(memory, at + LaneLayout.SLOT_PREV, NONE);
        SharedWords.putInt(memory, at + LaneLayout.SLOT_NEXT, assemblingHead);
        if (assemblingHead != NONE) {
            SharedWords.putInt(memory, at(assemblingHead) + LaneLayout.SLOT_PREV, slot);
        }
        assemblingHead = slot;
    }

    private void unlinkAssembling(int slot) {
        int next = SharedWords.getInt(memory, at(slot) + LaneLayout.SLOT_NEXT);
        if (slot == assemblingHead) {
            assemblingHead = next;
        }
        unlink(slot, next);
    }

    private void unlinkOpen(int slot) {
        int next = SharedWords.getInt(memory, at(slot) + LaneLayout.SLOT_NEXT);
        if (slot == firstWaiting) {
            firstWaiting = next;
        }
        if (slot == openHead) {
            openHead = next;
        }
        if (slot == openTail) {
            openTail = SharedWords.getInt(memory, at(slot) + LaneLayout.SLOT_PREV);
        }
        unlink(slot, next);
    }

    private void unlink(int slot, int next) {
        int prev = SharedWords.getInt(memory, at(slot) + LaneLayout.SLOT_PREV);
        if (prev != NONE) {
            SharedWords.putInt(memory, at(prev) + LaneLayout.SLOT_NEXT, next);
        }
        if (next != NONE) {
            SharedWords.putInt(memory, at(next) + LaneLayout.SLOT_PREV, prev);
        }
    }
}
