package dev.faultline.ring;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.PageResponseLayout;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLongArray;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Serves a {@link FaultQueue} over a socket: its groups go to the other end, a {@link DescriptorConsumer} in this process or
 * another, which sends the answers back.
 *
 * <p>The socket keeps the bounds of messages ({@link LinuxCalls#SOCK_SEQPACKET}). A message to the peer has whole groups of records
 * ({@link PageFaultLayout}), 64 of them or {@link DescriptorConsumer#largestMessage} records at most; a message of the peer has
 * up to 512 answers ({@link PageResponseLayout}). A group's cookie is the queue's.
 *
 * <p>The peer is not trusted. Each message is read once into memory of the server's own and checked there: a length that is not
 * allowed, a code that is none, a cookie of no open group are counted ({@link #counts}) and change nothing.
 *
 * <ul>
 *   <li>A peer that is slow makes groups wait in the queue. Nothing is lost and no producer waits: it is told {@link Result#FULL} when
 *       its allocation is used up, and the queue's deadline holds.
 *   <li>A peer that is late has its answer counted as stale.
 *   <li>When the peer goes, what it has sent counts, and everything else it was given is answered {@link Answer#INVALID} at once ({@link
 *       AutoAnswer#HANDLER}); so is whatever is raised from then on, until the server or the queue is closed. The {@link #state} says
 *       so, and the log, once. A server has one peer.
 *   <li>When the server is closed, what the peer was given is answered likewise. When the queue is closed, the queue answers.
 * </ul>
 *
 * <p>Threads: one of its own, a daemon, which is the queue's consumer; the methods here are for any. Ownership: from {@link #start} on
 * the descriptor is the server's, which closes it as soon as it has no use for it, so that the peer is told. Who starts the server closes
 * it; closing the queue ends it too. Progress: no call on the socket waits, but for the server's thread when it has nothing to do;
 * nothing is allocated for a fault. Units: nanoseconds. Errors: what the socket refuses otherwise ends the service as {@link
 * State#FAILED}, see {@link #failure}.
 */
public final class FaultServer implements AutoCloseable {
    /** What a server does. */
    public enum State {
        /** Groups go to the peer, answers come from it. */
        SERVING,
        /** The peer has gone. Whatever is raised is answered {@link Answer#INVALID}. */
        PEER_GONE,
        /** The socket has failed, see {@link FaultServer#failure}. Whatever is raised is answered {@link Answer#INVALID}. */
        FAILED,
        /** The server, or its queue, is closed. */
        CLOSED
    }

    /**
     * What went over the socket.
     *
     * @param groups sent to the peer
     * @param messages they were sent in
     * @param answers of the peer that were taken
     * @param stale answers of the peer whose cookie names no open group
     * @param badCodes answers of the peer whose code is neither success nor invalid
     * @param brokenMessages of the peer: empty, too long, or no multiple of an answer
     * @param answeredForPeer groups answered {@link Answer#INVALID} because the peer had gone, or could not be asked
     */
    public record Counts(
            long groups,
            long messages,
            long answers,
            long stale,
            long badCodes,
            long brokenMessages,
            long answeredForPeer) {}

    private static final Logger LOG = LoggerFactory.getLogger(FaultServer.class);
    private static final AtomicInteger NUMBER = new AtomicInteger();

    private static final int RECORD = PageFaultLayout.SIZE;
    private static final int ANSWER = PageResponseLayout.SIZE;
    private static final int MOST_ANSWER_BYTES = DescriptorProtocol.ANSWERS_IN_WRITE * ANSWER;

    // Each look is a system call: together some 20 to 50 us, as Waiting.SPIN_THEN_PARK.
    private static final int LOOKS_BEFORE_SLEEP = 50;

    /** How long the thread sleeps when it waits for a slow peer only, and nobody could wake it. */
    private static final int SLOW_PEER_MS = 20;

    private static final long ABSENT_WAIT_NS = 1_000_000_000L;

    private static final int GROUPS = 0;
    private static final int MESSAGES = 1;
    private static final int ANSWERS = 2;
    private static final int STALE = 3;
    private static final int BAD_CODES = 4;
    private static final int BROKEN = 5;
    private static final int FOR_PEER = 6;

    private final FaultQueue queue;
    private final int fd;
    private final RingConsumer consumer;
    private final WakeDescriptor wake;
    private final int wakeFd;
    private final LinuxCalls calls;
    private final Region region;
    private final MemorySegment out;
    private final MemorySegment in;
    private final int mostRecords;
    private final int largestGroup;
    private final Thread thread;

    /** Written by the server's thread, each opaque; read by any: a stale value is one of a moment before. */
    private final AtomicLongArray counts = new AtomicLongArray(FOR_PEER + 1);

    private volatile State state = State.SERVING;
    private volatile @Nullable RuntimeException failure;
    private volatile boolean stopping;

    /** False once somebody else has closed the descriptor, whose number may be another's by now. */
    private boolean isOpen = true;

    private boolean readable;
    private boolean writable;
    /** The peer will send no more; what it has sent may still lie in the socket. */
    private boolean hungUp;
    /** The peer takes no more. */
    private boolean deaf;
    /** Reading has failed for want of the peer. */
    private boolean reset;
    /** All that the peer sent has been read. */
    private boolean ended;

    /** The message that is made: groups that have been taken off the queue and not been sent. */
    private int groups;

    private int records;

    private final CompletionHandler toPeer = (userData, group) -> add(group);
    private final CompletionHandler forPeer = (userData, group) -> refuse(group);
    private final int[] polled = new int[2];
    private final int[] events = new int[2];
    private final int[] revents = new int[2];

    private FaultServer(FaultQueue queue, int fd, LinuxCalls calls) {
        this.queue = queue;
        this.fd = fd;
        this.calls = calls;
        this.largestGroup = queue.config().largestGroup();
        this.mostRecords = DescriptorProtocol.largestMessage(largestGroup);
        this.consumer = queue.ringConsumer();
        this.wake = queue.wakeDescriptor();
        this.wakeFd = wake.descriptor();
        long outBytes = (long) mostRecords * RECORD;
        // One answer more shows that a message is too long.
        this.region = Region.allocate(outBytes + MOST_ANSWER_BYTES + ANSWER);
        this.out = region.segment().asSlice(0, outBytes);
        this.in = region.segment().asSlice(outBytes);
        this.thread = Thread.ofPlatform()
                .name("faultline-server-" + NUMBER.incrementAndGet())
                .daemon()
                .unstarted(this::run);
    }

    /**
     * Starts to serve a queue, as its consumer.
     *
     * @param queue which waits by {@link Waiting#EVENTFD}, and whose door nobody has taken
     * @param fd this end of the socket, the server's from here on; the caller's still if this throws
     * @return the running server
     * @throws IllegalArgumentException if the queue waits otherwise, or {@code fd} is not a socket that keeps the bounds of messages
     * @throws IllegalStateException if a door of the queue is taken, or it is closed
     * @throws UnsupportedOperationException if this machine lacks the calls, see {@link LinuxCalls#missing}
     */
    public static FaultServer start(FaultQueue queue, int fd) {
        Arguments.notNull("queue", queue, "a FaultQueue");
        if (queue.config().waiting() != Waiting.EVENTFD) {
            throw new IllegalArgumentException("waiting=" + queue.config().waiting()
                    + " of the queue: allowed EVENTFD, by which one thread waits for it and for the peer");
        }
        LinuxCalls calls = LinuxCalls.open();
        try {
            if (!DescriptorProtocol.keepsBounds(fd, calls)) {
                throw new IllegalArgumentException("fd=" + fd + " is no socket: allowed one of type "
                        + LinuxCalls.SOCK_SEQPACKET + ", which keeps the bounds of messages");
            }
            FaultServer server = new FaultServer(queue, fd, calls);
            server.thread.start();
            return server;
        } catch (RuntimeException | Error e) {
            calls.close();
            throw e;
        }
    }

    // ---- the server's thread ----

    private void run() {
        try (consumer) {
            try {
                serve();
            } catch (RuntimeException e) {
                failure = e;
            }
            hangUp();
            while (!stopping && !queue.isClosing()) {
                Result _ = consumer.await(forPeer, 1, ABSENT_WAIT_NS);
            }
        } finally {
            state = State.CLOSED;
        }
    }

    private void serve() {
        Result _ = consumer.post(0, queue.config().entries());
        int looks = 0;
        while (!stopping && !ended && !queue.isClosing()) {
            look();
            boolean moved = takeAnswers();
            moved |= takeGroups();
            moved |= send();
            if (moved) {
                looks = 0;
            } else if (++looks < LOOKS_BEFORE_SLEEP) {
                Thread.onSpinWait();
            } else {
                sleep();
                looks = 0;
            }
        }
    }

    /** The service is over: lets go of the socket, and answers what the peer was given. */
    private void hangUp() {
        if (isOpen) {
            int _ = calls.close(fd);
        }
        region.close();
        calls.close();
        if (queue.isClosing()) {
            return;
        }
        int open = consumer.answerAllThrown();
        consumer.submit();
        count(FOR_PEER, open);
        if (!stopping) {
            state = failure == null ? State.PEER_GONE : State.FAILED;
            LOG.warn(
                    "The peer on fd={} is gone: {} groups it was given are INVALID, and so is what is raised until the"
                            + " server is closed",
                    fd,
                    open,
                    failure);
        }
    }

    private void refuse(FaultGroup group) {
        if (consumer.answerThrown(group.cookie()) == Result.OK) {
            count(FOR_PEER, 1);
        }
    }

    private void count(int what, long n) {
        counts.setOpaque(what, counts.getPlain(what) + n);
    }

    // ---- the socket ----

    private void look() {
        int now = calls.poll(fd, LinuxCalls.POLLIN | LinuxCalls.POLLOUT | LinuxCalls.POLLRDHUP, 0);
        if (now < 0) {
            refused("poll", -now);
        } else {
            seen(now);
        }
    }

    private void seen(int now) {
        if ((now & LinuxCalls.POLLNVAL) != 0) {
            isOpen = false;
            throw new IllegalStateException("fd=" + fd + " was closed: allowed is to close the server");
        }
        readable |= (now & DescriptorProtocol.READABLE) != 0;
        writable |= (now & LinuxCalls.POLLOUT) != 0;
        hungUp |= (now & DescriptorProtocol.GONE) != 0;
    }

    private void refused(String call, int error) {
        if (error != Errno.EINTR && error != Errno.EAGAIN) {
            throw new IllegalStateException(call + " on fd=" + fd + ": " + Errno.name(error));
        }
    }

    /** Reads a message of the peer, if there is one; says whether there was. */
    private boolean takeAnswers() {
        if (!readable) {
            // One who takes nothing more has nothing more to answer.
            ended |= deaf;
            return false;
        }
        readable = false;
        long n = calls.read(fd, in, MOST_ANSWER_BYTES + ANSWER);
        if (n > 0) {
            take((int) n);
        } else if (n == 0) {
            ended = hungUp;
            count(BROKEN, hungUp ? 0 : 1);
        } else if (n == -Errno.ECONNRESET || n == -Errno.EPIPE) {
            // A socket says it once, before what is left.
            ended = reset;
            reset = true;
            hungUp = true;
            deaf = true;
        } else {
            refused("read", (int) -n);
        }
        return true;
    }

    private void take(int bytes) {
        if (bytes % ANSWER != 0 || bytes > MOST_ANSWER_BYTES) {
            count(BROKEN, 1);
            return;
        }
        int taken = 0;
        int stale = 0;
        int bad = 0;
        for (int at = 0; at < bytes; at += ANSWER) {
            int cookie = SharedWords.getInt(in, at + PageResponseLayout.COOKIE_OFFSET);
            int code = SharedWords.getInt(in, at + PageResponseLayout.CODE_OFFSET);
            if (code != PageResponseLayout.CODE_SUCCESS && code != PageResponseLayout.CODE_INVALID) {
                bad++;
            } else if (consumer.answer(
                            cookie, code == PageResponseLayout.CODE_SUCCESS ? Answer.SUCCESS : Answer.INVALID)
                    == Result.OK) {
                taken++;
            } else {
                stale++;
            }
        }
        count(ANSWERS, taken);
        count(STALE, stale);
        count(BAD_CODES, bad);
    }

    /** Takes groups off the queue as far as they fit into the message; sends what is staged. */
    private boolean takeGroups() {
        return consumer.poll(toPeer, deaf ? 0 : room()) > 0;
    }

    private int room() {
        return Math.min(DescriptorProtocol.GROUPS_IN_MESSAGE - groups, (mostRecords - records) / largestGroup);
    }

    /** Gives the read back at once, so that a peer that never answers keeps none; the group stays open for its answer. */
    private void add(FaultGroup group) {
        if (consumer.answerAndRepost(group.cookie(), Answer.LATER) == Result.OK) {
            group.copyTo(out, (long) records * RECORD);
            records += group.size();
            groups++;
        }
    }

    private boolean send() {
        if (groups == 0 || !writable || deaf) {
            return false;
        }
        // What was said to be writable is for one write: more might have to wait.
        writable = false;
        long bytes = (long) records * RECORD;
        long n = calls.write(fd, out, bytes);
        if (n == bytes) {
            count(GROUPS, groups);
            count(MESSAGES, 1);
            groups = 0;
            records = 0;
        } else if (n == -Errno.EPIPE || n == -Errno.ECONNRESET) {
            hungUp = true;
            deaf = true;
        } else if (n >= 0) {
            throw new IllegalStateException(
                    "write on fd=" + fd + " took bytes=" + n + " of " + bytes + ": allowed is all");
        } else {
            refused("write", (int) -n);
        }
        return true;
    }

    /** Waits for the peer, and for the queue unless the message is full. */
    private void sleep() {
        boolean slow = groups > 0;
        if (!slow && !wake.arm()) {
            return;
        }
        polled[0] = fd;
        events[0] = LinuxCalls.POLLRDHUP | LinuxCalls.POLLIN | (slow ? LinuxCalls.POLLOUT : 0);
        revents[0] = 0;
        polled[1] = slow ? -1 : wakeFd;
        events[1] = LinuxCalls.POLLIN;
        int n = stopping ? 0 : calls.poll(polled, events, revents, slow ? SLOW_PEER_MS : -1);
        if (!slow) {
            wake.clear();
        }
        if (n < 0) {
            refused("poll", -n);
        } else if (n > 0) {
            seen(revents[0]);
        }
    }

    // ---- any thread's ----

    /**
     * What the server does.
     *
     * @return its state
     */
    public State state() {
        return state;
    }

    /**
     * Why the service has failed.
     *
     * @return what the socket was refused, or null unless the state is, or was, {@link State#FAILED}
     */
    public @Nullable RuntimeException failure() {
        return failure;
    }

    /**
     * What went over the socket.
     *
     * @return counts of about this moment. What became of each group is said by {@link FaultQueue#accounting}
     */
    public Counts counts() {
        return new Counts(
                counts.getOpaque(GROUPS),
                counts.getOpaque(MESSAGES),
                counts.getOpaque(ANSWERS),
                counts.getOpaque(STALE),
                counts.getOpaque(BAD_CODES),
                counts.getOpaque(BROKEN),
                counts.getOpaque(FOR_PEER));
    }

    /**
     * The thread that serves.
     *
     * @return the thread
     */
    public Thread thread() {
        return thread;
    }

    /** Ends the service, and waits for that as long as the queue's close limit. Calling it again does nothing. */
    @Override
    public void close() {
        stopping = true;
        consumer.wake();
        if (Thread.currentThread() == thread) {
            return;
        }
        OwnThread.join(thread, queue.config().closeLimitNs());
    }

    @Override
    public String toString() {
        return "FaultServer[" + state + ", " + counts() + "]";
    }
}
