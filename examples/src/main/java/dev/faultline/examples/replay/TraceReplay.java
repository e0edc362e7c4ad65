package dev.faultline.examples.replay;

import dev.faultline.examples.BadInput;
import dev.faultline.ring.Clock;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.FaultWorker;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.HdrHistogram.Histogram;
import org.jspecify.annotations.Nullable;

/**
 * Devices replay a trace through an IOMMU whose pages a {@link Pager} brings.
 *
 * <p>With one device thread the run is in lockstep: a device rests while its faults are handled, so that everything the
 * pager sees depends on the trace and the seed alone, and all counts repeat. With several, devices and pager run freely.
 */
final class TraceReplay implements Replay {
    /** Accesses a device starts before the next device's turn. */
    private static final int TURN_ENTRIES = 256;

    private static final long AWAIT_NS = 1_000_000;
    private static final long AWAIT_ONE_OF_MANY_NS = 20_000;
    private static final long LONGEST_LATENCY_NS = TimeUnit.HOURS.toNanos(1);

    private final ReplayConfig config;
    private final TraceInput input;
    private final @Nullable FaultRecorder recorder;
    private final SharedTrace trace;
    private final BackingStore store;
    private final FaultQueue queue;
    private final Scene scene;
    private final Turnstile turnstile;
    private final Pager pager;
    private final FaultWorker worker;
    private long workerAllocatedBefore;
    private long raisedBefore;
    private final List<Stepper> steppers = new ArrayList<>();
    private final CountDownLatch running;
    private final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
    private volatile boolean stopping;
    private volatile boolean cutShort;
    private long startNs;

    TraceReplay(ReplayConfig config, TraceInput input, @Nullable FaultRecorder recorder) {
        this(config, input, recorder, new BackingStore(config.seed()));
    }

    TraceReplay(ReplayConfig config, TraceInput input, @Nullable FaultRecorder recorder, BackingStore store) {
        this.config = config;
        this.input = input;
        this.recorder = recorder;
        this.store = store;
        trace = new SharedTrace(new TraceReader(input.text(), input.name()), config.limit(), config.deviceThreads());
        turnstile = new Turnstile(config.waiting());
        if (!lockstepHasManyFaults()) {
            turnstile.open();
        }
        for (int i = 0; i < config.deviceThreads(); i++) {
            steppers.add(new Stepper(i));
        }
        running = new CountDownLatch(config.deviceThreads());
        scene = new Scene(config, Clock.SYSTEM, number -> stepper(number)::faulted);
        queue = scene.queue;
        for (int number = 1; number <= config.devices(); number++) {
            stepper(number).devices.add(scene.devices.get(number - 1));
        }
        pager = new Pager(
                scene, config.frames(), store, System.nanoTime(), turnstile, recorder, () -> fail(pagerFailure()));
        worker = queue.consumer().run(pager);
        workerAllocatedBefore = AllocatedBytes.of(worker.thread());
    }

    /** The thread that steps a device. */
    private Stepper stepper(int number) {
        return steppers.get((number - 1) % steppers.size());
    }

    private boolean lockstep() {
        // A handler that is held back for groups that never come would wait for ever.
        return config.deviceThreads() == 1 && config.disaster() == null;
    }

    /** With a window of one a device rests anyway while its fault is handled. */
    private boolean lockstepHasManyFaults() {
        return lockstep() && config.window() > 1;
    }

    @Override
    public void start() {
        startNs = System.nanoTime();
        steppers.forEach(s -> s.thread.start());
    }

    @Override
    public boolean await(long ms) throws InterruptedException {
        return running.await(ms, TimeUnit.MILLISECONDS);
    }

    @Override
    public void stop() {
        cutShort = true;
        end();
    }

    private void end() {
        stopping = true;
        turnstile.open();
        // One of them may wait for a silent standard input, or for another one.
        steppers.forEach(s -> s.thread.interrupt());
    }

    private void fail(Throwable t) {
        boolean first = failure.compareAndSet(null, t);
        if (first || !stopping) {
            end();
        }
    }

    private Throwable pagerFailure() {
        Throwable t = pager.failure();
        return t == null ? new IllegalStateException("the pager failed") : t;
    }

    @Override
    public @Nullable Throwable failure() {
        return failure.get();
    }

    @Override
    public Progress progress() {
        long done = 0;
        for (Stepper stepper : steppers) {
            done += stepper.started.get();
        }
        double read = input.sizeBytes() > 0 ? (double) input.consumedBytes() / input.sizeBytes() : Double.NaN;
        double counted = config.limit() < Long.MAX_VALUE ? (double) trace.accesses() / config.limit() : Double.NaN;
        double fraction = Double.isNaN(read) ? counted : Double.isNaN(counted) ? read : Math.max(read, counted);
        return new Progress(done, queue.accounting().raised(), fraction);
    }

    @Override
    public ReplayReport report() {
        long endNs = startNs;
        long allocated = AllocatedBytes.of(worker.thread()) - workerAllocatedBefore;
        Histogram latency = new Histogram(LONGEST_LATENCY_NS, 3);
        for (Stepper stepper : steppers) {
            endNs = Math.max(endNs, stepper.endNs);
            allocated += stepper.allocated;
            latency.add(stepper.latency);
        }
        var accounting = queue.accounting();
        return scene.report(
                config,
                input,
                !cutShort && failure.get() == null,
                trace.accesses(),
                pager,
                recorder,
                accounting,
                latency,
                (endNs - startNs) / 1e9,
                accounting.raised() == raisedBefore ? null : (double) allocated / (accounting.raised() - raisedBefore),
                null);
    }

    @Override
    public void close() {
        end();
        for (Stepper stepper : steppers) {
            stepper.join();
        }
        worker.close();
        scene.close();
        store.close();
    }

    /** A thread that steps some of the devices. */
    private final class Stepper implements Runnable {
        private final int number;
        private final Thread thread;
        private final List<DeviceReplay> devices = new ArrayList<>();
        private final Histogram latency = new Histogram(LONGEST_LATENCY_NS, 3);
        private final AtomicLong started = new AtomicLong();
        private long allocated;
        private volatile long endNs;

        Stepper(int number) {
            this.number = number;
            thread = Thread.ofPlatform().name("replay-" + number).daemon().unstarted(this);
        }

        void faulted(long ns) {
            latency.recordValue(Math.min(ns, LONGEST_LATENCY_NS));
        }

        @Override
        public void run() {
            try {
                replay();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt(); // only ever by end(), which knows why
            } catch (BadInput | IOException | RuntimeException | Error e) {
                if (!stopping) {
                    fail(e);
                }
            } finally {
                trace.leave(number);
                endNs = System.nanoTime();
                running.countDown();
            }
        }

        private void replay() throws BadInput, IOException, InterruptedException {
            // While this thread reads the trace it has entered nothing, so nobody who evicts a page waits for it.
            for (SharedTrace.Batch batch; !stopping && (batch = trace.next(number)) != null; ) {
                for (DeviceReplay device : devices) {
                    device.take(batch);
                }
                long before = AllocatedBytes.ofCurrentThread();
                if (lockstep()) {
                    replayInLockstep();
                } else {
                    replayFreely();
                }
                if (batch.first() > 0) {
                    allocated += AllocatedBytes.ofCurrentThread() - before;
                } else if (number == 0) {
                    // With the first batch the Java runtime links what is used for the first time: it does not count.
                    raisedBefore = queue.accounting().raised();
                    workerAllocatedBefore = AllocatedBytes.of(worker.thread());
                }
            }
        }

        /** Each device in turn, resting before the next has its. */
        private void replayInLockstep() {
            boolean done = false;
            while (!done && !stopping) {
                done = true;
                for (int i = 0; i < devices.size() && !stopping; i++) {
                    DeviceReplay device = devices.get(i);
                    if (!device.done()) {
                        enter(device);
                        boolean _ = device.advance(TURN_ENTRIES);
                        rest(device);
                        device.device().leave();
                        done &= device.done();
                    }
                }
                account();
            }
        }

        /** All devices at once, waiting only when none of them can move. */
        private void replayFreely() {
            for (DeviceReplay device : devices) {
                enter(device);
            }
            try {
                boolean done = false;
                for (int turn = 0; !done && !stopping; turn++) {
                    done = true;
                    boolean moved = false;
                    for (int i = 0; i < devices.size(); i++) {
                        DeviceReplay device = devices.get(i);
                        if (!device.done()) {
                            moved |= device.advance(TURN_ENTRIES);
                            done &= device.done();
                        }
                    }
                    account();
                    if (!done && !moved) {
                        awaitOne(turn);
                    }
                }
            } finally {
                for (DeviceReplay device : devices) {
                    device.device().leave();
                }
            }
        }

        private void account() {
            long total = 0;
            for (int i = 0; i < devices.size(); i++) {
                DeviceReplay device = devices.get(i);
                total += device.accesses();
                if (device.failed()) {
                    end();
                }
            }
            started.lazySet(total);
        }

        /** Waits until nothing of a device is under way. */
        private void rest(DeviceReplay device) {
            while (device.busy() && !stopping) {
                if (lockstepHasManyFaults()) {
                    int raised = device.raisedSince();
                    if (raised > 0) {
                        device.device().leave();
                        turnstile.let(raised, () -> queue.accounting().outstanding() == 0);
                        enter(device);
                    }
                }
                while (!device.settle() && !stopping) {
                    boolean _ = device.device().await(AWAIT_NS);
                }
            }
        }

        private void awaitOne(int turn) {
            long limitNs = devices.size() == 1 ? AWAIT_NS : AWAIT_ONE_OF_MANY_NS;
            for (int i = 0; i < devices.size(); i++) {
                DeviceReplay device = devices.get((turn + i) % devices.size());
                if (device.busy()) {
                    boolean _ = device.device().await(limitNs);
                    return;
                }
            }
        }

        private void enter(DeviceReplay device) {
            while (!device.device().enter()) {
                Pause.letOthersRun(); // the queue itself is in for a moment, to look after deadlines
            }
        }

        void join() {
            boolean interrupted = false;
            while (thread.isAlive()) {
                try {
                    thread.join(TimeUnit.SECONDS.toMillis(1));
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }
}
