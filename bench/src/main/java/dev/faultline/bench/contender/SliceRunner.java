package dev.faultline.bench.contender;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;

/**
 * Runs slices of one contest on threads of its own, which sleep between slices: a requester, a responder, and the contest's helpers.
 *
 * <p>Threads: one thread calls {@link #run} and {@link #close}; the hot threads never leave the runner.
 *
 * <p>Lifetime: {@link #close} ends the threads; the contest is closed by who made it, after that.
 *
 * <p>Time is taken around pieces of a few tens of microseconds, so that what must be put back between them is not timed and a stall shows.
 */
final class SliceRunner implements AutoCloseable {

    private static final int REQUESTER = 0;
    private static final int RESPONDER = 1;
    private static final int FIRST_HELPER = 2;
    private static final int ANY_CPU = -1;
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
    private final StopFlag stopHelpers = StopFlag.create();
    private final Semaphore helpersGo = new Semaphore(0);
    private final Semaphore helpersDone = new Semaphore(0);
    private final AtomicLong helpersBytes = new AtomicLong();
    private final CountDownLatch started;
    private final long[] pieceNs = new long[MOST_PIECES];
    private final HotThread[] hot;
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
     * @param cpus cores of the requester, the responder and the helpers; -1, or one too few, for any core
     * @param onFailure told when a hot thread fails; the runner is of no use after that
     */
    SliceRunner(Contest contest, int pieceRoundTrips, List<Integer> cpus, Consumer<Throwable> onFailure) {
        this.contest = contest;
        this.pieceRoundTrips = pieceRoundTrips;
        this.onFailure = onFailure;
        this.hot = new HotThread[2 + contest.helpers()];
        this.started = new CountDownLatch(hot.length);
        start("requester", REQUESTER, cpus, this::requester);
        start("responder", RESPONDER, cpus, this::responder);
        for (int helper = 0; helper < contest.helpers(); helper++) {
            int number = helper;
            start("helper " + helper, FIRST_HELPER + helper, cpus, () -> helper(number));
        }
    }

    private interface Loop {
        void run() throws InterruptedException;
    }

    private void start(String name, int index, List<Integer> cpus, Loop loop) {
        int cpu = index < cpus.size() ? cpus.get(index) : ANY_CPU;
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
        long switchesBefore = involuntarySwitches();
        limitNs = sliceNs;
        stop.lower();
        stopHelpers.lower();
        requesterGo.release();
        done.acquire();
        return new Slice(
                roundTrips,
                timedNs,
                stalledNs(),
                waitedBefore == Slice.UNKNOWN ? Slice.UNKNOWN : waitedNs() - waitedBefore,
                involuntarySwitches() - switchesBefore,
                requesterBytes + helpersBytes.getAndSet(0),
                responderBytes,
                roundTrips + leadInRoundTrips);
    }

    /** Where the responder sleeps most of a slice is not timed, and its own waits are what is measured: a stall tells enough. */
    private long waitedNs() {
        if (contest.responderSleeps()) {
            return 0;
        }
        long sum = 0;
        for (HotThread thread : hot) {
            long waited = thread.waitedNs();
            if (waited == Slice.UNKNOWN) {
                return Slice.UNKNOWN;
            }
            sum += waited;
        }
        return sum;
    }

    private long involuntarySwitches() {
        long sum = 0;
        for (HotThread thread : hot) {
            sum += thread.involuntarySwitches();
        }
        return sum;
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
            helpersGo.release(contest.helpers());
            slice();
            stopHelpers.raise();
            helpersDone.acquire(contest.helpers());
            stop.raise();
            contest.wake();
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

    private void helper(int number) throws InterruptedException {
        while (true) {
            helpersGo.acquire();
            if (isClosing) {
                return;
            }
            long bytesBefore = THREADS.getCurrentThreadAllocatedBytes();
            contest.help(number, stopHelpers);
            helpersBytes.addAndGet(THREADS.getCurrentThreadAllocatedBytes() - bytesBefore);
            helpersDone.release();
        }
    }

    /** Ends all threads, if they are idle; one that still runs a slice is left alone. */
    @Override
    public void close() {
        isClosing = true;
        requesterGo.release();
        responderGo.release();
        helpersGo.release(contest.helpers());
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
