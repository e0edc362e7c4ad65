package dev.faultline.ring;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.faultline.ffm.Errno;
import dev.faultline.ffm.IoUring;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.PageResponseLayout;
import dev.faultline.ring.internal.EventWakeup;
import java.lang.foreign.MemorySegment;
import java.util.Optional;
import java.util.Set;
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
 * <p>Threads: as {@link FaultConsumer}. A thread that waits is in a system call, and a virtual thread in there keeps its
 * carrier: as many of them as there are carriers keep all other virtual threads from running until their waits end.
 * Ownership: the descriptor stays the caller's, who closes it after the consumer, reads and writes nothing on it meanwhile, and
 * may leave it blocking or not. The memory, and a descriptor for {@link #wake}, are the consumer's own until {@link #close}.
 * Progress: a call is one or two system calls for a message of groups and one for its answers, on io_uring one for both; nothing is allocated for a
 * fault, but when more groups are open than ever before. Units: bytes, nanoseconds; a wait ends with the millisecond.
 *
 * <p>What is different from a {@link FaultQueue}'s consumer:
 *
 * <ul>
 *   <li>Reads are this side's credit. Groups of one message are handed over as there are reads, and the next message is read
 *       when all are; so up to a message's worth of groups has left the other end and waits here; on io_uring up to
 *       8 messages', where they came that fast.
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
    private static final int CONTROLS = 16;

    private final int entries;
    private final int largestGroup;
    private final DescriptorProtocol protocol;
    private final DescriptorDrive drive;
    private final EventWakeup wakeup;

    private volatile @Nullable Thread owner;
    private volatile @Nullable FaultWorker worker;
    private volatile boolean woken;

    private boolean busy;
    private boolean closeAsked;
    private boolean closed;
    /** The end has been handed over too. */
    private boolean left;

    /** Cancels and nops that are done and whose end has not been handed over: a circle. */
    private final long[] doneUserData = new long[CONTROLS];

    private final Result[] doneAs = new Result[CONTROLS];
    private final int[] doneReads = new int[CONTROLS];
    private int doneHead;
    private int done;

    private final FaultGroup view = new FaultGroup();
    private int taken;
    private final CompletionHandler takeOne = (userData, group) -> taken++;

    private DescriptorConsumer(
            QueueConfig config, DescriptorProtocol protocol, DescriptorDrive drive, EventWakeup wakeup) {
        this.entries = config.entries();
        this.largestGroup = config.largestGroup();
        this.protocol = protocol;
        this.drive = drive;
        this.wakeup = wakeup;
    }

    /** Makes a drive, which is not to be closed if that fails. */
    private interface Drives {
        DescriptorDrive make(DescriptorProtocol protocol, int wakeDescriptor);
    }

    private static DescriptorConsumer open(int fd, QueueConfig config, int places, Drives drives) {
        EventWakeup wakeup = EventWakeup.open();
        DescriptorProtocol protocol = new DescriptorProtocol(fd, config.entries(), config.largestGroup(), places);
        try {
            DescriptorDrive drive = drives.make(protocol, wakeup.descriptor());
            return new DescriptorConsumer(config, protocol, drive, wakeup);
        } catch (RuntimeException | Error e) {
            protocol.free();
            wakeup.close();
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
            boolean keepsBounds = DescriptorProtocol.keepsBounds(fd, linux);
            return open(fd, config, linux, new DescriptorCalls.Linux(linux), keepsBounds);
        } catch (RuntimeException | Error e) {
            linux.close();
            throw e;
        }
    }

    /**
     * Opens a consumer that drives its descriptor by io_uring: reads are posted ahead, and one call sends answers, posts the next
     * read and waits.
     *
     * @param fd the descriptor, which stays the caller's; closing it before the consumer ends nothing until that is closed
     * @param entries reads that can be posted at once, 1 to 2^20
     * @param largestGroup page requests a group may have, 1 to 2048: what the other end was set up for
     * @return the consumer
     * @throws IllegalArgumentException as {@link #open}
     * @throws UnsupportedOperationException if this machine gives no io_uring; the message is that of {@link IoUring#missing}, and
     *     {@link #open} works all the same
     */
    public static DescriptorConsumer openUring(int fd, int entries, int largestGroup) {
        QueueConfig config = QueueConfig.of(entries).withLargestGroup(largestGroup);
        boolean isSocket;
        try (LinuxCalls linux = LinuxCalls.open()) {
            isSocket = DescriptorProtocol.keepsBounds(fd, linux);
        }
        Optional<String> missing = IoUring.missing();
        if (missing.isPresent()) {
            throw new UnsupportedOperationException(missing.get());
        }
        return open(fd, config, isSocket, user -> ring(fd, isSocket, user));
    }

    /** A ring for the thread that is going to use it. */
    private static UringCalls ring(int fd, boolean isSocket, Thread user) {
        IoUring ring = user.isVirtual()
                ? IoUring.openForAnyThread(UringDrive.ENTRIES, UringDrive.COMPLETIONS)
                : IoUring.open(UringDrive.ENTRIES, UringDrive.COMPLETIONS);
        int error = ring.registerFiles(fd);
        if (error < 0) {
            ring.close();
            throw new IllegalStateException("fd=" + fd + ": " + Errno.name(-error)
                    + ", allowed an open descriptor until the consumer is closed");
        }
        return new UringCalls.Linux(ring, isSocket);
    }

    /** With the requests on the descriptor carried out by somebody else than Linux. */
    static DescriptorConsumer openUring(int fd, int entries, int largestGroup, UringDrive.Rings rings) {
        return open(fd, QueueConfig.of(entries).withLargestGroup(largestGroup), false, rings);
    }

    private static DescriptorConsumer open(int fd, QueueConfig config, boolean keepsBounds, UringDrive.Rings rings) {
        long readBytes = DescriptorProtocol.readBytes(config.largestGroup(), keepsBounds);
        return open(
                fd,
                config,
                UringDrive.MOST_READS,
                (protocol, wakeDescriptor) -> new UringDrive(protocol, rings, readBytes, wakeDescriptor));
    }

    /** With the calls on the descriptor made by somebody else than Linux. */
    static DescriptorConsumer open(int fd, int entries, int largestGroup, DescriptorCalls calls) {
        return open(fd, QueueConfig.of(entries).withLargestGroup(largestGroup), LinuxCalls.open(), calls, false);
    }

    private static DescriptorConsumer open(
            int fd, QueueConfig config, LinuxCalls linux, DescriptorCalls calls, boolean keepsBounds) {
        long readBytes = DescriptorProtocol.readBytes(config.largestGroup(), keepsBounds);
        return open(
                fd,
                config,
                1,
                (protocol, wakeDescriptor) ->
                        new SystemCallDrive(fd, protocol, linux, calls, readBytes, wakeDescriptor));
    }

    /**
     * How long a message of the other end may be.
     *
     * @param largestGroup page requests a group may have
     * @return records: 64 of the largest groups, but not more than 2048
     */
    public static int largestMessage(int largestGroup) {
        return DescriptorProtocol.largestMessage(largestGroup);
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
        return closed || closeAsked || protocol.isEnded();
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
        return protocol.reads.add(userData, count) ? Result.OK : Result.FULL;
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
        return protocol.answer(cookie, code, reposts);
    }

    @Override
    @CheckReturnValue
    public Result answerLater(int cookie, Answer code) {
        Arguments.notNull("code", code, "SUCCESS, INVALID");
        if (code == Answer.LATER) {
            throw new IllegalArgumentException("code=LATER: allowed SUCCESS, INVALID");
        }
        Result result = protocol.answerLater(cookie, code);
        if (result == Result.OK) {
            wakeup.signal();
        }
        return result;
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
        addDone(userData, Result.CANCELLED, protocol.reads.cancel(all, userData));
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
            protocol.takeLater();
        }
        return drive.send();
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
            if (!protocol.isEnded()) {
                protocol.takeLater();
                drive.exchange(limit > 0 && protocol.wantsMessage());
                if (limit > 0) {
                    protocol.endIfOver();
                }
            }
            int n = handDone(handler, limit);
            n += handGroups(handler, shown, limit - n);
            n += handEnd(handler, limit - n);
            if (n > 0 && !isClosed()) {
                drive.flush(shown == view && protocol.wantsMessage());
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
        while (n < limit && protocol.hasGroup() && !closeAsked) {
            n++;
            handler.group(protocol.giveGroup(shown), shown);
        }
        return n;
    }

    private int handEnd(CompletionHandler handler, int limit) {
        if (!protocol.isEnded()) {
            return 0;
        }
        PostedReads reads = protocol.reads;
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
            if (++looks < drive.looksBeforeSleep()) {
                Thread.onSpinWait();
            } else {
                sleep(leftNs);
                looks = 0;
            }
        }
    }

    private void sleep(long limitNs) {
        boolean rung = false;
        wakeup.announce();
        try {
            if (!woken && !protocol.hasLater()) {
                rung = drive.sleep(protocol.wantsMessage(), limitNs);
            }
        } finally {
            if (rung) {
                wakeup.clear();
            } else {
                wakeup.cancel();
            }
        }
    }

    @Override
    public void wake() {
        woken = true;
        wakeup.signal();
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
        return protocol.accounting();
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
            if (drive.close()) {
                protocol.free();
            } else {
                protocol.leave();
            }
            wakeup.close();
        }
    }
}
