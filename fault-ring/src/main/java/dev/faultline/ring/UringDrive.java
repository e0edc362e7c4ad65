package dev.faultline.ring;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.PageResponseLayout;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Drives a descriptor by io_uring: a read is posted ahead, answers are a write, and one call submits both and waits.
 *
 * <p>One read takes as many groups as a message has. Each message wakes all reads that wait, so a second one costs more than it gives, but
 * where messages lie there already: then one call fetches several. So there are twice as many reads as before while all of them find
 * something at once, up to {@link #MOST_READS}, and as many as found something otherwise, 1 at least. Of every other request one is under
 * way at most. What io_uring makes of a fault descriptor of the kernel, and what is done about it:
 *
 * <ul>
 *   <li>A read that loses its group to another reader completes with 0, and so does each on a descriptor that does not block and is empty:
 *       from then on a poll is posted before each read.
 *   <li>A multishot read never completes on a descriptor that blocks: none is used.
 *   <li>An offset is refused: there is none.
 *   <li>A read that is too short is told so when a group comes: it is as long as the largest message.
 * </ul>
 *
 * <p>The ring takes a hold of the descriptor, so who closes it early ends nothing until the consumer is closed. Looking for completions
 * is no system call.
 */
final class UringDrive implements DescriptorDrive {
    /** Entries of the submission ring: room for one request of each kind. */
    static final int ENTRIES = 16;

    /** Each request completes once. */
    static final int COMPLETIONS = 32;

    /** Reads that are under way at once. */
    static final int MOST_READS = 8;

    // User data of the requests, and bits of those under way.
    private static final int READABLE = 1;
    private static final int WRITE = 1 << 1;
    private static final int WRITABLE = 1 << 2;
    private static final int WAKE = 1 << 3;
    private static final int END = 1 << 4;
    private static final int CANCEL = 1 << 5;
    private static final int FIRST_READ_BIT = 8;
    private static final int FIRST_READ = 1 << FIRST_READ_BIT;
    private static final int READS = FIRST_READ * ((1 << MOST_READS) - 1);

    /** Requests that come to nothing before somebody else has his turn. */
    private static final int VAIN_ROUNDS = 4;

    // A look is a few loads: together some 20 to 50 us, as Waiting.SPIN_THEN_PARK.
    private static final int LOOKS_BEFORE_SLEEP = 1_000;

    private static final Logger LOG = LoggerFactory.getLogger(UringDrive.class);
    private static final long CLOSE_NS = 1_000_000_000L;

    /** Makes the calls, by the thread that is to use them. */
    interface Rings {
        UringCalls open(Thread user);
    }

    private final DescriptorProtocol protocol;
    private final Rings rings;
    private final int readBytes;
    private final int wakeDescriptor;

    private @Nullable UringCalls uring;
    private @Nullable Thread user;
    private int underWay;

    /** A read has come to nothing once: each is preceded by a poll. */
    private boolean pollsFirst;

    /** A poll has said that the next read finds something. */
    private boolean readable;

    /** The last write came to nothing: a poll precedes the next one. */
    private boolean pollsBeforeWrite;

    /** How many reads there are to be under way. */
    private int readsWanted = 1;

    /** Reads prepared since the last call, and how many have found something in it. */
    private int readsPrepared;

    private int readsFound;

    /** The answers in the write that is under way. */
    private int writing;

    /** The wake-up's descriptor can be read. */
    private boolean rung;

    /** Writes have come to something, or reads. */
    private boolean moved;

    private int sent;

    UringDrive(DescriptorProtocol protocol, Rings rings, long readBytes, int wakeDescriptor) {
        this.protocol = protocol;
        this.rings = rings;
        this.readBytes = (int) readBytes;
        this.wakeDescriptor = wakeDescriptor;
    }

    private UringCalls uring() {
        UringCalls now = uring;
        if (now == null) {
            user = Thread.currentThread();
            now = rings.open(user);
            uring = now;
        }
        return now;
    }

    private boolean isUnderWay(int request) {
        return (underWay & request) != 0;
    }

    /** Notes a request that was prepared; says whether it was. What found no room is prepared another time. */
    private boolean prepared(boolean prepared, int request) {
        if (prepared) {
            underWay |= request;
        }
        return prepared;
    }

    // ---- what is wanted ----

    /** Prepares what is wanted and not under way; says whether there was anything. */
    private boolean prepare(UringCalls ring, boolean receives) {
        boolean any = prepareWrite(ring);
        if (receives && protocol.wantsMessage()) {
            any |= prepareRead(ring);
        } else if (isUnderWay(READS) && protocol.reads.isEmpty() && !isUnderWay(CANCEL)) {
            // The reads were taken back: what comes now has to stay where it is.
            any |= prepared(ring.cancel(Integer.lowestOneBit(underWay & READS), CANCEL), CANCEL);
        }
        return any;
    }

    private boolean prepareRead(UringCalls ring) {
        if (pollsFirst && !readable) {
            return !isUnderWay(READS | READABLE)
                    && prepared(ring.poll(LinuxCalls.POLLIN | LinuxCalls.POLLRDHUP, READABLE), READABLE);
        }
        readable = false;
        int missing = Math.min(readsWanted, protocol.reads.total()) - Integer.bitCount(underWay & READS);
        int before = readsPrepared;
        for (int place = 0; missing > 0; place++) {
            int read = FIRST_READ << place;
            if (!isUnderWay(read)) {
                if (!prepared(ring.read(protocol.in(place), readBytes, read), read)) {
                    break;
                }
                missing--;
                readsPrepared++;
            }
        }
        return readsPrepared > before;
    }

    private boolean prepareWrite(UringCalls ring) {
        if (isUnderWay(WRITE | WRITABLE) || !protocol.hasAnswers()) {
            return false;
        }
        if (pollsBeforeWrite) {
            return prepared(ring.poll(LinuxCalls.POLLOUT, WRITABLE), WRITABLE);
        }
        writing = protocol.copyAnswers();
        if (prepared(ring.write(protocol.out(), writing * PageResponseLayout.SIZE, WRITE), WRITE)) {
            return true;
        }
        protocol.notWritten();
        return false;
    }

    // ---- what has come ----

    /** Takes the completions that are there. */
    private void reap(UringCalls ring) {
        while (ring.ready() > 0) {
            int request = (int) ring.userData(0);
            int result = ring.result(0);
            ring.advance(1);
            underWay &= ~request;
            if (result != -Errno.ECANCELED) {
                completed(request, result);
            }
        }
    }

    private void completed(int request, int result) {
        if ((request & READS) != 0) {
            boolean found = protocol.read(Integer.numberOfTrailingZeros(request) - FIRST_READ_BIT, result);
            pollsFirst |= !found;
            moved |= found;
            readsFound += found ? 1 : 0;
            return;
        }
        switch (request) {
            case READABLE -> {
                seen(result);
                readable = true;
            }
            case WRITE -> {
                int took = protocol.written(result, writing);
                pollsBeforeWrite = took < 0;
                if (took >= 0) {
                    sent += took;
                    moved = true;
                }
            }
            case WRITABLE -> {
                seen(result);
                pollsBeforeWrite = false;
            }
            case WAKE -> rung = true;
            case END -> seen(result);
            default -> {} // how many a cancel has found
        }
    }

    private void seen(int result) {
        if (result < 0) {
            protocol.refused("poll", -result);
        } else {
            protocol.seen(result);
        }
    }

    // ---- the drive ----

    private void enter(UringCalls ring, int atLeast, long limitNs) {
        int n = ring.submitAndWait(atLeast, limitNs);
        if (n < 0 && n != -Errno.ETIME && n != -Errno.EBUSY) {
            // What was not taken stays prepared, and is taken with the next call.
            protocol.refused("io_uring_enter", -n);
        }
    }

    private void go(boolean receives) {
        UringCalls ring = uring();
        reap(ring);
        for (int vain = 0; vain < VAIN_ROUNDS && (prepare(ring, receives) || ring.hasNews()); vain++) {
            moved = false;
            enter(ring, 0, 0);
            readsFound = 0;
            reap(ring);
            adapt();
            if (moved) {
                vain = 0;
            }
        }
    }

    private void adapt() {
        if (pollsFirst) {
            readsWanted = 1;
        } else if (readsPrepared > 0) {
            readsWanted = Math.clamp(readsFound < readsPrepared ? readsFound : 2L * readsWanted, 1, MOST_READS);
        }
        readsPrepared = 0;
    }

    @Override
    public int send() {
        sent = 0;
        if (protocol.hasAnswers() || underWay != 0) {
            go(false);
        }
        return sent;
    }

    @Override
    public void exchange(boolean receives) {
        go(receives);
    }

    @Override
    public void flush(boolean receives) {
        go(receives);
    }

    @Override
    public int looksBeforeSleep() {
        return LOOKS_BEFORE_SLEEP;
    }

    @Override
    public boolean sleep(boolean receives, long limitNs) {
        UringCalls ring = uring();
        boolean _ = prepare(ring, receives);
        if (!isUnderWay(WAKE)) {
            boolean _ = prepared(ring.pollOther(wakeDescriptor, LinuxCalls.POLLIN, WAKE), WAKE);
        }
        if (!isUnderWay(READS | READABLE | END) && !protocol.isHungUp()) {
            boolean _ = prepared(ring.poll(LinuxCalls.POLLRDHUP, END), END);
        }
        enter(ring, 1, limitNs);
        reap(ring);
        boolean wasRung = rung;
        rung = false;
        return wasRung;
    }

    @Override
    public boolean close() {
        UringCalls ring = uring;
        if (ring == null) {
            return true;
        }
        boolean mayFree = false;
        // The requests of a thread that is no more end with it, at a moment that nobody is told.
        if (user == Thread.currentThread()) {
            mayFree = cancelAndWait(ring);
        }
        ring.close();
        return mayFree;
    }

    private boolean cancelAndWait(UringCalls ring) {
        long end = System.nanoTime() + CLOSE_NS;
        boolean asked = false;
        for (long left = CLOSE_NS; underWay != 0 && left > 0; left = end - System.nanoTime()) {
            if (!asked) {
                asked = prepared(ring.cancelAll(CANCEL), CANCEL);
            }
            int _ = ring.submitAndWait(1, left);
            try {
                reap(ring);
            } catch (IllegalStateException e) {
                LOG.debug("What came last over a descriptor is broken, and its consumer closed", e);
            }
        }
        return underWay == 0;
    }
}
