package dev.faultline.ring;

import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ring.internal.EventWakeup;
import dev.faultline.ring.internal.Wakeup;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/** The consumer of a {@link FaultQueue}: polls its lanes in turn. */
abstract class RingConsumer extends PaddedBefore implements FaultConsumer {
    /** Completions taken from one lane before the next has its turn; answers leave at least as often. */
    private static final int TURN = 32;

    private static final int LOOKS_PER_CLOCK = 32;

    private final FaultQueue queue;
    private final QueueConfig config;
    private final Wakeup wakeup;
    private final FaultGroup view = new FaultGroup();
    private final boolean confined;

    /** The first thread that called; or the one that closed the queue before any did. */
    private final AtomicReference<@Nullable Thread> owner = new AtomicReference<>();

    private boolean busy;
    private boolean leaving;

    /** This end has let go of every lane. Written by its thread, or for it by one that has made sure it is in no call. */
    private volatile boolean left;

    private volatile boolean woken;

    private final AtomicReference<@Nullable WakeDescriptor> wakeDescriptor = new AtomicReference<>();

    /** The queue's lanes as last seen; compared by identity with what the queue has now. */
    private @Nullable Lane[] seen = {};

    /** By lane number; a foreign thread that answers reads it too. */
    private volatile @Nullable ConsumerLane[] byNumber;

    private ConsumerLane[] lanes = {};
    private long revocationsOfGoneLanes;
    private int turn;

    private int taken;

    /** What {@link #take} polls with. */
    private final CompletionHandler takeOne = (userData, group) -> taken++;

    private long standingUserData;
    private int standingReads;
    private volatile @Nullable FaultWorker worker;

    /**
     * A consumer.
     *
     * @param confined whether the first thread that calls is the only one; if not, the caller holds a lock
     */
    static RingConsumer of(FaultQueue queue, boolean confined) {
        return new Alone(queue, confined);
    }

    private RingConsumer(FaultQueue queue, boolean confined) {
        this.queue = queue;
        this.config = queue.config();
        this.wakeup = queue.consumerWakeup();
        this.confined = confined;
        this.byNumber = new ConsumerLane[config.lanes()];
    }

    /** Binds this end to the first thread that calls; false if the queue is closing, or closed, without it. */
    private boolean begin(String call) {
        if (left) {
            return false;
        }
        if (!confined) {
            return true;
        }
        Thread me = Thread.currentThread();
        if (owner.getPlain() == me || owner.compareAndSet(null, me)) {
            return true;
        }
        if (queue.isClosing()) {
            // The owner may be the thread that closes, which leaves for a consumer that has never called.
            return false;
        }
        throw new IllegalStateException(call + " by " + me + ": allowed is " + owner.get()
                + ", which called first; other threads use answerLater and wake");
    }

    private boolean isClosed() {
        return left || queue.isClosing();
    }

    // ---- submissions ----

    @Override
    public Result post(long userData, int reads) {
        boolean here = begin("post");
        if (reads < 1 || reads > config.entries()) {
            throw new IllegalArgumentException("reads=" + reads + ": allowed 1 to " + config.entries());
        }
        if (!here || isClosed()) {
            return Result.CLOSED;
        }
        joinLanes();
        boolean any = lanes.length == 0;
        for (ConsumerLane lane : lanes) {
            // A lane that is full stays as it is: an idle one must not keep reads from the others.
            if (lane.hasRoomForReads(reads)) {
                lane.post(userData, reads);
                any = true;
            }
        }
        if (!any) {
            return Result.FULL;
        }
        standingUserData = userData;
        standingReads = reads;
        return Result.OK;
    }

    @Override
    public Result answer(int cookie, Answer code) {
        Arguments.notNull("code", code, "SUCCESS, INVALID, LATER");
        return answer(cookie, wire(code));
    }

    @Override
    public Result answerAndRepost(int cookie, Answer code) {
        Arguments.notNull("code", code, "SUCCESS, INVALID, LATER");
        return answer(cookie, wire(code) | LaneLayout.CODE_REPOST);
    }

    /** The handler of this group threw: {@link Answer#INVALID}, counted under {@link AutoAnswer#HANDLER}. */
    Result answerThrown(int cookie) {
        return answer(cookie, LaneLayout.CODE_INVALID | LaneLayout.CODE_THREW | LaneLayout.CODE_REPOST);
    }

    /** Answers all that was given to this consumer and waits for an answer, as {@link #answerThrown}; says how many. */
    int answerAllThrown() {
        int n = 0;
        if (begin("answer") && !isClosed()) {
            for (ConsumerLane lane : lanes) {
                n += lane.answerAll(LaneLayout.CODE_INVALID | LaneLayout.CODE_THREW);
            }
        }
        return n;
    }

    private Result answer(int cookie, int code) {
        if (!begin("answer") || isClosed()) {
            return Result.CLOSED;
        }
        ConsumerLane lane = lane(cookie);
        return lane == null ? Result.STALE : lane.answer(cookie, code);
    }

    @Override
    public Result answerLater(int cookie, Answer code) {
        Arguments.notNull("code", code, "SUCCESS, INVALID");
        if (code == Answer.LATER) {
            throw new IllegalArgumentException("code=LATER: allowed SUCCESS, INVALID");
        }
        if (isClosed()) {
            return Result.CLOSED;
        }
        ConsumerLane lane = lane(cookie);
        if (lane == null) {
            return Result.STALE;
        }
        if (!lane.lane.hold()) {
            return Result.CLOSED;
        }
        try {
            return lane.answerLater(cookie, wire(code));
        } finally {
            lane.lane.letGo();
        }
    }

    /** Whether a group given out still waits for its answer. */
    boolean isOpen(int cookie) {
        ConsumerLane lane = lane(cookie);
        return lane != null && lane.isOpen(cookie);
    }

    /** Moves whenever a group given out may have been answered automatically; else it stays. */
    long revocations() {
        long sum = revocationsOfGoneLanes;
        for (ConsumerLane lane : lanes) {
            sum += lane.revocations();
        }
        return sum;
    }

    private static int wire(Answer code) {
        return switch (code) {
            case SUCCESS -> 0;
            case INVALID -> LaneLayout.CODE_INVALID;
            case LATER -> LaneLayout.CODE_LATER;
        };
    }

    private @Nullable ConsumerLane lane(int cookie) {
        int number = cookie & queue.laneMask();
        @Nullable ConsumerLane[] all = byNumber;
        return number < all.length ? all[number] : null;
    }

    @Override
    public Result cancel(long userData) {
        return cancel(LaneLayout.OPCODE_CANCEL, userData);
    }

    @Override
    public Result cancelAll() {
        return cancel(LaneLayout.OPCODE_CANCEL_ALL, 0);
    }

    private Result cancel(int opcode, long userData) {
        if (!begin("cancel") || isClosed()) {
            return Result.CLOSED;
        }
        joinLanes();
        for (ConsumerLane lane : lanes) {
            if (!lane.hasRoomForControl(1)) {
                return Result.FULL;
            }
        }
        for (ConsumerLane lane : lanes) {
            lane.control(opcode, userData);
        }
        if (opcode == LaneLayout.OPCODE_CANCEL_ALL || userData == standingUserData) {
            standingReads = 0;
        }
        return Result.OK;
    }

    @Override
    public Result nop(long userData) {
        if (!begin("nop") || isClosed()) {
            return Result.CLOSED;
        }
        joinLanes();
        for (ConsumerLane lane : lanes) {
            if (lane.hasRoomForControl(1)) {
                lane.control(LaneLayout.OPCODE_NOP, userData);
                return Result.OK;
            }
        }
        return Result.FULL;
    }

    @Override
    public Result command(int cookie, int opcode, long userData, MemorySegment payload) {
        boolean here = begin("command");
        checkCommand(opcode, payload);
        if (!here || isClosed()) {
            return Result.CLOSED;
        }
        ConsumerLane lane = lane(cookie);
        return lane == null ? Result.STALE : lane.command(opcode, userData, payload);
    }

    static void checkCommand(int opcode, MemorySegment payload) {
        Arguments.notNull("payload", payload, "a MemorySegment");
        if (opcode < FIRST_COMMAND || opcode > LAST_COMMAND) {
            throw new IllegalArgumentException(
                    "opcode=" + opcode + ": allowed " + FIRST_COMMAND + " to " + LAST_COMMAND);
        }
        if (payload.byteSize() > MOST_PAYLOAD_BYTES || payload.byteSize() % Integer.BYTES != 0) {
            throw new IllegalArgumentException("payload of bytes=" + payload.byteSize() + ": allowed 0 to "
                    + MOST_PAYLOAD_BYTES + ", multiples of 4");
        }
    }

    @Override
    public int submit() {
        int n = 0;
        if (begin("submit")) {
            for (ConsumerLane lane : lanes) {
                n += lane.submit();
            }
        }
        return n;
    }

    // ---- completions ----

    @Override
    public int poll(CompletionHandler handler, int limit) {
        Arguments.notNull("handler", handler, "a CompletionHandler");
        Arguments.notBelow("limit", limit, 0);
        return begin("poll") ? poll(handler, view, limit) : 0;
    }

    private int poll(CompletionHandler handler, FaultGroup shown, int limit) {
        if (left) {
            return 0;
        }
        if (busy) {
            throw new IllegalStateException("poll inside a completion handler: allowed after it has returned");
        }
        busy = true;
        try {
            int n = 0;
            joinLanes();
            ConsumerLane[] all = lanes;
            for (int i = 0; i < all.length; i++) {
                all[i].submit();
            }
            for (int i = 0; i < all.length && n < limit; i++) {
                int t = turn >= all.length ? 0 : turn;
                turn = t + 1;
                ConsumerLane lane = all[t];
                int some = Math.min(TURN, limit - n);
                int taken = lane.drain(handler, shown, some);
                if (taken == 0 && lane.isEnded()) {
                    // In this order: what an ended lane has published is in its ring now.
                    taken = lane.drain(handler, shown, some);
                    if (taken == 0) {
                        leave(lane);
                        lane.endRest(handler);
                    }
                }
                if (taken > 0) {
                    n += taken;
                    lane.submit();
                }
            }
            return n;
        } finally {
            busy = false;
            if (leaving || (lanes.length == 0 && queue.isClosing())) {
                leave();
            }
        }
    }

    @Override
    public Result await(CompletionHandler handler, int atLeast, long limitNs) {
        Arguments.notNull("handler", handler, "a CompletionHandler");
        Arguments.notBelow("atLeast", atLeast, 0);
        return begin("await") ? await(handler, view, atLeast, Integer.MAX_VALUE, limitNs) : Result.CLOSED;
    }

    @Override
    public Result take(FaultGroup into, long limitNs) {
        Arguments.notNull("into", into, "a FaultGroup");
        if (!begin("take")) {
            return Result.CLOSED;
        }
        long start = System.nanoTime();
        long limit = Math.max(limitNs, 0);
        taken = 0;
        for (; ; ) {
            Result result = await(takeOne, into, 1, 1, limit - (System.nanoTime() - start));
            if (result != Result.OK || taken > 0) {
                return result;
            }
        }
    }

    private Result await(CompletionHandler handler, FaultGroup shown, int atLeast, int limit, long limitNs) {
        Waiting waiting = config.waiting();
        long start = System.nanoTime();
        int n = 0;
        int looks = 0;
        for (; ; ) {
            int now = poll(handler, shown, limit - n);
            n += now;
            if (n >= atLeast) {
                return Result.OK;
            }
            if (left) {
                return Result.CLOSED;
            }
            if (woken) {
                woken = false;
                return Result.WOKEN;
            }
            looks = now > 0 ? 0 : waiting.idle(looks);
            if (now == 0 && looks != Waiting.SLEEP && looks % LOOKS_PER_CLOCK != 0) {
                continue;
            }
            long leftNs = limitNs - (System.nanoTime() - start);
            if (leftNs <= 0) {
                return Result.TIMED_OUT;
            }
            if (looks == Waiting.SLEEP) {
                wakeup.announce();
                if (isReady()) {
                    wakeup.cancel();
                } else {
                    wakeup.sleep(leftNs);
                }
                looks = 0;
            }
        }
    }

    /** Whether a poll would find something, or a wait has to end. */
    boolean isReady() {
        if (woken || queue.lanes() != seen || (queue.isClosing() && lanes.length == 0)) {
            return true;
        }
        for (ConsumerLane lane : lanes) {
            if (lane.isReady()) {
                return true;
            }
        }
        return false;
    }

    WakeDescriptor wakeDescriptor(EventWakeup events) {
        WakeDescriptor made = new WakeDescriptor(this, events);
        WakeDescriptor before = wakeDescriptor.compareAndExchange(null, made);
        return before == null ? made : before;
    }

    /** Sends what is staged and says that the calling thread will sleep; false, and nothing is said, if it has to poll first. */
    boolean arm() {
        if (!begin("arm")) {
            return false;
        }
        submit();
        wakeup.announce();
        if (!isReady()) {
            return true;
        }
        wakeup.cancel();
        woken = false;
        return false;
    }

    /** Whether the calling thread may still use what it sleeps on. */
    boolean mayClear() {
        return begin("clear");
    }

    @Override
    public void wake() {
        woken = true;
        wakeup.signal();
    }

    // ---- lanes ----

    /** Starts on lanes that are new: each is given the reads of the latest post. */
    private void joinLanes() {
        @Nullable Lane[] now = queue.lanes();
        if (now == seen) {
            return;
        }
        seen = now;
        for (Lane lane : now) {
            if (lane == null || isJoined(lane) || !lane.hold()) {
                continue;
            }
            ConsumerLane joined = ConsumerLane.of(lane, confined);
            lanes = Arrays.copyOf(lanes, lanes.length + 1);
            lanes[lanes.length - 1] = joined;
            @Nullable ConsumerLane[] numbered = byNumber.clone();
            numbered[lane.index] = joined;
            byNumber = numbered;
            if (standingReads > 0) {
                joined.post(standingUserData, standingReads);
            }
        }
    }

    private boolean isJoined(Lane lane) {
        for (ConsumerLane joined : lanes) {
            if (joined.lane == lane) {
                return true;
            }
        }
        return false;
    }

    private void leave(ConsumerLane gone) {
        revocationsOfGoneLanes += gone.revocations();
        ConsumerLane[] rest = new ConsumerLane[lanes.length - 1];
        int n = 0;
        for (ConsumerLane lane : lanes) {
            if (lane != gone) {
                rest[n++] = lane;
            }
        }
        lanes = rest;
        @Nullable ConsumerLane[] numbered = byNumber.clone();
        if (numbered[gone.lane.index] == gone) {
            numbered[gone.lane.index] = null;
        }
        byNumber = numbered;
        gone.lane.letGo();
    }

    private void leave() {
        if (!left) {
            byNumber = new ConsumerLane[0];
            ConsumerLane[] all = lanes;
            lanes = new ConsumerLane[0];
            left = true;
            for (ConsumerLane lane : all) {
                lane.lane.letGo();
            }
        }
    }

    // ---- the rest ----

    @Override
    public FaultWorker run(FaultHandler handler) {
        Arguments.notNull("handler", handler, "a FaultHandler");
        checkUnused();
        worker = FaultWorker.start(this, handler, config.entries(), config.closeLimitNs());
        return worker;
    }

    @Override
    public FaultWorker run(BatchHandler handler, int most) {
        Arguments.notNull("handler", handler, "a BatchHandler");
        if (most < 1 || most > config.entries()) {
            throw new IllegalArgumentException("most=" + most + ": allowed 1 to " + config.entries());
        }
        checkUnused();
        FaultBatch batch = new FaultBatch(this, most, config.largestGroup());
        worker = FaultWorker.start(this, handler, batch, config.entries(), config.closeLimitNs());
        return worker;
    }

    private void checkUnused() {
        if (worker != null) {
            throw new IllegalStateException("run: this consumer has a worker, " + worker.thread() + ": allowed is one");
        }
        if (owner.get() != null) {
            throw new IllegalStateException(
                    "run: this consumer belongs to " + owner.get() + ", which has called it: allowed before any call");
        }
    }

    @Override
    public Accounting accounting() {
        return queue.accounting();
    }

    @Override
    public Set<Guarantee> guarantees() {
        Set<Guarantee> all = EnumSet.allOf(Guarantee.class);
        if (config.deadlineNs() == 0) {
            all.remove(Guarantee.DEADLINE);
        }
        return all;
    }

    @Override
    public void close() {
        FaultWorker running = worker;
        if (running != null && running.thread() != Thread.currentThread()) {
            running.close();
            return;
        }
        if (!begin("close")) {
            return;
        }
        submit();
        if (busy) {
            // Inside a handler: the lanes are in use until it has returned.
            leaving = true;
        } else {
            leave();
        }
    }

    // ---- what the queue needs to know when it closes ----

    /** Leaves for a consumer whose thread cannot be inside a call: the caller's own, a dead one, or none yet. */
    boolean leaveIfIdle() {
        Thread me = Thread.currentThread();
        Thread t = owner.compareAndExchange(null, me);
        if (!left && (t == null || !t.isAlive() || (t == me && !busy))) {
            leave();
        }
        return left;
    }

    @Nullable
    FaultWorker worker() {
        return worker;
    }

    /** Keeps the fields above off the lines of what comes after them. */
    @SuppressWarnings("unused")
    private static final class Alone extends RingConsumer {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(FaultQueue queue, boolean confined) {
            super(queue, confined);
        }
    }
}
