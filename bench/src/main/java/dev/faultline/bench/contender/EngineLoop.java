package dev.faultline.bench.contender;

import dev.faultline.ffm.PaddedBefore;
import dev.faultline.iommu.Access;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.AccessSink;
import dev.faultline.iommu.AddressSpace;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.TableFormat;
import dev.faultline.iommu.table.Translation;
import dev.faultline.ring.Answer;
import dev.faultline.ring.CompletionHandler;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import dev.faultline.ring.Waiting;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * The whole loop: a device reads 64 bytes of a page that is not there, and the handler makes it present.
 *
 * <p>Timed: both TLBs miss, the walk finds nothing, a page request becomes a group, the handler on the other thread maps the page and
 * answers, the device translates again and copies. Every access faults. The pages are there and wait to be mapped, as a pager has them
 * whose process has touched them already; or the handler maps a fresh one of zeroes.
 *
 * <p>Not timed: between two pieces the pages are unmapped again, all at once, and the device obeys the invalidation.
 */
final class EngineLoop implements Contest {

    /** Pages that are faulted in before they are unmapped again. */
    static final int PAGES = 256;

    /** The same where many faults are under way, so that the ends of a piece, where they are fewer, do not count. */
    static final int PAGES_OF_MANY = 2048;

    static final long FIRST_ADDRESS = 0x7000_0000L;
    static final int ACCESS_BYTES = 64;
    static final long PAGE_BYTES = 4096;

    private static final int LIMIT_ENTRIES = 256;
    private static final int FRAMES = 2 * PAGES_OF_MANY;
    private static final long USER_DATA = 1;

    private final int pages;
    private final int reads;
    private final Iommu iommu = Iommu.open(IommuConfig.small().withFrames(FRAMES));
    private final FaultQueue queue;
    private final AddressSpace space;
    private final Device device;
    private final Arena arena = Arena.ofShared();
    private final Accesses accesses;
    private final FaultConsumer consumer;
    private final CompletionHandler handler;
    private final long[] resident;
    private boolean hasPosted;

    /**
     * A loop.
     *
     * @param window accesses under way at once
     * @param zeroes whether the handler maps fresh pages of zeroes, and not those it has
     */
    EngineLoop(int window, boolean zeroes) {
        this.pages = pages(window);
        this.reads = Math.max(window, LIMIT_ENTRIES);
        this.queue =
                FaultQueue.open(QueueConfig.of(reads).withWaiting(Waiting.SPIN).withLanes(1));
        this.space = iommu.addressSpace(TableFormat.X86_4_LEVEL, queue);
        this.device = iommu.device(DeviceConfig.pri("lab").withWindow(window).withAllocation(window));
        this.accesses = new Alone(device, arena.allocate(ACCESS_BYTES, ACCESS_BYTES), window, pages);
        this.consumer = queue.consumer();
        this.resident = new long[zeroes ? 0 : pages];
        for (int page = 0; page < resident.length; page++) {
            resident[page] = iommu.frames().allocate();
        }
        this.handler = zeroes ? new Zeroes(space, consumer) : new Resident(space, consumer, resident);
        var _ = device.attach(space);
    }

    /** How many pages are faulted in at a time. */
    static int pages(int window) {
        return window == 1 ? PAGES : PAGES_OF_MANY;
    }

    @Override
    public void begin() {
        if (!device.enter()) {
            throw new IllegalStateException("another thread has entered the device");
        }
    }

    @Override
    public void prepare() {
        int faults = accesses.restart();
        boolean wasMapped = space.unmap(FIRST_ADDRESS, pages * PAGE_BYTES);
        if (wasMapped != faults > 0) {
            throw new IllegalStateException("wasMapped=" + wasMapped + " after faults=" + faults);
        }
        boolean moved = device.step();
        assert !moved || wasMapped;
    }

    @Override
    public int request(int roundTrips) {
        return accesses.request(roundTrips);
    }

    @Override
    public void end() {
        device.leave();
    }

    @Override
    public void respond(StopFlag stop) {
        if (!hasPosted) {
            expectOk(consumer.post(USER_DATA, reads));
            hasPosted = true;
        }
        FaultConsumer end = consumer;
        CompletionHandler maps = handler;
        while (true) {
            if (end.poll(maps, LIMIT_ENTRIES) == 0) {
                if (stop.isRaised()) {
                    return;
                }
                Thread.onSpinWait();
            }
        }
    }

    @Override
    public void endResponding() {
        consumer.close();
    }

    /** The requester's side: what it writes with every access. */
    private abstract static class Accesses extends PaddedBefore implements AccessSink {
        private final Device device;
        private final MemorySegment buffer;
        private final int window;
        private final int pages;
        private int nextPage;
        private int finished;

        Accesses(Device device, MemorySegment buffer, int window, int pages) {
            this.device = device;
            this.buffer = buffer;
            this.window = window;
            this.pages = pages;
        }

        int restart() {
            int faults = nextPage;
            nextPage = 0;
            finished = 0;
            return faults;
        }

        int request(int roundTrips) {
            if (nextPage + roundTrips > pages) {
                throw new IllegalArgumentException("roundTrips=" + roundTrips + ": pages left=" + (pages - nextPage));
            }
            int target = nextPage + roundTrips;
            while (finished != target) {
                while (nextPage < target && nextPage - finished < window) {
                    expectOk(device.start(
                            Access.READ,
                            FIRST_ADDRESS + nextPage * PAGE_BYTES,
                            buffer,
                            0,
                            ACCESS_BYTES,
                            FaultProducer.NO_PASID,
                            nextPage));
                    nextPage++;
                }
                if (!device.step()) {
                    Thread.onSpinWait();
                }
                int polled = device.poll(this);
                assert polled <= window;
            }
            return roundTrips;
        }

        @Override
        public void finished(long userTag, AccessResult result) {
            // One after the other, or in any order.
            if (result != AccessResult.OK || (window == 1 && userTag != nextPage - 1)) {
                throw new IllegalStateException("page=" + userTag + " result=" + result);
            }
            finished++;
        }
    }

    @SuppressWarnings("unused") // they are there to take room
    private static final class Alone extends Accesses {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(Device device, MemorySegment buffer, int window, int pages) {
            super(device, buffer, window, pages);
        }
    }

    /** The responder's side: maps pages it has. */
    private static final class Resident implements CompletionHandler {
        private final AddressSpace space;
        private final FaultConsumer consumer;
        private final long[] frames;

        Resident(AddressSpace space, FaultConsumer consumer, long[] frames) {
            this.space = space;
            this.consumer = consumer;
            this.frames = frames;
        }

        @Override
        public void group(long userData, FaultGroup group) {
            long address = group.address(0);
            int page = (int) ((address - FIRST_ADDRESS) / PAGE_BYTES);
            if (!space.map(address, frames[page], PAGE_BYTES, Translation.RIGHTS)) {
                throw new IllegalStateException("mapped already: " + group);
            }
            expectOk(consumer.answerAndRepost(group.cookie(), Answer.SUCCESS));
        }
    }

    /** The responder's side: maps fresh pages. */
    private record Zeroes(AddressSpace space, FaultConsumer consumer) implements CompletionHandler {

        @Override
        public void group(long userData, FaultGroup group) {
            if (!space.zero(group.address(0))) {
                throw new IllegalStateException("mapped already: " + group);
            }
            expectOk(consumer.answerAndRepost(group.cookie(), Answer.SUCCESS));
        }
    }

    private static void expectOk(Result result) {
        if (result != Result.OK) {
            throw new IllegalStateException("result=" + result);
        }
    }

    @Override
    public void close() {
        device.close();
        space.close();
        for (long frame : resident) {
            iommu.frames().free(frame);
        }
        queue.close();
        iommu.close();
        arena.close();
    }
}
