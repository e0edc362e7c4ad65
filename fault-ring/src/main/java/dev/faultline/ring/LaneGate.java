package dev.faultline.ring;

import dev.faultline.ffm.SharedWords;
import dev.faultline.ring.internal.Wakeup;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.jctools.queues.varhandle.MpscUnboundedVarHandleArrayQueue;
import org.jspecify.annotations.Nullable;

/**
 * Lets one thread at a time into a lane, so that everything inside is plain memory.
 *
 * <p>A thread is inside after {@link #enter}, until {@link #leave}; or for the length of a visit. What has to be done inside by
 * somebody else is queued as a task: a visitor runs it if nobody is inside, else the thread that is, when it polls or leaves. No
 * task is lost: whoever leaves looks at the queue after the gate is open, and whoever queues looks at the gate after the task is
 * there. A thread that has died inside is as good as gone.
 *
 * <p>Entering is a compare-and-set and leaving a volatile store, so what one thread did inside is seen by the next.
 */
final class LaneGate {
    /** What {@link #inside} holds during a visit; visits are short. */
    private static final Object VISITOR = new Object();

    private static final ThreadLocal<Wakeup> THREAD_WAKEUP = ThreadLocal.withInitial(Wakeup::new);

    private final int lane;
    private final boolean sleeps;

    /** Null, the thread that has entered, or {@link #VISITOR}. */
    private final AtomicReference<@Nullable Object> inside = new AtomicReference<>();

    private final MpscUnboundedVarHandleArrayQueue<Runnable> tasks = new MpscUnboundedVarHandleArrayQueue<>(64);

    /** Of the thread that has entered; whoever has news for it signals it. A stale null costs nothing: it is not asleep yet. */
    private volatile @Nullable Wakeup wakeup;

    /** For a lane that nobody steps. A stale null is as if the submission came before. */
    private volatile @Nullable Runnable attendant;

    /**
     * An open gate.
     *
     * @param lane its number, for messages
     * @param sleeps whether the threads that enter sleep when they wait
     */
    LaneGate(int lane, boolean sleeps) {
        this.lane = lane;
        this.sleeps = sleeps;
    }

    boolean enter() {
        Thread me = Thread.currentThread();
        for (; ; ) {
            Object found = inside.compareAndExchange(null, me);
            if (found == null) {
                wakeup = THREAD_WAKEUP.get();
                return true;
            }
            if (found == me) {
                throw new IllegalStateException(
                        "lane=" + lane + ": " + me + " has entered it already; allowed is once, then leave");
            }
            if (found instanceof Thread thread) {
                if (thread.isAlive() || !inside.compareAndSet(thread, null)) {
                    return false;
                }
                // It died inside. That it is seen dead orders all it did before what is done here.
            } else {
                Thread.onSpinWait();
            }
        }
    }

    /** Lets others in, and does what they have queued meanwhile. */
    void leave() {
        wakeup = null;
        inside.set(null);
        visit();
    }

    /** Whether the calling thread has entered; not during a visit. */
    boolean isEntered() {
        // Plain: a thread that finds itself here wrote it itself.
        return inside.getPlain() == Thread.currentThread();
    }

    void checkEntered(String call) {
        if (!isEntered()) {
            throw new IllegalStateException(call + " by " + Thread.currentThread() + ": lane=" + lane
                    + " is entered by " + inside.get() + "; allowed is the thread that has entered");
        }
    }

    /** The wake-up of the thread that has entered, which is the caller. */
    Wakeup wakeup() {
        return THREAD_WAKEUP.get();
    }

    boolean hasTasks() {
        return !tasks.isEmpty();
    }

    void runTasks() {
        Runnable task;
        while ((task = tasks.poll()) != null) {
            task.run();
        }
    }

    /** Has a task run inside, without waiting for it. */
    void request(Runnable task) {
        tasks.offer(task);
        signal();
        // Looks at who is inside by compare-and-set, which the task cannot be overtaken by: either the one who leaves
        // finds
        // the task, or this thread finds the gate open.
        visit();
    }

    /**
     * Has a task run inside, and waits for it; an interrupt is kept for later.
     *
     * @return false if the thread inside has not polled in time; the task runs when it does
     */
    boolean call(Runnable task, long limitNs) {
        if (isEntered()) {
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

    /** Runs a task inside if nobody is there now; not at all otherwise. */
    void visit(Runnable task) {
        if (open()) {
            try {
                task.run();
                runTasks();
            } finally {
                inside.set(null);
            }
            visit();
        }
    }

    /** Begins a visit, unless somebody is inside who lives. */
    private boolean open() {
        Object found = inside.compareAndExchange(null, VISITOR);
        return found == null
                || (found instanceof Thread thread && !thread.isAlive() && inside.compareAndSet(thread, VISITOR));
    }

    private void visit() {
        while (hasTasks() && open()) {
            try {
                runTasks();
            } finally {
                inside.set(null);
            }
        }
    }

    /** Has something run after each submission, by whoever submits. Written before the lane's producer is used; null for nothing. */
    void attend(Runnable now) {
        attendant = now;
    }

    /** Lets the attendant run, after the caller has published what it is to find. */
    void attended() {
        Runnable now = attendant;
        if (now != null) {
            now.run();
        }
    }

    /** Wakes the thread inside, after the caller has published what it is to find. */
    void signal() {
        if (sleeps) {
            // Before the look at who is inside: a thread that enters after it, and sleeps, sees the news.
            SharedWords.fullFence();
            Wakeup w = wakeup;
            if (w != null) {
                w.signalFenced();
            }
        }
    }
}
