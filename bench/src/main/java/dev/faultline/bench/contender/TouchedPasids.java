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
import dev.faultline.ring.Result;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Accesses of 8 bytes by devices whose PASIDs are all attached to one address space: 16 devices that know 65,536 PASIDs each and use 64, one after the other,
 * or one device that knows one.
 */
final class TouchedPasids extends OneThread {
    private static final int WINDOW = 64;
    private static final int PASID_STRIDE = 1021;
    private static final int BYTES = Long.BYTES;
    private static final long ADDRESS = 0x7000_0000L;

    private final Arena arena = Arena.ofShared();
    private final MemorySegment buffer = arena.allocate(BYTES, BYTES);
    private final Iommu iommu = Iommu.open(IommuConfig.small().withIotlbEntries(1 << 13));
    private final AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, null);
    private final Device[] devices;
    private final int touched;
    private final AccessSink sink = this::finished;
    private int next;
    private int failed;

    /**
     * Attaches.
     *
     * @param devices how many
     * @param known PASIDs that each has attached
     * @param touched PASIDs that each uses
     */
    TouchedPasids(int devices, int known, int touched) {
        this.touched = touched;
        this.devices = new Device[devices];
        if (!space.zero(ADDRESS)) {
            throw new IllegalStateException("mapped already");
        }
        for (int i = 0; i < devices; i++) {
            Device device = iommu.device(DeviceConfig.plain("d" + i).withWindow(WINDOW));
            this.devices[i] = device;
            for (int pasid = 0; pasid < known; pasid++) {
                var _ = device.attach(space, pasid);
            }
        }
    }

    private void finished(long userTag, AccessResult result) {
        failed += result == AccessResult.OK ? 0 : 1;
    }

    @Override
    public void begin() {
        for (Device device : devices) {
            if (!device.enter()) {
                throw new IllegalStateException("another thread has entered " + device);
            }
        }
    }

    @Override
    public int request(int roundTrips) {
        for (int done = 0; done < roundTrips; done += WINDOW) {
            Device device = devices[next];
            next = next + 1 == devices.length ? 0 : next + 1;
            for (int i = 0; i < WINDOW; i++) {
                int pasid = i % touched * PASID_STRIDE;
                if (device.start(Access.READ, ADDRESS, buffer, 0, BYTES, pasid, i) != Result.OK) {
                    throw new IllegalStateException("the window is full");
                }
            }
            for (int polled = 0; polled < WINDOW; ) {
                boolean moved = device.step();
                int now = device.poll(sink);
                if (!moved && now == 0) {
                    throw new IllegalStateException("nothing moves");
                }
                polled += now;
            }
        }
        return roundTrips;
    }

    @Override
    public void end() {
        for (Device device : devices) {
            device.leave();
        }
        if (failed > 0) {
            throw new IllegalStateException("failed=" + failed);
        }
    }

    @Override
    public void close() {
        for (Device device : devices) {
            device.close();
        }
        space.close();
        iommu.close();
        arena.close();
    }
}
