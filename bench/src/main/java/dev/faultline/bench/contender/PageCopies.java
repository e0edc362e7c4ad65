package dev.faultline.bench.contender;

import dev.faultline.iommu.Access;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.AccessSink;
import dev.faultline.iommu.AddressSpace;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.TableFormat;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Pages of 4 KiB read at random out of 4 MiB: by a device, each through a hit in its TLB, or by a copy and nothing else. */
final class PageCopies extends OneThread {
    private static final int PAGES = 1024;
    private static final int PAGE_BYTES = 4096;
    private static final int PAGE_SHIFT = 12;
    private static final int WINDOW = 64;
    private static final int FRAMES = PAGES + 64;
    private static final long FIRST_ADDRESS = 0x7000_0000L;
    private static final int FACTOR = 405;
    private static final int STEP = 151;

    private final boolean throughDevice;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment buffer = arena.allocate(PAGE_BYTES, PAGE_BYTES);
    private final MemorySegment plain = arena.allocate((long) PAGES * PAGE_BYTES, PAGE_BYTES);
    private final Iommu iommu = Iommu.open(IommuConfig.small().withFrames(FRAMES));
    private final AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, null);
    private final Device device =
            iommu.device(DeviceConfig.plain("reader").withWindow(WINDOW).withTlbEntries(2 * PAGES));
    private final AccessSink sink = this::finished;
    private int page;
    private int failed;

    PageCopies(boolean throughDevice) {
        this.throughDevice = throughDevice;
        var _ = device.attach(space);
        for (int i = 0; i < PAGES; i++) {
            if (!space.zero(FIRST_ADDRESS + ((long) i << PAGE_SHIFT))) {
                throw new IllegalStateException("page=" + i + ": mapped already");
            }
        }
        plain.fill((byte) 1);
    }

    private void finished(long userTag, AccessResult result) {
        failed += result == AccessResult.OK ? 0 : 1;
    }

    @Override
    public void begin() {
        if (throughDevice && !device.enter()) {
            throw new IllegalStateException("another thread has entered the device");
        }
    }

    @Override
    public int request(int roundTrips) {
        return throughDevice ? reads(roundTrips) : copies(roundTrips);
    }

    /** Each page once in a round of all of them, at random. */
    private static int after(int page) {
        return page * FACTOR + STEP & PAGES - 1;
    }

    private int copies(int roundTrips) {
        int at = page;
        for (int i = 0; i < roundTrips; i++) {
            MemorySegment.copy(plain, (long) at << PAGE_SHIFT, buffer, 0, PAGE_BYTES);
            at = after(at);
        }
        page = at;
        return roundTrips;
    }

    private int reads(int roundTrips) {
        int at = page;
        for (int done = 0; done < roundTrips; ) {
            int n = Math.min(WINDOW, roundTrips - done);
            for (int i = 0; i < n; i++) {
                Result started = device.start(
                        Access.READ,
                        FIRST_ADDRESS + ((long) at << PAGE_SHIFT),
                        buffer,
                        0,
                        PAGE_BYTES,
                        FaultProducer.NO_PASID,
                        at);
                if (started != Result.OK) {
                    throw new IllegalStateException("started=" + started);
                }
                at = after(at);
            }
            for (int polled = 0; polled < n; ) {
                boolean moved = device.step();
                int now = device.poll(sink);
                if (!moved && now == 0) {
                    throw new IllegalStateException("nothing moves");
                }
                polled += now;
            }
            done += n;
        }
        page = at;
        return roundTrips;
    }

    @Override
    public void end() {
        if (throughDevice) {
            device.leave();
        }
        if (failed > 0) {
            throw new IllegalStateException("failed=" + failed);
        }
    }

    @Override
    public void close() {
        device.close();
        space.close();
        iommu.close();
        arena.close();
    }
}
