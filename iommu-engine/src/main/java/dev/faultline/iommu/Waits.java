package dev.faultline.iommu;

import dev.faultline.iommu.tlb.Station;
import dev.faultline.iommu.tlb.Stations;
import dev.faultline.ring.FaultProducer;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;

/**
 * Waiting for a device: until a step moves something, until an access has ended, until page requests are drained. Nobody who unmaps
 * waits for a thread that waits here.
 */
final class Waits {
    /** Requests by other threads wake no lane, so they are looked for so often. */
    private static final long SLICE_NS = 1_000_000;

    private final Device device;
    private final Iommu iommu;
    private final DeviceGate gate;
    private final Window window;
    private final PageRequestPort port;
    private final PageRequests requests;

    /** A lane without open groups is polled once in so many steps: others may want something done there. */
    private static final int IDLE_STEPS = 16;

    private int steps;

    Waits(Device device, Iommu iommu, DeviceGate gate, Window window, PageRequestPort port, PageRequests requests) {
        this.device = device;
        this.iommu = iommu;
        this.gate = gate;
        this.window = window;
        this.port = port;
        this.requests = requests;
    }

    /** Whether this step polls every lane. */
    boolean pollsAll() {
        return ++steps % IDLE_STEPS == 0;
    }

    /** The next step polls every lane, and reads the time. */
    private void waited() {
        steps = -1;
        requests.waited();
    }

    boolean canMove() {
        return window.count(Window.READY) > 0 || gate.hasControls() || requests.canMove();
    }

    /** Until a step would move something. */
    boolean forMove(long limitNs) {
        Station mine = gate.entered();
        if (canMove()) {
            return true;
        }
        mine.goOffline();
        try {
            long start = System.nanoTime();
            while (true) {
                long left = limitNs - (System.nanoTime() - start);
                if (left <= 0) {
                    return false;
                }
                waited();
                if (slice(port.producers(), left) || canMove()) {
                    return true;
                }
            }
        } finally {
            mine.goOnline();
        }
    }

    /** Until a step of any of them would move something, or an access has ended. */
    static boolean forAny(List<Waits> devices, long limitNs) {
        long start = System.nanoTime();
        List<FaultProducer> producers = new ArrayList<>();
        for (Waits each : devices) {
            var _ = each.gate.entered();
            producers.addAll(each.port.producers());
            each.waited();
        }
        while (true) {
            for (Waits each : devices) {
                if (each.window.doneCount() > 0 || each.canMove()) {
                    return true;
                }
            }
            long left = limitNs - (System.nanoTime() - start);
            if (left <= 0) {
                return false;
            }
            Station mine = devices.getFirst().gate.entered();
            mine.goOffline();
            try {
                if (slice(producers, left)) {
                    return true;
                }
            } finally {
                mine.goOnline();
            }
        }
    }

    private static boolean slice(List<FaultProducer> producers, long limitNs) {
        long slice = Math.min(limitNs, SLICE_NS);
        if (producers.isEmpty()) {
            LockSupport.parkNanos(slice);
            return false;
        }
        return FaultProducer.awaitAny(producers, slice);
    }

    /** Until the requests of a PASID are where they have to be. */
    boolean forDrain(int pasid, Drain until, long limitNs) {
        long start = System.nanoTime();
        boolean[] drained = new boolean[1];
        for (int turn = 0; ; turn++) {
            gate.perform(() -> drained[0] = requests.drained(pasid, until));
            if (drained[0]) {
                return true;
            }
            if (System.nanoTime() - start > limitNs) {
                return false;
            }
            if (!gate.isEntered()) {
                Stations.pause(turn);
            } else if (!device.step()) {
                var _ = forMove(Math.min(limitNs, SLICE_NS));
            }
        }
    }

    /** Does an access, entering the device for it if need be. */
    void transfer(Access access, long address, MemorySegment buffer, int pasid) {
        long bytes = buffer.byteSize();
        if (bytes == 0) {
            return;
        }
        check(address, bytes);
        boolean enters = !gate.mine();
        if (enters) {
            enterSoon(address, pasid, access);
        }
        int slot = window.blocking;
        AccessResult result;
        long stoppedAt;
        try {
            if (gate.closed()) {
                throw new AccessFault(address, device.name(), pasid, access, AccessResult.CLOSED);
            }
            if (window.state(slot) != Window.FREE) {
                throw new IllegalStateException(
                        device + ": a blocking access is under way; do not block inside step()");
            }
            window.begin(slot, access, address, buffer, 0, bytes, pasid, 0);
            while (window.state(slot) != Window.DONE) {
                if (!device.step() && window.state(slot) != Window.DONE) {
                    var _ = forMove(SLICE_NS);
                }
            }
            result = window.at(slot).result;
            stoppedAt = window.at(slot).address;
            window.release(slot);
        } finally {
            if (enters) {
                device.leave();
            }
        }
        if (result != AccessResult.OK) {
            throw new AccessFault(stoppedAt, device.name(), pasid, access, result);
        }
    }

    private void enterSoon(long address, int pasid, Access access) {
        long start = System.nanoTime();
        for (int turn = 0; !gate.enter(); turn++) {
            if (gate.closed()) {
                throw new AccessFault(address, device.name(), pasid, access, AccessResult.CLOSED);
            }
            if (System.nanoTime() - start > iommu.config().limitNs()) {
                throw new IllegalStateException(device + " was entered by thread \"" + gate.ownerName() + "\"");
            }
            Station own = iommu.stations().current();
            if (own != null) {
                own.quiesce();
            }
            Stations.pause(turn);
        }
    }

    static void check(long address, long bytes) {
        if (bytes < 1) {
            throw new IllegalArgumentException("bytes=" + bytes + ": allowed 1 or more");
        }
        if (Long.compareUnsigned(address + (bytes - 1), address) < 0) {
            throw new IllegalArgumentException("bytes=" + bytes + ": 0x" + Long.toHexString(address)
                    + " and so many bytes go round the end of all addresses");
        }
    }
}
