package dev.faultline.examples.replay;

import dev.faultline.examples.BadInput;
import dev.faultline.iommu.AddressSpace;
import dev.faultline.iommu.Counters;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.TableFormat;
import dev.faultline.ring.Answer;
import dev.faultline.ring.AnswerSink;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.FaultWorker;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
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
 * Raises a recorded fault stream again: the same devices, PASIDs, groups and addresses in the same order, as fast as the
 * same {@link Pager} answers. No device touches a page here, so a page asked for a second time may still be there.
 */
final class FaultStreamReplay implements Replay {
    private static final long AWAIT_NS = 1_000_000;
    private static final long LONGEST_LATENCY_NS = TimeUnit.HOURS.toNanos(1);
    private static final int BITS_OF_PASID = 21;

    private final ReplayConfig config;
    private final TraceInput input;
    private final @Nullable FaultRecorder recorder;
    private final FaultRecord.Reader reader;
    private final BackingStore store;
    private final FaultQueue queue;
    private final Iommu iommu;
    private final BySource spaces = new BySource();
    private final Pager pager;
    private final FaultWorker worker;
    private final long workerAllocatedBefore;
    private final Thread thread = Thread.ofPlatform().name("replay").daemon().unstarted(this::run);
    private final CountDownLatch running = new CountDownLatch(1);
    private final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
    private final AtomicLong raised = new AtomicLong();
    private final Histogram latency = new Histogram(LONGEST_LATENCY_NS, 3);
    private volatile boolean stopping;
    private volatile boolean cutShort;
    private volatile boolean ended;
    private long startNs;
    private long endNs;
    private long refused;

    FaultStreamReplay(ReplayConfig config, TraceInput input, @Nullable FaultRecorder recorder) {
        this.config = config;
        this.input = input;
        this.recorder = recorder;
        reader = new FaultRecord.Reader(input.text(), input.name());
        store = new BackingStore(config.seed());
        queue = FaultQueue.open(QueueConfig.of(config.window())
                .withLargestGroup(FaultRecord.LARGEST_GROUP)
                .withDeadlineNs(config.deadlineNs())
                .withWaiting(config.waiting())
                .withLanes(1));
        iommu = Iommu.open(IommuConfig.small().withFrames(config.frames() + config.tableFrames()));
        Turnstile turnstile = new Turnstile(config.waiting());
        turnstile.open();
        pager = new Pager(
                spaces, config.frames(), store, System.nanoTime(), turnstile, recorder, () -> fail(pagerFailure()));
        worker = queue.consumer().run(pager);
        workerAllocatedBefore = AllocatedBytes.of(worker.thread());
    }

    @Override
    public void start() {
        startNs = System.nanoTime();
        endNs = startNs;
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
        thread.interrupt();
    }

    private void fail(Throwable t) {
        boolean _ = failure.compareAndSet(null, t);
        stopping = true;
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
        long groups = raised.get();
        double fraction = input.sizeBytes() > 0 ? (double) input.consumedBytes() / input.sizeBytes() : Double.NaN;
        return new Progress(groups, groups, fraction);
    }

    private void run() {
        try {
            raiseAll();
            ended = !stopping;
        } catch (BadInput | IOException | RuntimeException | Error e) {
            if (!stopping) {
                fail(e);
            }
        } finally {
            endNs = System.nanoTime();
            running.countDown();
        }
    }

    private void raiseAll() throws BadInput, IOException {
        Raiser raiser = new Raiser();
        try (FaultProducer producer = queue.producer(config.window(), raiser)) {
            while (!producer.enter()) {
                Pause.letOthersRun();
            }
            try {
                FaultRecord next;
                while (!stopping && raised.get() < config.limit() && (next = reader.next()) != null) {
                    raiser.raise(producer, next);
                    raised.lazySet(raised.get() + 1);
                }
                raiser.awaitOpen(producer, 0);
            } finally {
                producer.leave();
            }
        }
    }

    @Override
    public ReplayReport report() {
        var accounting = queue.accounting();
        return new ReplayReport(
                config,
                input.name(),
                true,
                ended,
                raised.get(),
                spaces.all.size(),
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                pager.mapped(),
                pager.restored(),
                pager.evictions(),
                pager.writtenBack(),
                recorder == null ? 0 : recorder.groups(),
                Counters.ZERO,
                accounting,
                latency,
                (endNs - startNs) / 1e9,
                // The reader makes objects of the lines: only what serves them is measured.
                accounting.raised() == 0
                        ? null
                        : (double) Math.max(0, AllocatedBytes.of(worker.thread()) - workerAllocatedBefore)
                                / accounting.raised(),
                null,
                refused == 0 || cutShort || !ended ? null : refused + " groups were answered INVALID",
                null);
    }

    @Override
    public void close() {
        stopping = true;
        thread.interrupt();
        while (thread.isAlive()) {
            Thread.onSpinWait();
        }
        worker.close();
        iommu.close();
        queue.close();
        store.close();
    }

    /** The device's half: up to a window of groups open, each with the time it was raised at. */
    private final class Raiser implements AnswerSink {
        private final long[] raisedAtNs = new long[config.window()];
        private final int[] freeTags = new int[config.window()];
        private int free = config.window();

        Raiser() {
            for (int i = 0; i < freeTags.length; i++) {
                freeTags[i] = i;
            }
        }

        void raise(FaultProducer producer, FaultRecord group) {
            awaitOpen(producer, config.window() - 1);
            if (stopping) {
                return;
            }
            int tag = freeTags[--free];
            raisedAtNs[tag] = System.nanoTime();
            int size = group.addresses().length;
            for (int i = 0; i < size; i++) {
                Result result = producer.raise(
                        tag,
                        group.device(),
                        group.pasid(),
                        group.group(),
                        group.addresses()[i],
                        group.access()[i],
                        i == size - 1);
                if (result != Result.OK) {
                    throw new IllegalStateException("raise: " + result);
                }
            }
            int _ = producer.poll();
        }

        void awaitOpen(FaultProducer producer, int most) {
            while (config.window() - free > most && !stopping) {
                if (producer.poll() == 0) {
                    boolean _ = producer.await(AWAIT_NS);
                }
            }
        }

        @Override
        public void answered(long tag, Answer code) {
            latency.recordValue(Math.min(System.nanoTime() - raisedAtNs[(int) tag], LONGEST_LATENCY_NS));
            freeTags[free++] = (int) tag;
            if (code != Answer.SUCCESS) {
                refused++;
            }
        }
    }

    /** An address space for each device and PASID, made by the worker when it first asks for a page. */
    private final class BySource implements Pager.Spaces {
        private final PageIndex numbers = new PageIndex(16);
        private final List<AddressSpace> all = new ArrayList<>();

        @Override
        public int number(FaultGroup group, int request) {
            long pasid = group.hasPasid(request) ? group.pasid(request) + 1L : 0;
            long source = (long) group.device() << BITS_OF_PASID | pasid;
            int number = numbers.get(source);
            if (number == PageIndex.NONE) {
                number = all.size();
                all.add(iommu.addressSpace(TableFormat.X86_4_LEVEL, null));
                numbers.add(source, number);
            }
            return number;
        }

        @Override
        public AddressSpace space(int number) {
            return all.get(number);
        }
    }
}
