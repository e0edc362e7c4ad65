package dev.faultline.ring;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.faultline.ffm.Errno;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.PageResponseLayout;
import dev.faultline.ffm.Region;
import java.lang.foreign.MemorySegment;
import java.util.Set;
import org.jctools.queues.varhandle.MpscUnboundedVarHandleArrayQueue;
import org.jspecify.annotations.Nullable;

/**
 * The consumer of a fault queue that somebody else keeps and that is reached through a descriptor: a fault descriptor of
 * Linux' {@code iommufd}, or a socket whose other end speaks as one.
 *
 * <p>{@code read} on the descriptor gives whole groups of page-fault records ({@link PageFaultLayout}), {@code write} takes
 * answers ({@link PageResponseLayout}) and applies them one by one. A socket has to keep the bounds of its messages ({@link
 * LinuxCalls#SOCK_SEQPACKET}), and a message of the other end has to fit in {@link #largestMessage}; a message of answers has
 * 512 at most.
 *
 * <p>Threads: as {@link FaultConsumer}. A thread that waits is in {@code poll(2)}, and a virtual thread in there keeps its
 * carrier: as many of them as there are carriers keep all other virtual threads from running until their waits end.
 * Ownership: the descriptor stays the caller's, who closes it after the consumer, reads and writes nothing on it meanwhile, and
 * may leave it blocking or not. The memory, and two descriptors for {@link #wake}, are the consumer's own until {@link #close}.
 * Progress: a call is one or two system calls for a message of groups and one for its answers; nothing is allocated for a
 * fault, but when more groups are open than ever before. Units: bytes, nanoseconds; a wait ends with the millisecond.
 *
 * <p>What is different from a {@link FaultQueue}'s consumer:
 *
 * <ul>
 *   <li>Reads are this side's credit. Groups of one message are handed over as there are reads, and the next message is read
 *       when all are; so up to a message's worth of groups has left the other end and waits here.
 *   <li>There are no more reads than {@code entries}: posting one again beyond that changes nothing.
 *   <li>{@link FaultGroup#raisedAtNs} is when the group was read.
 *   <li>{@link Result#OK} of an answer says that it is staged. The other end may have answered the group by itself; it then
 *       refuses the answer, which is counted as stale, and the group as auto-answered ({@link AutoAnswer#DETACH}). The same
 *       becomes of a group whose cookie the other end gives to a new one.
 *   <li>A cookie this side has not been given, or has answered, is {@link Result#STALE}. Whether it names the same group as
 *       before is not known here: the kernel gives a cookie again as soon as it is free.
 *   <li>When the other end goes, what it had sent is handed over, then the reads end with {@link Result#CLOSED}. Answers can no
 *       longer arrive; what is open is counted under {@link AutoAnswer#CLOSE}.
 *   <li>A message that breaks the rules of the protocol throws {@link IllegalStateException}, which says what was found and
 *       what is allowed. Nothing of it is handed over, counted or answered; the next call reads the next one.
 * </ul>
 */
public final class DescriptorConsumer implements FaultConsumer {
    private static final int RECORD = PageFaultLayout.SIZE;
    private static final int ANSWER = PageResponseLayout.SIZE;
    private static final int GROUPS_IN_MESSAGE = 64;
    private static final int RECORDS_IN_MESSAGE = 2048;
    private static final int ANSWERS_IN_WRITE = 512;
    private static final int CONTROLS = 16;

    // Each look is a system call: together some 20 to 50 us, as Waiting.SPIN_THEN_PARK.
    private static final int LOOKS_BEFORE_SLEEP = 50;

    private static final int GONE = LinuxCalls.POLLHUP | LinuxCalls.POLLRDHUP | LinuxCalls.POLLERR;
    private static final int READABLE = LinuxCalls.POLLIN | LinuxCalls.POLLRDNORM | GONE;

    private final int fd;
    private final int entries;
    private final int largestGroup;
    private final DescriptorCalls calls;
    private final LinuxCalls linux;
    private final WakePair wakePair;
    private final Region region;
    private final MemorySegment in;
    private final MemorySegment out;
    private final long readBytes;

    private volatile @Nullable Thread owner;
    private volatile @Nullable FaultWorker worker;
    private volatile boolean woken;
    /** For other threads: answers can no longer arrive. */
    private volatile boolean gone;

    private boolean busy;
    private boolean closeAsked;
    private boolean closed;
    /** The other end will send no more; what it has sent may still lie in the descriptor. */
    private boolean hungUp;
    /** The other end takes no answers. */
    private boolean deaf;
    /** Reading has failed for want of the other end. */
    private boolean reset;
    /** All that the other end sent has been read. */
    private boolean ended;
    /** The end has been handed over too. */
    private boolean left;

    private final PostedReads reads;
    private final OpenGroups groups = new OpenGroups();
    private final DescriptorCounts counts = new DescriptorCounts(groups);

    /** What was read last. Its groups are entered, and handed over as there are reads. */
    private final FaultMessage message;

    private int groupsRead;
    private int groupsHanded;
    private int messageNumber;
    private long readAtNs;

    private final StagedAnswers staged = new StagedAnswers(ANSWERS_IN_WRITE);

    private boolean readable;
    private boolean writable;

    /** Cancels and nops that are done and whose end has not been handed over: a circle. */
    private final long[] doneUserData = new long[CONTROLS];

    private final Result[] doneAs = new Result[CONTROLS];
    private final int[] doneReads = new int[CONTROLS];
    private int doneHead;
    private int done;

    /** Message, code and cookie of claimed groups. */
    private final MpscUnboundedVarHandleArrayQueue<Long> later = new MpscUnboundedVarHandleArrayQueue<>(64);

    private final int[] polled = new int[2];
    private final int[] events = new int[2];
    private final int[] revents = new int[2];

    private final FaultGroup view = new FaultGroup();
    private int taken;
    private final CompletionHandler takeOne = (userData, group) -> taken++;

    private DescriptorConsumer(
            int fd, QueueConfig config, boolean keepsBounds, LinuxCalls linux, DescriptorCalls calls) {
        this.fd = fd;
        this.entries = config.entries();
        this.largestGroup = config.largestGroup();
        this.linux = linux;
        this.calls = calls;
        this.reads = PostedReads.none(entries);
        int records = largestMessage(largestGroup);
        long inBytes = (long) records * RECORD;
        // Of a message that is too long a socket drops what does not fit: one record more shows that.
        this.readBytes = keepsBounds ? inBytes + RECORD : inBytes;
        this.region = Region.allocate(inBytes + RECORD + ANSWERS_IN_WRITE * ANSWER);
        this.in = region.segment().asSlice(0, inBytes + RECORD);
        this.out = region.segment().asSlice(inBytes + RECORD);
        this.message = new FaultMessage(fd, in, records, largestGroup);
        try {
            this.wakePair = WakePair.open();
        } catch (RuntimeException | Error e) {
            region.close();
            throw e;
        }
    }

    /**
     * Opens a consumer over a descriptor.
     *
     * @param fd the descriptor, which stays the caller's
     * @param entries reads that can be posted at once, 1 to 2^20
     * @param largestGroup page requests a group may have, 1 to 2048: what the other end was set up for
     * @return the consumer
     * @throws IllegalArgumentException if a number is out of its range, or {@code fd} is closed or a socket that does not keep
     *     the bounds of messages
     * @throws UnsupportedOperationException if this machine lacks the calls, see {@link LinuxCalls#missing}
     */
    public static DescriptorConsumer open(int fd, int entries, int largestGroup) {
        QueueConfig config = QueueConfig.of(entries).withLargestGroup(largestGroup);
        LinuxCalls linux = LinuxCalls.open();
        try {
            int type = linux.socketType(fd);
            if (type < 0 && type != -Errno.ENOTSOCK) {
                throw new IllegalArgumentException(
                        "fd=" + fd + ": " + Errno.name(-type) + ", allowed an open descriptor");
            }
            if (type >= 0 && type != LinuxCalls.SOCK_SEQPACKET) {
                throw new IllegalArgumentException("fd=" + fd + " is a socket of type " + type + ": allowed "
                        + LinuxCalls.SOCK_SEQPACKET + ", which keeps the bounds of messages");
            }
            return new DescriptorConsumer(fd, config, type >= 0, linux, new DescriptorCalls.Linux(linux));
        } catch (RuntimeException | Error e) {
            linux.close();
            throw e;
        }
    }

    /** With the calls on the descriptor made by somebody else than Linux. */
    static DescriptorConsumer open(int fd, int entries, int largestGroup, DescriptorCalls calls) {
        LinuxCalls linux = LinuxCalls.open();
        return new DescriptorConsumer(fd, QueueConfig.of(entries).withLargestGroup(largestGroup), false, linux, calls);
    }

    /**
     * How long a message of the other end may be.
     *
     * @param largestGroup page requests a group may have
     * @return records: 64 of the largest groups, but not more than 2048
     */
    public static int largestMessage(int largestGroup) {
        return Math.min(largestGroup * GROUPS_IN_MESSAGE, RECORDS_IN_MESSAGE);
    }

    private void begin(String call) {
        Thread me = Thread.currentThread();
        if (owner != me) {
            if (owner != null) {
                throw new IllegalStateException(call + " by " + me + ": allowed is " + owner
                        + ", which called first; other threads use answerLater and wake");
            }
            owner = me;
        }
    }

    private boolean isClosed() {
        return closed || closeAsked || ended;
    }

    // ---- submissions ----

    @Override
    @CheckReturnValue
    public Result post(long userData, int count) {
        begin("post");
        if (count < 1 || count > entries) {
            throw new IllegalArgumentException("reads=" + count + ": allowed 1 to " + entries);
        }
        if (isClosed()) {
            return Result.CLOSED;
        }
        return reads.add(userData, count) ? Result.OK : Result.FULL;
    }

    @Override
    @CheckReturnValue
    public Result answer(int cookie, Answer code) {
        return answer(cookie, code, false);
    }

    @Override
    @CheckReturnValue
    public Result answerAndRepost(int cookie, Answer code) {
        return answer(cookie, code, true);
    }

    private Result answer(int cookie, Answer code, boolean reposts) {
        Arguments.notNull("code", code, "SUCCESS, INVALID, LATER");
        begin("answer");
        if (isClosed()) {
            return Result.CLOSED;
        }
        int slot = groups.find(cookie);
        int state = slot < 0 ? OpenGroups.HELD : groups.state(slot);
        if (state != OpenGroups.GIVEN && state != OpenGroups.CLAIMED) {
            return Result.STALE;
        }
        // Also of a group that another thread has answered while the handler was about to say LATER.
        if (reposts && groups.takeRead(slot)) {
            boolean _ = reads.add(groups.userData(slot), 1);
        }
        if (deaf) {
            return Result.CLOSED;
        }
        if (code == Answer.LATER) {
            return state == OpenGroups.GIVEN ? Result.OK : Result.STALE;
        }
        if (!groups.stage(slot)) {
            return Result.STALE;
        }
        staged.add(StagedAnswers.answer(cookie, wire(code)));
        return Result.OK;
    }

    @Override
    @CheckReturnValue
    public Result answerLater(int cookie, Answer code) {
        Arguments.notNull("code", code, "SUCCESS, INVALID");
        if (code == Answer.LATER) {
            throw new IllegalArgumentException("code=LATER: allowed SUCCESS, INVALID");
        }
        if (gone) {
            return Result.CLOSED;
        }
        long claimed = groups.claim(cookie);
        if (claimed == 0) {
            return Result.STALE;
        }
        boolean _ = later.offer((long) OpenGroups.messageOf(claimed) << 40 | StagedAnswers.answer(cookie, wire(code)));
        wakePair.signal();
        return Result.OK;
    }

    private static int wire(Answer code) {
        return code == Answer.SUCCESS ? PageResponseLayout.CODE_SUCCESS : PageResponseLayout.CODE_INVALID;
    }

    /** Stages what other threads have answered. */
    private void takeLater() {
        if (later.isEmpty()) {
            return;
        }
        for (Long item; (item = later.poll()) != null; ) {
            long claimed = item;
            int slot = groups.find((int) claimed);
            if (slot >= 0 && groups.stageClaim(slot, (int) (claimed >>> 40))) {
                staged.add(claimed & 0x1_ffff_ffffL);
            }
        }
    }

    @Override
    @CheckReturnValue
    public Result cancel(long userData) {
        return cancel(false, userData);
    }

    @Override
    @CheckReturnValue
    public Result cancelAll() {
        return cancel(true, 0);
    }

    private Result cancel(boolean all, long userData) {
        begin("cancel");
        if (isClosed()) {
            return Result.CLOSED;
        }
        if (done == CONTROLS) {
            return Result.FULL;
        }
        addDone(userData, Result.CANCELLED, reads.cancel(all, userData));
        return Result.OK;
    }

    private void addDone(long userData, Result as, int count) {
        int place = (doneHead + done++) % CONTROLS;
        doneUserData[place] = userData;
        doneAs[place] = as;
        doneReads[place] = count;
    }

    @Override
    @CheckReturnValue
    public Result nop(long userData) {
        begin("nop");
        if (isClosed()) {
            return Result.CLOSED;
        }
        if (done == CONTROLS) {
            return Result.FULL;
        }
        addDone(userData, Result.OK, 0);
        return Result.OK;
    }

    @Override
    @CheckReturnValue
    public Result command(int cookie, int opcode, long userData, MemorySegment payload) {
        begin("command");
        RingConsumer.checkCommand(opcode, payload);
        return isClosed() ? Result.CLOSED : Result.STALE;
    }

    @Override
    public int submit() {
        begin("submit");
        if (isClosed()) {
            return 0;
        }
        if (!busy) {
            takeLater();
        }
        return write();
    }

    // ---- the descriptor ----

    /** Asks what can be done now, if that is not known and something is wanted. */
    private void look() {
        boolean wantsGroups = groupsHanded == groupsRead && !reads.isEmpty() && !ended;
        if ((wantsGroups && !readable) || (!staged.isEmpty() && !writable && !deaf)) {
            int now = calls.poll(fd, LinuxCalls.POLLIN | LinuxCalls.POLLOUT | LinuxCalls.POLLRDHUP, 0);
            if (now < 0) {
                refused("poll", -now);
            } else {
                seen(now);
            }
        }
    }

    private void seen(int now) {
        if ((now & LinuxCalls.POLLNVAL) != 0) {
            throw new IllegalStateException("fd=" + fd + " is closed: allowed after the consumer's close");
        }
        readable |= (now & READABLE) != 0;
        writable |= (now & LinuxCalls.POLLOUT) != 0;
        hungUp |= (now & GONE) != 0;
    }

    private void refused(String call, int error) {
        if (error != Errno.EINTR && error != Errno.EAGAIN) {
            throw new IllegalStateException(call + " on fd=" + fd + ": " + Errno.name(error));
        }
    }

    /** Writes what is staged, as much as is taken without waiting; says how many answers. */
    private int write() {
        int sent = 0;
        while (!staged.isEmpty() && !deaf) {
            if (!writable) {
                look();
            }
            if (!writable) {
                break;
            }
            // What was said to be writable is for one write: more might have to wait, on a descriptor that blocks.
            writable = false;
            int n = Math.min(staged.count(), ANSWERS_IN_WRITE);
            staged.copyTo(out, n);
            long written = calls.write(fd, out, (long) n * ANSWER);
            if (written >= 0) {
                if (written % ANSWER != 0 || written > (long) n * ANSWER) {
                    throw new IllegalStateException("write on fd=" + fd + " took bytes=" + written + " of " + n * ANSWER
                            + ": allowed a multiple of " + ANSWER);
                }
                int took = (int) (written / ANSWER);
                answered(took, DescriptorCounts.ANSWERED);
                sent += took;
                if (took == 0) {
                    break;
                }
                continue;
            }
            switch ((int) -written) {
                case Errno.EINTR -> {}
                case Errno.EAGAIN -> {
                    return sent;
                }
                case Errno.EINVAL -> answered(1, DescriptorCounts.DETACHED);
                case Errno.EPIPE, Errno.ECONNRESET -> {
                    hungUp = true;
                    deaf = true;
                    gone = true;
                }
                default -> throw new IllegalStateException("write on fd=" + fd + ": " + Errno.name((int) -written));
            }
        }
        return sent;
    }

    /** The oldest answers have been taken, or the oldest one refused. */
    private void answered(int n, int as) {
        if (n == 0) {
            return;
        }
        counts.change();
        for (int i = 0; i < n; i++) {
            groups.remove(groups.find(staged.cookie(i)));
        }
        counts.add(as, n);
        counts.add(DescriptorCounts.ANSWERS, n);
        if (as == DescriptorCounts.DETACHED) {
            counts.add(DescriptorCounts.STALE, n);
        }
        counts.changed();
        staged.drop(n);
    }

    /** Reads a message, if there is one. */
    private void read() {
        readable = false;
        long n = calls.read(fd, in, readBytes);
        if (n > 0) {
            readAtNs = System.nanoTime();
            message.check((int) n);
            enter();
        } else if (n == 0) {
            // The kernel's fault descriptor says 0 when it is empty, a socket when its other end has gone.
            if (hungUp) {
                end();
            }
        } else if (n == -Errno.EINVAL) {
            throw new IllegalStateException(
                    "read on fd=" + fd + ": EINVAL, the next group has more requests than largestGroup=" + largestGroup
                            + " allows; it stays where it is, for a consumer that allows more");
        } else if (n == -Errno.ECONNRESET || n == -Errno.EPIPE) {
            // A socket says it once, before what is left.
            if (reset) {
                end();
            }
            reset = true;
            hungUp = true;
            deaf = true;
            gone = true;
        } else {
            refused("read", (int) -n);
        }
    }

    /** Enters the groups of a message that was read. */
    private void enter() {
        // Never 0, which a new entry has.
        messageNumber = messageNumber == Integer.MAX_VALUE ? 1 : messageNumber + 1;
        int found = message.groups();
        counts.change();
        if (!groups.hasRoom(found)) {
            groups.makeRoom(found);
        }
        boolean anyKnown = false;
        for (int g = 0; g < found; g++) {
            int cookie = message.cookie(g);
            int slot = groups.find(cookie);
            if (slot < 0) {
                slot = groups.add(cookie, messageNumber);
            } else {
                anyKnown = true;
            }
            if (groups.isRepeated(slot, messageNumber)) {
                withdraw(g);
                counts.changed();
                throw message.broken(
                        "cookie=0x" + Integer.toHexString(cookie) + " of two groups", "one group for a cookie");
            }
        }
        if (anyKnown) {
            forgetFormer(found);
        }
        counts.add(DescriptorCounts.REQUESTS, message.requests());
        counts.add(DescriptorCounts.RAISED, found);
        counts.changed();
        groupsRead = found;
        groupsHanded = 0;
    }

    /** Takes back what was entered for the first groups of a broken message. */
    private void withdraw(int entered) {
        for (int g = 0; g < entered; g++) {
            int slot = groups.find(message.cookie(g));
            if (slot >= 0 && groups.state(slot) == OpenGroups.HELD) {
                groups.remove(slot);
            }
        }
    }

    /** The other end gives cookies again that are open here, so it has answered those groups by itself. */
    private void forgetFormer(int found) {
        for (int g = 0; g < found; g++) {
            int cookie = message.cookie(g);
            int slot = groups.find(cookie);
            int state = groups.state(slot);
            if (state != OpenGroups.HELD) {
                if (state == OpenGroups.STAGED) {
                    staged.remove(cookie);
                }
                groups.reset(slot, cookie, messageNumber);
                counts.add(DescriptorCounts.DETACHED, 1);
            }
        }
    }

    /** Nothing more comes and nothing more can be answered. */
    private void end() {
        ended = true;
        gone = true;
        long open = groups.outstanding();
        counts.change();
        groups.clear();
        counts.add(DescriptorCounts.CLOSED, open);
        counts.changed();
        staged.clear();
        later.clear();
    }

    // ---- completions ----

    @Override
    public int poll(CompletionHandler handler, int limit) {
        Arguments.notNull("handler", handler, "a CompletionHandler");
        Arguments.notBelow("limit", limit, 0);
        begin("poll");
        return poll(handler, view, limit);
    }

    private int poll(CompletionHandler handler, FaultGroup shown, int limit) {
        if (closed || left) {
            return 0;
        }
        if (busy) {
            throw new IllegalStateException("poll inside a completion handler: allowed after it has returned");
        }
        busy = true;
        try {
            if (!ended) {
                takeLater();
                look();
                write();
                if (limit > 0 && groupsHanded == groupsRead) {
                    if (readable && !reads.isEmpty()) {
                        read();
                    } else if (hungUp && reads.isEmpty()) {
                        end();
                    }
                }
            }
            int n = handDone(handler, limit);
            n += handGroups(handler, shown, limit - n);
            n += handEnd(handler, limit - n);
            if (n > 0 && !isClosed()) {
                write();
            }
            return n;
        } finally {
            busy = false;
            if (closeAsked) {
                free();
            }
        }
    }

    private int handDone(CompletionHandler handler, int limit) {
        int n = 0;
        while (n < limit && done > 0 && !closeAsked) {
            int place = doneHead;
            doneHead = (doneHead + 1) % CONTROLS;
            done--;
            n++;
            handler.ended(doneUserData[place], doneAs[place], doneReads[place]);
        }
        return n;
    }

    private int handGroups(CompletionHandler handler, FaultGroup shown, int limit) {
        int n = 0;
        while (n < limit && groupsHanded < groupsRead && !reads.isEmpty() && !closeAsked) {
            int group = groupsHanded++;
            long userData = reads.take();
            message.show(group, shown, readAtNs);
            groups.give(groups.find(message.cookie(group)), userData);
            n++;
            handler.group(userData, shown);
        }
        return n;
    }

    private int handEnd(CompletionHandler handler, int limit) {
        if (!ended) {
            return 0;
        }
        int n = 0;
        while (n < limit && !reads.isEmpty() && !closeAsked) {
            long userData = reads.oldestUserData();
            int count = reads.takeRun();
            n++;
            handler.ended(userData, Result.CLOSED, count);
        }
        left = reads.isEmpty() && done == 0;
        return n;
    }

    @Override
    @CheckReturnValue
    public Result await(CompletionHandler handler, int atLeast, long limitNs) {
        Arguments.notNull("handler", handler, "a CompletionHandler");
        Arguments.notBelow("atLeast", atLeast, 0);
        begin("await");
        return await(handler, view, atLeast, Integer.MAX_VALUE, limitNs);
    }

    @Override
    @CheckReturnValue
    public Result take(FaultGroup into, long limitNs) {
        Arguments.notNull("into", into, "a FaultGroup");
        begin("take");
        long start = System.nanoTime();
        taken = 0;
        for (; ; ) {
            Result result = await(takeOne, into, 1, 1, limitNs - (System.nanoTime() - start));
            if (result != Result.OK || taken > 0) {
                return result;
            }
        }
    }

    private Result await(CompletionHandler handler, FaultGroup shown, int atLeast, int limit, long limitNs) {
        long start = System.nanoTime();
        int n = 0;
        for (int looks = 0; ; ) {
            int now = poll(handler, shown, limit - n);
            n += now;
            if (n >= atLeast) {
                return Result.OK;
            }
            if (left || closed) {
                return Result.CLOSED;
            }
            if (woken) {
                woken = false;
                return Result.WOKEN;
            }
            if (now > 0) {
                looks = 0;
                continue;
            }
            long leftNs = limitNs - (System.nanoTime() - start);
            if (leftNs <= 0) {
                return Result.TIMED_OUT;
            }
            if (++looks < LOOKS_BEFORE_SLEEP) {
                Thread.onSpinWait();
            } else {
                sleep(leftNs);
                looks = 0;
            }
        }
    }

    private void sleep(long limitNs) {
        boolean wantsGroups = groupsHanded == groupsRead && !reads.isEmpty();
        int wanted = LinuxCalls.POLLRDHUP
                | (wantsGroups ? LinuxCalls.POLLIN : 0)
                | (!staged.isEmpty() && !deaf ? LinuxCalls.POLLOUT : 0);
        // An end that is known is told for ever, and must not keep this thread awake while it waits for something else.
        polled[0] = hungUp && !wantsGroups ? -1 : fd;
        polled[1] = wakePair.descriptor();
        events[0] = wanted;
        events[1] = LinuxCalls.POLLIN;
        revents[0] = 0;
        revents[1] = 0;
        long ms = Math.min((limitNs - 1) / 1_000_000 + 1, Integer.MAX_VALUE);
        wakePair.announce();
        if (!woken && later.isEmpty()) {
            int n = calls.poll(polled, events, revents, (int) ms);
            wakePair.awake(revents[1] != 0);
            if (n < 0) {
                refused("poll", -n);
            } else {
                seen(revents[0]);
            }
        } else {
            wakePair.awake(false);
        }
    }

    @Override
    public void wake() {
        woken = true;
        wakePair.signal();
    }

    // ---- the rest ----

    @Override
    public FaultWorker run(FaultHandler handler) {
        Arguments.notNull("handler", handler, "a FaultHandler");
        checkUnused();
        worker = FaultWorker.start(this, handler, entries, QueueConfig.DEFAULT_CLOSE_LIMIT_NS);
        return worker;
    }

    @Override
    public FaultWorker run(BatchHandler handler, int most) {
        Arguments.notNull("handler", handler, "a BatchHandler");
        if (most < 1 || most > entries) {
            throw new IllegalArgumentException("most=" + most + ": allowed 1 to " + entries);
        }
        checkUnused();
        FaultBatch batch = new FaultBatch(this, most, largestGroup);
        worker = FaultWorker.start(this, handler, batch, entries, QueueConfig.DEFAULT_CLOSE_LIMIT_NS);
        return worker;
    }

    private void checkUnused() {
        if (worker != null) {
            throw new IllegalStateException("run: this consumer has a worker, " + worker.thread() + ": allowed is one");
        }
        if (owner != null) {
            throw new IllegalStateException(
                    "run: this consumer belongs to " + owner + ", which has called it: allowed before any call");
        }
    }

    /**
     * What became of every group this side has read.
     *
     * @return the counts of this moment: raised is what was read, outstanding what was read and not seen answered. Groups that
     *     wait at the other end are not known here. Any thread
     */
    @Override
    public Accounting accounting() {
        return counts.accounting();
    }

    /**
     * What this source promises beyond the contract.
     *
     * @return nothing: whether the other end keeps a deadline, or answers what is open when a device goes or it is closed, is
     *     not known here; nor are the groups it has not sent; and it may give a cookie again at once
     */
    @Override
    public Set<Guarantee> guarantees() {
        return Set.of();
    }

    /**
     * Sends what is staged, as far as that is possible without waiting, and frees the consumer's memory and its own descriptors.
     * What is open stays open at the other end. Inside a handler, it happens when the handler has returned; a thread that is no
     * more may be followed by any other. Calling it again does nothing.
     */
    @Override
    public void close() {
        FaultWorker running = worker;
        Thread me = Thread.currentThread();
        if (running != null && running.thread() != me) {
            running.close();
            return;
        }
        Thread before = owner;
        if (before != null && before != me && !before.isAlive()) {
            owner = me;
            busy = false;
        }
        begin("close");
        if (closed) {
            return;
        }
        if (busy) {
            closeAsked = true;
            return;
        }
        try {
            submit();
        } finally {
            free();
        }
    }

    private void free() {
        if (!closed) {
            closed = true;
            gone = true;
            wakePair.close();
            region.close();
            linux.close();
        }
    }
}
