package dev.faultline.bench.contender;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.function.Consumer;

/**
 * Runs slices of one contest on two threads of its own, which sleep between slices.
 *
 * <p>Threads: one thread calls {@link #run} and {@link #close}; the two hot threads never leave the runner.
 *
 * <p>Lifetime: {@link #close} ends the threads; the contest is closed by who made it, after that.
 *
 * <p>Time is taken around pieces of a few tens of microseconds, so that what must be put back between them is not timed and a stall shows.
 */
final class SliceRunner implements AutoCloseable {

    private static final long LEAD_IN_NS = 2_000_000;
    private static final Duration END_LIMIT = Duration.ofSeconds(1);
    private static final int MOST_PIECES = 1 << 16;

    /** A piece this many times the usual one was not run by two threads that had their cores. */
    private static final int STALL_FACTOR = 8;

    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    private final Contest contest;
    private final int pieceRoundTrips;
    private final Consumer<Throwable> onFailure;
    private final StopFlag stop = StopFlag.create();
    private final Semaphore requesterGo = new Semaphore(0);
    private final Semaphore responderGo = new Semaphore(0);
    private final Semaphore responderDone = new Semaphore(0);
    private final Semaphore done = new Semaphore(0);
    private final CountDownLatch started = new CountDownLatch(2);
    private final long[] pieceNs = new long[MOST_PIECES];
    private final HotThread[] hot = new HotThread[2];
    private final List<Thread> threads = new ArrayList<>();
    private volatile boolean isClosing;

    private long limitNs;
    private int pieces;
    private long roundTrips;
    private long timedNs;
    private long leadInRoundTrips;
    private long requesterBytes;
    private long responderBytes;

    /**
     * Starts the two threads; no contest runs yet.
     *
     * @param contest what is run
     * @param pieceRoundTrips round trips timed at a time
     * @param requesterCpu the requester's core, or -1
     * @param responderCpu the responder's core, or -1
     * @param onFailure told when a hot thread fails; the runner is of no use after that
     */
    SliceRunner(
            Contest contest, int pieceRoundTrips, int requesterCpu, int responderCpu, Consumer<Throwable> onFailure) {
        this.contest = contest;
        this.pieceRoundTrips = pieceRoundTrips;
        this.onFailure = onFailure;
        start("requester", 0, requesterCpu, this::requester);
        start("responder", 1, responderCpu, this::responder);
    }

    private interface Loop {
        void run() throws InterruptedException;
    }

    private void start(String name, int index, int cpu, Loop loop) {
        Thread thread = Thread.ofPlatform().daemon().name(name).unstarted(() -> {
            try {
                hot[index] = HotThread.current(cpu);
                started.countDown();
                loop.run();
            } catch (Throwable t) {
                onFailure.accept(t);
            }
        });
        threads.add(thread);
        thread.start();
    }

    /**
     * Runs one slice.
     *
     * @param sliceNs how long, in ns, the timed part takes at least
     * @return what it came to
     * @throws InterruptedException if the caller is interrupted while it waits
     */
    Slice run(long sliceNs) throws InterruptedException {
        started.await();
        long waitedBefore = waitedNs();
        long switchesBefore = hot[0].involuntarySwitches() + hot[1].involuntarySwitches();
        limitNs = sliceNs;
        stop.lower();
        requesterGo.release();
        done.acquire();
        return new Slice(
                roundTrips,
                timedNs,
                stalledNs(),
                waitedBefore == Slice.UNKNOWN ? Slice.UNKNOWN : waitedNs() - waitedBefore,
                hot[0].involuntarySwitches() + hot[1].involuntarySwitches() - switchesBefore,
                requesterBytes,
                responderBytes,
                roundTrips + leadInRoundTrips);
    }

    private long waitedNs() {
        long requester = hot[0].waitedNs();
        long responder = hot[1].waitedNs();
        return requester == Slice.UNKNOWN || responder == Slice.UNKNOWN ? Slice.UNKNOWN : requester + responder;
    }

    private long stalledNs() {
        long[] sorted = Arrays.copyOf(pieceNs, pieces);
        Arrays.sort(sorted);
        long usual = sorted[sorted.length / 2];
        long stalled = 0;
        for (long ns : sorted) {
            stalled += ns > usual * STALL_FACTOR ? ns - usual : 0;
        }
        return stalled;
    }

    private void requester() throws InterruptedException {
        while (true) {
            requesterGo.acquire();
            if (isClosing) {
                return;
            }
            responderGo.release();
            slice();
            stop.raise();
            responderDone.acquire();
            done.release();
        }
    }

    private void slice() {
        long bytes = 0;
        contest.begin();
        long leadIn = 0;
        long begun = System.nanoTime();
        do {
            contest.prepare();
            long bytesBefore = THREADS.getCurrentThreadAllocatedBytes();
            leadIn += contest.request(pieceRoundTrips);
            bytes += THREADS.getCurrentThreadAllocatedBytes() - bytesBefore;
        } while (System.nanoTime() - begun < LEAD_IN_NS);
        long trips = 0;
        long timed = 0;
        int piece = 0;
        begun = System.nanoTime();
        do {
            contest.prepare();
            long bytesBefore = THREADS.getCurrentThreadAllocatedBytes();
            long start = System.nanoTime();
            trips += contest.request(pieceRoundTrips);
            long ns = System.nanoTime() - start;
            bytes += THREADS.getCurrentThreadAllocatedBytes() - bytesBefore;
            timed += ns;
            if (piece < MOST_PIECES) {
                pieceNs[piece++] = ns;
            }
        } while (System.nanoTime() - begun < limitNs);
        contest.end();
        requesterBytes = bytes;
        roundTrips = trips;
        timedNs = timed;
        pieces = piece;
        leadInRoundTrips = leadIn;
    }

    private void responder() throws InterruptedException {
        while (true) {
            responderGo.acquire();
            if (isClosing) {
                contest.endResponding();
                return;
            }
            long bytesBefore = THREADS.getCurrentThreadAllocatedBytes();
            contest.respond(stop);
            responderBytes = THREADS.getCurrentThreadAllocatedBytes() - bytesBefore;
            responderDone.release();
        }
    }

    /** Ends both threads, if they are idle; one that still runs a slice is left alone. */
    @Override
    public void close() {
        isClosing = true;
        requesterGo.release();
        responderGo.release();
        boolean wasInterrupted = false;
        for (Thread thread : threads) {
            try {
                boolean _ = thread.join(END_LIMIT);
            } catch (InterruptedException e) {
                wasInterrupted = true;
            }
        }
        if (wasInterrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
