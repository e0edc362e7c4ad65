package dev.faultline.examples.replay;

import dev.faultline.examples.BadInput;
import dev.faultline.iommu.SeededSchedule;
import dev.faultline.ring.Answer;
import dev.faultline.ring.CompletionHandler;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.Result;
import dev.faultline.ring.Waiting;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.HdrHistogram.Histogram;
import org.jspecify.annotations.Nullable;

/**
 * Devices replay a trace in virtual time: one thread steps them and serves their faults, in an order and at moments that the seed
 * decides. Some answers come late, and not in the order of the faults. The same seed gives the same run.
 */
final class VirtualReplay implements Replay {
    /** Accesses that a device starts in a turn, at most. */
    private static final int TURN_ENTRIES = 64;
    /** Groups that the pager serves in a turn, at most. */
    private static final int TURN_GROUPS = 4;
    /** What serving a group takes at most. */
    private static final int LONGEST_SERVICE_NS = 20_000;
    /** One in so many answers comes later than it could. */
    private static final int LATER_SHARE = 8;

    /** In one of so many turns a late answer is given. */
    private static final int LATE_SHARE = 16;

    /** A piece of the trace that takes longer than this is one that will never end. */
    private static final long LIMIT_NS = TimeUnit.HOURS.toNanos(3);

    private static final long LONGEST_LATENCY_NS = TimeUnit.DAYS.toNanos(2);
    private static final long READS = 1;

    private final ReplayConfig config;
    private final TraceInput input;
    private final @Nullable FaultRecorder recorder;
    private final SharedTrace trace;
    private final BackingStore store;
    private final SeededSchedule schedule;
    private final Scene scene;
    private final Pager pager;
    private final FaultConsumer consumer;
    private final Histogram latency = new Histogram(LONGEST_LATENCY_NS, 3);
    private final List<Integer> late = new ArrayList<>();
    private final Thread thread;
    private final CountDownLatch running = new CountDownLatch(1);
    private final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
    private final AtomicLong started = new AtomicLong();
    private volatile boolean stopping;
    private volatile boolean cutShort;
    private volatile double elapsedS;

    private final CompletionHandler serving = this::serve;

    VirtualReplay(ReplayConfig config, TraceInput input, @Nullable FaultRecorder recorder) {
        this.config = config;
        this.input = input;
        this.recorder = recorder;
        trace = new SharedTrace(new TraceReader(input.text(), input.name()), config.limit(), 1);
        store = new BackingStore(config.seed());
        schedule = new SeededSchedule(config.seed());
        scene = new Scene(config, schedule.clock(), number -> this::faulted);
        consumer = scene.queue.consumer();
        Turnstile open = new Turnstile(Waiting.SPIN);
        open.open();
        pager = new Pager(scene, config.frames(), store, schedule.nowNs(), open, recorder, () -> stopping = true);
        scene.devices.forEach(device -> schedule.add(() -> advance(device)));
        schedule.add(() -> consumer.poll(serving, 1 + schedule.pick(TURN_GROUPS)) > 0);
        schedule.add(this::answerLate);
        thread = Thread.ofPlatform().name("replay").daemon().unstarted(this::run);
    }

    private boolean advance(DeviceReplay device) {
        return !device.done() && device.advance(1 + schedule.pick(TURN_ENTRIES));
    }

    private void serve(long userData, FaultGroup group) {
        schedule.spend(schedule.pick(LONGEST_SERVICE_NS));
        Answer answer = pager.handle(group);
        if (answer == Answer.SUCCESS && schedule.pick(LATER_SHARE) == 0) {
            late.add(group.cookie());
            answer = Answer.LATER;
        }
        // Stale if the deadline was first.
        Result _ = consumer.answerAndRepost(group.cookie(), answer);
    }

    /** Answers one of those that were left for later, not the oldest first. */
    private boolean answerLate() {
        if (late.isEmpty() || schedule.pick(LATE_SHARE) != 0) {
            return false;
        }
        Collections.swap(late, schedule.pick(late.size()), late.size() - 1);
        int cookie = late.removeLast();
        Result _ = consumer.answer(cookie, Answer.SUCCESS);
        return true;
    }

    private void faulted(long ns) {
        latency.recordValue(Math.min(ns, LONGEST_LATENCY_NS));
    }

    private void run() {
        long startNs = System.nanoTime();
        try {
            replay();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt(); // only ever by stop(), which knows why
        } catch (BadInput | IOException | RuntimeException | Error e) {
            if (!stopping) {
                failure.set(e);
            }
        } finally {
            if (pager.failure() != null) {
                failure.set(pager.failure());
            }
            elapsedS = (System.nanoTime() - startNs) / 1e9;
            running.countDown();
        }
    }

    private void replay() throws BadInput, IOException, InterruptedException {
        for (DeviceReplay device : scene.devices) {
            if (!device.device().enter()) {
                throw new IllegalStateException(device.device() + " was entered by somebody else");
            }
        }
        try {
            Result posted = consumer.post(READS, scene.queue.config().entries());
            if (posted != Result.OK) {
                throw new IllegalStateException("post: " + posted);
            }
            for (SharedTrace.Batch batch; !stopping && (batch = trace.next(0)) != null; ) {
                for (DeviceReplay device : scene.devices) {
                    device.take(batch);
                }
                if (!schedule.runUntil(this::batchDone, LIMIT_NS)) {
                    throw new IllegalStateException("seed=" + config.seed() + ": nothing moves at " + schedule.nowNs()
                            + " ns: " + scene.queue.dump());
                }
            }
        } finally {
            for (DeviceReplay device : scene.devices) {
                device.device().leave();
            }
            consumer.close();
        }
    }

    private boolean batchDone() {
        boolean done = late.isEmpty();
        long total = 0;
        for (DeviceReplay device : scene.devices) {
            done &= device.done();
            total += device.accesses();
            stopping |= device.failed();
        }
        started.lazySet(total);
        return done || stopping;
    }

    @Override
    public void start() {
        thread.start();
    }

    @Override
    public boolean await(long ms) throws InterruptedException {
        return running.await(ms, TimeUnit.MILLISECONDS);
    }

    @Override
    public void stop() {
        cutShort = true;
        stopping = true;
        thread.interrupt(); // it may wait for a silent standard input
    }

    @Override
    public Progress progress() {
        double fraction = input.sizeBytes() > 0 ? (double) input.consumedBytes() / input.sizeBytes() : Double.NaN;
        if (config.limit() < Long.MAX_VALUE) {
            fraction = Math.max(Double.isNaN(fraction) ? 0 : fraction, (double) trace.accesses() / config.limit());
        }
        return new Progress(started.get(), latency.getTotalCount(), fraction);
    }

    @Override
    public @Nullable Throwable failure() {
        return failure.get();
    }

    @Override
    public ReplayReport report() {
        return scene.report(
                config,
                input,
                !cutShort && failure.get() == null,
                trace.accesses(),
                pager,
                recorder,
                scene.queue.accounting(),
                latency,
                elapsedS,
                null,
                new ReplayReport.Virtual(schedule.nowNs(), schedule.acts(), schedule.order()));
    }

    @Override
    public void close() {
        stopping = true;
        thread.interrupt();
        boolean interrupted = false;
        while (thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        scene.close();
        store.close();
    }
}
