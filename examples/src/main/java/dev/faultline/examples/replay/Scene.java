package dev.faultline.examples.replay;

import dev.faultline.iommu.AddressSpace;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.LatencySink;
import dev.faultline.iommu.TableFormat;
import dev.faultline.ring.Accounting;
import dev.faultline.ring.Clock;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntFunction;
import org.HdrHistogram.Histogram;
import org.jspecify.annotations.Nullable;

/**
 * What a trace is replayed on: an IOMMU, a fault queue, and devices, each attached to an address space of its own by the PASID
 * that is its number.
 *
 * <p>Threads: made and closed by one; closed after whoever uses it has stopped.
 */
final class Scene implements Pager.Spaces, AutoCloseable {
    private static final int TLB_ENTRIES = 64;
    private static final int LEAST_READS = 16;

    /** How long a device waits for a response that may be lost. */
    private static final long DISASTER_LIMIT_NS = 20_000_000;

    /** How long a driver waits for a device's TLB. */
    private static final long TLB_LIMIT_NS = 100_000;

    final FaultQueue queue;
    final Iommu iommu;

    /** In the order of their numbers, which begin at 1. */
    final List<DeviceReplay> devices = new ArrayList<>();

    /** By number. */
    private final AddressSpace[] spaces;

    /**
     * Sets it up.
     *
     * @param latencies takes the fault latencies of the device with a number
     */
    Scene(ReplayConfig config, Clock clock, IntFunction<LatencySink> latencies) {
        queue = FaultQueue.open(QueueConfig.of(Math.max(LEAST_READS, config.window()))
                .withLargestGroup(config.group())
                .withDeadlineNs(config.deadlineNs())
                .withWaiting(config.waiting())
                .withLanes(config.devices())
                .withClock(clock));
        iommu = Iommu.open(IommuConfig.small()
                .withFrames(config.frames() + config.tableFrames())
                .withStations(config.deviceThreads() + 1)
                .withClock(clock));
        spaces = new AddressSpace[config.devices() + 1];
        for (int number = 1; number <= config.devices(); number++) {
            spaces[number] = iommu.addressSpace(TableFormat.X86_4_LEVEL, queue);
            DeviceConfig pri = DeviceConfig.pri("replay-" + number);
            Device device = iommu.device(
                    pri.withRequestLimitNs(config.disaster() == null ? pri.requestLimitNs() : DISASTER_LIMIT_NS)
                            .withId(number)
                            .withWindow(config.window())
                            .withAllocation(config.window() * config.group())
                            .withGroupPages(config.group())
                            .withTlbEntries(TLB_ENTRIES)
                            .withLatency(latencies.apply(number)));
            device.ats().timeOut(TLB_LIMIT_NS, clock::nowNs);
            device.attach(spaces[number], number);
            devices.add(new DeviceReplay(device, number, config.seed(), config.window(), config.disaster()));
        }
    }

    @Override
    public int number(FaultGroup group, int request) {
        return group.pasid(request);
    }

    @Override
    public AddressSpace space(int number) {
        return spaces[number];
    }

    @Override
    public void close() {
        iommu.close();
        queue.close();
        devices.forEach(DeviceReplay::close);
    }

    /**
     * What came out of a replay on it.
     *
     * @param atTheEnd whether it went to the end, as far as whoever ran it knows
     */
    ReplayReport report(
            ReplayConfig config,
            TraceInput input,
            boolean atTheEnd,
            long traceAccesses,
            Pager pager,
            @Nullable FaultRecorder recorder,
            Accounting accounting,
            Histogram latency,
            double elapsedS,
            @Nullable Double bytesPerFault,
            ReplayReport.@Nullable Virtual virtual) {
        long loads = 0;
        long stores = 0;
        long verified = 0;
        long stored = 0;
        long restarts = 0;
        long tlbTimeOuts = 0;
        long pages = 0;
        Mismatch mismatch = null;
        String refused = null;
        for (DeviceReplay device : devices) {
            loads += device.loads();
            stores += device.stores();
            verified += device.verifiedBytes();
            stored += device.storedBytes();
            restarts += device.restarts();
            tlbTimeOuts += device.tlbTimeOuts();
            pages += device.pages();
            mismatch = mismatch == null ? device.mismatch() : mismatch;
            refused = refused == null ? device.refused() : refused;
        }
        return new ReplayReport(
                config,
                input.name(),
                false,
                atTheEnd && mismatch == null && refused == null,
                traceAccesses,
                config.devices(),
                loads,
                stores,
                verified,
                stored,
                restarts,
                tlbTimeOuts,
                pages,
                pager.mapped(),
                pager.restored(),
                pager.evictions(),
                pager.writtenBack(),
                recorder == null ? 0 : recorder.groups(),
                iommu.counters(),
                accounting,
                latency,
                elapsedS,
                bytesPerFault,
                mismatch,
                refused,
                virtual);
    }
}
