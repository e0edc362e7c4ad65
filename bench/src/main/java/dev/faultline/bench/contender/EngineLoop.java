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
 * The whole loop at window 1: a device reads 64 bytes of a page that is not there.
 *
 * <p>Timed: both TLBs miss, the walk finds nothing, a page request becomes a group, the handler on the other thread maps a zeroed page and
 * answers, the device translates again and copies. Every access faults.
 *
 * <p>Not timed: between two pieces the pages are unmapped again, all at once, and the device obeys the invalidation.
 */
final class EngineLoop implements Contest {

    /** Pages that are faulted in, one after the other, before they are unmapped again. */
    static final int PAGES = 256;

    private static final int ENTRIES = 256;
    private static final int LIMIT_ENTRIES = 256;
    private static final long PAGE_BYTES = 4096;
    private static final long FIRST_ADDRESS = 0x7000_0000L;
    private static final int ACCESS_BYTES = 64;
    private static final long USER_DATA = 1;

    private final Iommu iommu = Iommu.open(IommuConfig.small());
    private final FaultQueue queue =
            FaultQueue.open(QueueConfig.of(ENTRIES).withWaiting(Waiting.SPIN).withLanes(1));
    private final AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, queue);
    private final Device device = iommu.device(DeviceConfig.pri("lab"));
    private final Arena arena = Arena.ofShared();
    private final Accesses accesses = new Alone(device, arena.allocate(ACCESS_BYTES, ACCESS_BYTES));
    private final FaultConsumer consumer = queue.consumer();
    private final Pages pages = new Pages(space, consumer);
    private boolean hasPosted;

    EngineLoop() {
        device.attach(space);
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
        boolean wasMapped = space.unmap(FIRST_ADDRESS, PAGES * PAGE_BYTES);
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
            expectOk(consumer.post(USER_DATA, ENTRIES));
            hasPosted = true;
        }
        FaultConsumer end = consumer;
        Pages handler = pages;
        while (true) {
            if (end.poll(handler, LIMIT_ENTRIES) == 0) {
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
        private int nextPage;
        private int finished;

        Accesses(Device device, MemorySegment buffer) {
            this.device = device;
            this.buffer = buffer;
        }

        int restart() {
            int faults = nextPage;
            nextPage = 0;
            return faults;
        }

        int request(int roundTrips) {
            if (nextPage + roundTrips > PAGES) {
                throw new IllegalArgumentException("roundTrips=" + roundTrips + ": pages left=" + (PAGES - nextPage));
            }
            int target = finished;
            for (int i = 0; i < roundTrips; i++) {
                expectOk(device.start(
                        Access.READ,
                        FIRST_ADDRESS + nextPage * PAGE_BYTES,
                        buffer,
                        0,
                        ACCESS_BYTES,
                        FaultProducer.NO_PASID,
                        nextPage));
                nextPage++;
                target++;
                while (finished != target) {
                    if (!device.step()) {
                        Thread.onSpinWait();
                    }
                    int polled = device.poll(this);
                    assert polled <= 1;
                }
            }
            return roundTrips;
        }

        @Override
        public void finished(long userTag, AccessResult result) {
            if (result != AccessResult.OK || userTag != nextPage - 1) {
                throw new IllegalStateException("page=" + userTag + " result=" + result);
            }
            finished++;
        }
    }

    @SuppressWarnings("unused") // they are there to take room
    private static final class Alone extends Accesses {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(Device device, MemorySegment buffer) {
            super(device, buffer);
        }
    }

    /** The responder's side: makes pages present. */
    private record Pages(AddressSpace space, FaultConsumer consumer) implements CompletionHandler {

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
        queue.close();
        iommu.close();
        arena.close();
    }
}
