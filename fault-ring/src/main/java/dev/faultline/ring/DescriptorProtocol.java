package dev.faultline.ring;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.faultline.ffm.Errno;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.PageResponseLayout;
import dev.faultline.ffm.Region;
import java.lang.foreign.MemorySegment;
import org.jctools.queues.varhandle.MpscUnboundedVarHandleArrayQueue;

/**
 * What goes over a {@link DescriptorConsumer}'s descriptor and what it means: groups that were read, answers to be written, how
 * it ends. Whoever makes the calls, a {@link DescriptorDrive}, tells their results here.
 *
 * <p>Threads: the consumer's, but for {@link #answerLater}, {@link #hasLater} and {@link #accounting}, which are any's.
 * Ownership: the memory that is read into and written from is its own until {@link #free}. Progress: wait-free; allocates only
 * when more groups are open than ever before.
 */
final class DescriptorProtocol {
    private static final int RECORD = PageFaultLayout.SIZE;
    private static final int ANSWER = PageResponseLayout.SIZE;
    static final int GROUPS_IN_MESSAGE = 64;
    private static final int RECORDS_IN_MESSAGE = 2048;
    static final int ANSWERS_IN_WRITE = 512;

    /** Events of {@code poll} that tell of the other end's end. */
    static final int GONE = LinuxCalls.POLLHUP | LinuxCalls.POLLRDHUP | LinuxCalls.POLLERR;

    /** Events of {@code poll} after which a read does not wait. */
    static final int READABLE = LinuxCalls.POLLIN | LinuxCalls.POLLRDNORM | GONE;

    private final int fd;
    private final int largestGroup;
    private final Region region;
    private final MemorySegment[] in;
    private final MemorySegment out;

    /** Reads that are posted and have no group. */
    final PostedReads reads;

    private final OpenGroups groups = new OpenGroups();
    private final DescriptorCounts counts = new DescriptorCounts(groups);
    private final StagedAnswers staged = new StagedAnswers(ANSWERS_IN_WRITE);

    /** Message, code and cookie of claimed groups. */
    private final MpscUnboundedVarHandleArrayQueue<Long> later = new MpscUnboundedVarHandleArrayQueue<>(64);

    /** What was read, by place. The groups are entered, and handed over as there are reads. */
    private final FaultMessage[] messages;

    /** Places of the messages whose groups have not all been handed over, oldest first: a circle. */
    private final int[] held;

    private int oldestHeld;
    private int heldCount;

    /** Of the oldest message. */
    private int groupsHanded;

    /** Groups of held messages that were answered at the other end before they were handed over. */
    private int heldInVain;

    /** The oldest answers that are being written. */
    private int writing;

    private int messageNumber;

    /** The other end will send no more; what it has sent may still lie in the descriptor. */
    private boolean hungUp;
    /** The other end takes no answers. */
    private boolean deaf;
    /** Reading has failed for want of the other end. */
    private boolean reset;
    /** All that the other end sent has been read. */
    private boolean drained;
    /** It has been handed over, too. */
    private boolean ended;
    /** For other threads: answers can no longer arrive. */
    private volatile boolean gone;

    /**
     * Nothing read, nothing to write.
     *
     * @param places messages that can be read before the groups of the first are handed over
     */
    DescriptorProtocol(int fd, int entries, int largestGroup, int places) {
        this.fd = fd;
        this.largestGroup = largestGroup;
        this.reads = PostedReads.none(entries);
        int records = largestMessage(largestGroup);
        // Of a message that is too long a socket drops what does not fit: one record more shows that.
        long inBytes = (long) (records + 1) * RECORD;
        this.region = Region.allocate(places * inBytes + ANSWERS_IN_WRITE * ANSWER);
        this.out = region.segment().asSlice(places * inBytes);
        this.in = new MemorySegment[places];
        this.messages = new FaultMessage[places];
        this.held = new int[places];
        for (int i = 0; i < places; i++) {
            in[i] = region.segment().asSlice(i * inBytes, inBytes);
            messages[i] = new FaultMessage(fd, in[i], records, largestGroup);
        }
    }

    static int largestMessage(int largestGroup) {
        return Math.min(largestGroup * GROUPS_IN_MESSAGE, RECORDS_IN_MESSAGE);
    }

    /** How many bytes a message is read with, where the descriptor keeps the bounds of messages and where it does not. */
    static long readBytes(int largestGroup, boolean keepsBounds) {
        return (long) (largestMessage(largestGroup) + (keepsBounds ? 1 : 0)) * RECORD;
    }

    /** Whether a descriptor keeps the bounds of what was written together, as a socket has to. */
    static boolean keepsBounds(int fd, LinuxCalls linux) {
        int type = linux.socketType(fd);
        if (type < 0 && type != -Errno.ENOTSOCK) {
            throw new IllegalArgumentException("fd=" + fd + ": " + Errno.name(-type) + ", allowed an open descriptor");
        }
        if (type >= 0 && type != LinuxCalls.SOCK_SEQPACKET) {
            throw new IllegalArgumentException("fd=" + fd + " is a socket of type " + type + ": allowed "
                    + LinuxCalls.SOCK_SEQPACKET + ", which keeps the bounds of messages");
        }
        return type >= 0;
    }

    /** Where messages are read to; any place while {@link #wantsMessage}. */
    MemorySegment in(int place) {
        return in[place];
    }

    /** Where answers are written from. */
    MemorySegment out() {
        return out;
    }

    boolean isEnded() {
        return ended;
    }

    boolean isHungUp() {
        return hungUp;
    }

    /** Whether all groups that were read have been handed over. */
    private boolean holdsNothing() {
        return heldCount == 0;
    }

    /** Whether a message may be read: there are reads for its groups, and no groups of the last one. */
    boolean wantsMessage() {
        return holdsNothing() && !reads.isEmpty() && !drained && !ended;
    }

    /** Whether there are answers, and somebody who takes them. */
    boolean hasAnswers() {
        return !staged.isEmpty() && !deaf;
    }

    // ---- answers ----

    /** Stages an answer of the consumer's own thread. */
    @CheckReturnValue
    Result answer(int cookie, Answer code, boolean reposts) {
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

    /** Takes an answer from any thread; its consumer's stages it. */
    @CheckReturnValue
    Result answerLater(int cookie, Answer code) {
        if (gone) {
            return Result.CLOSED;
        }
        long claimed = groups.claim(cookie);
        if (claimed == 0) {
            return Result.STALE;
        }
        boolean _ = later.offer((long) OpenGroups.messageOf(claimed) << 40 | StagedAnswers.answer(cookie, wire(code)));
        return Result.OK;
    }

    boolean hasLater() {
        return !later.isEmpty();
    }

    private static int wire(Answer code) {
        return code == Answer.SUCCESS ? PageResponseLayout.CODE_SUCCESS : PageResponseLayout.CODE_INVALID;
    }

    /** Stages what other threads have answered. */
    void takeLater() {
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

    /** Copies the oldest answers to where they are written from; says how many. */
    int copyAnswers() {
        writing = Math.min(staged.count(), ANSWERS_IN_WRITE);
        staged.copyTo(out, writing);
        return writing;
    }

    /**
     * A write of the oldest answers has ended.
     *
     * @param result bytes, or a negative errno
     * @param n how many answers were written
     * @return how many were taken, or -1 if none is for the time being
     */
    int written(long result, int n) {
        int took = ended ? 0 : taken(result, n);
        notWritten();
        return took;
    }

    /** What was copied is not written, or no longer. */
    void notWritten() {
        writing = 0;
        staged.dropVoid();
    }

    private int taken(long result, int n) {
        if (result >= 0) {
            if (result % ANSWER != 0 || result > (long) n * ANSWER) {
                throw new IllegalStateException("write on fd=" + fd + " took bytes=" + result + " of " + n * ANSWER
                        + ": allowed a multiple of " + ANSWER);
            }
            int took = (int) (result / ANSWER);
            answered(took, DescriptorCounts.ANSWERED);
            return took == 0 ? -1 : took;
        }
        switch ((int) -result) {
            case Errno.EINTR -> {}
            case Errno.EAGAIN -> {
                return -1;
            }
            case Errno.EINVAL -> answered(1, DescriptorCounts.DETACHED);
            case Errno.EPIPE, Errno.ECONNRESET -> lost();
            default -> throw new IllegalStateException("write on fd=" + fd + ": " + Errno.name((int) -result));
        }
        return 0;
    }

    /** Answers no longer arrive. */
    private void lost() {
        hungUp = true;
        deaf = true;
        gone = true;
    }

    /** The oldest answers have been taken, or the oldest one refused. */
    private void answered(int n, int as) {
        if (n == 0) {
            return;
        }
        counts.change();
        int known = 0;
        for (int i = 0; i < n; i++) {
            int cookie = staged.cookie(i);
            if (cookie != StagedAnswers.VOID) {
                groups.remove(groups.find(cookie));
                known++;
            }
        }
        counts.add(as, known);
        counts.add(DescriptorCounts.ANSWERS, known);
        if (as == DescriptorCounts.DETACHED) {
            counts.add(DescriptorCounts.STALE, known);
        }
        counts.changed();
        staged.drop(n);
    }

    // ---- messages ----

    /** Takes note of events of {@code poll}. */
    void seen(int events) {
        if ((events & LinuxCalls.POLLNVAL) != 0) {
            throw new IllegalStateException("fd=" + fd + " is closed: allowed after the consumer's close");
        }
        hungUp |= (events & GONE) != 0;
    }

    /** A call was refused with an error that it may be refused with for the time being; or else this throws. */
    void refused(String call, int error) {
        if (error != Errno.EINTR && error != Errno.EAGAIN) {
            throw new IllegalStateException(call + " on fd=" + fd + ": " + Errno.name(error));
        }
    }

    /**
     * A read into {@link #in} has ended.
     *
     * @param place where
     * @param result bytes, or a negative errno
     * @return false if there was nothing to read
     */
    boolean read(int place, long result) {
        if (result > 0) {
            FaultMessage message = messages[place];
            message.readAtNs = System.nanoTime();
            message.check((int) result);
            enter(message);
            held[(oldestHeld + heldCount++) % held.length] = place;
            return true;
        }
        if (result == 0) {
            // The kernel's fault descriptor says 0 when it is empty, a socket when its other end has gone.
            if (hungUp) {
                drained();
            }
            return hungUp;
        }
        if (result == -Errno.EINVAL) {
            throw new IllegalStateException(
                    "read on fd=" + fd + ": EINVAL, the next group has more requests than largestGroup=" + largestGroup
                            + " allows; it stays where it is, for a consumer that allows more");
        }
        if (result == -Errno.ECONNRESET || result == -Errno.EPIPE) {
            // A socket says it once, before what is left.
            if (reset) {
                drained();
            }
            reset = true;
            lost();
            return true;
        }
        refused("read", (int) -result);
        return false;
    }

    /** Enters the groups of a message that was read. */
    private void enter(FaultMessage message) {
        // Never 0, which a new entry has.
        messageNumber = messageNumber == Integer.MAX_VALUE ? 1 : messageNumber + 1;
        message.number = messageNumber;
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
                withdraw(message, g);
                counts.changed();
                throw message.broken(
                        "cookie=0x" + Integer.toHexString(cookie) + " of two groups", "one group for a cookie");
            }
        }
        if (anyKnown) {
            forgetFormer(message);
        }
        counts.add(DescriptorCounts.REQUESTS, message.requests());
        counts.add(DescriptorCounts.RAISED, found);
        counts.changed();
    }

    /** Takes back what was entered for the first groups of a broken message. */
    private void withdraw(FaultMessage message, int entered) {
        for (int g = 0; g < entered; g++) {
            int slot = groups.find(message.cookie(g));
            if (slot >= 0 && groups.isHeld(slot, message.number)) {
                groups.remove(slot);
            }
        }
    }

    /** The other end gives cookies again that are open here, so it has answered those groups by itself. */
    private void forgetFormer(FaultMessage message) {
        for (int g = 0; g < message.groups(); g++) {
            int cookie = message.cookie(g);
            int slot = groups.find(cookie);
            if (!groups.isHeld(slot, message.number)) {
                int state = groups.state(slot);
                if (state == OpenGroups.STAGED) {
                    staged.remove(cookie, writing);
                } else if (state == OpenGroups.HELD) {
                    heldInVain++;
                }
                groups.reset(slot, cookie, messageNumber);
                counts.add(DescriptorCounts.DETACHED, 1);
            }
        }
    }

    private void drained() {
        drained = true;
        endIfOver();
    }

    /** Ends, if the other end has gone, and nothing is left of what it sent, or nobody waits for it. */
    void endIfOver() {
        if (holdsNothing() && (drained || (hungUp && reads.isEmpty()))) {
            end();
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

    // ---- what is handed over ----

    /** Whether there is a group that was not handed over and a read for it. */
    boolean hasGroup() {
        while (heldInVain > 0 && !holdsNothing() && !oldestIsOpen()) {
            heldInVain--;
            pass();
        }
        return !holdsNothing() && !reads.isEmpty();
    }

    private FaultMessage oldest() {
        return messages[held[oldestHeld]];
    }

    private boolean oldestIsOpen() {
        FaultMessage message = oldest();
        int slot = groups.find(message.cookie(groupsHanded));
        return slot >= 0 && groups.isHeld(slot, message.number);
    }

    /** Goes on to the next group. */
    private void pass() {
        if (++groupsHanded == oldest().groups()) {
            groupsHanded = 0;
            oldestHeld = (oldestHeld + 1) % held.length;
            heldCount--;
        }
    }

    /** Gives the next group to the oldest read, shows it, and returns the read's user data. */
    long giveGroup(FaultGroup shown) {
        FaultMessage message = oldest();
        long userData = reads.take();
        message.show(groupsHanded, shown);
        groups.give(groups.find(message.cookie(groupsHanded)), userData);
        pass();
        return userData;
    }

    Accounting accounting() {
        return counts.accounting();
    }

    /** Frees the memory; what other threads answer from here on does not arrive. */
    void free() {
        gone = true;
        region.close();
    }

    /** The consumer has left, and its memory has to stay. */
    void leave() {
        gone = true;
    }
}
