package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.iommufd.vtd.Vtd;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Function;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The engine's own IOMMU and devices behind {@code /dev/iommu}: what a program maps is what devices read and write, what it attaches is
 * what they translate through, and their faults come out of its fault queues.
 *
 * <p>Which page tables there are, and what guests have, is the affair of an {@link Architecture}: VT-d's ({@link
 * dev.faultline.iommu.iommufd.vtd.Vtd}) unless another is asked for, as Arm's ({@link dev.faultline.iommu.iommufd.smmuv3.Smmuv3}).
 *
 * <p>Threads: any; devices are stepped by the caller's. Ownership: who opens it closes it, after the processes that use it. Memory that
 * a program maps for devices is native, whole pages, and open until it is unmapped; a program's heap memory is a bad address here,
 * because page tables in it could not be read a word at a time.
 */
public final class EngineDriver implements Driver {
    /** VT-d's data of a nested page table: flags, where its root is in the parent's input, and the address width, 48. */
    public static final int VTD_S1 = 1;

    /** VT-d's type of a guest's IOMMU, of its events, of its invalidations, and of what is told of the hardware. */
    public static final int VIOMMU_TYPE = 0x464c;

    private final Iommu iommu;
    private final Architecture architecture;

    /** By requester id. */
    private final Map<Integer, EngineDevice> devices = new ConcurrentHashMap<>();

    /** Guests' page tables, by what devices are attached to. */
    private final Map<PageTable, NestedDomain> nested = new ConcurrentHashMap<>();

    /** Page tables that nothing uses but a thread that does not step its device, the oldest first. */
    private final Queue<PageTable> left = new ConcurrentLinkedQueue<>();

    private EngineDriver(Iommu iommu, Function<EngineDriver, Architecture> architecture) {
        this.iommu = iommu;
        this.architecture = architecture.apply(this);
    }

    /**
     * Makes an IOMMU as VT-d has it, without devices.
     *
     * @param config how
     * @return the driver
     */
    public static EngineDriver open(IommuConfig config) {
        return open(config, Vtd::new);
    }

    /**
     * Makes an IOMMU without devices.
     *
     * @param config how
     * @param architecture makes what it shows; it is given the driver before that has devices or page tables
     * @return the driver
     */
    public static EngineDriver open(IommuConfig config, Function<EngineDriver, Architecture> architecture) {
        return new EngineDriver(Iommu.open(config), architecture);
    }

    /**
     * What it shows.
     *
     * @return always the same
     */
    public Architecture architecture() {
        return architecture;
    }

    @Override
    public Iommu iommu() {
        return iommu;
    }

    /**
     * Makes a device, bound to nobody.
     *
     * @param config how
     * @return the device
     * @throws IllegalArgumentException as {@link Iommu#device}
     */
    public EngineDevice device(DeviceConfig config) {
        return added(new EngineDevice(this, iommu.device(config), false, new IsolationGroup()));
    }

    /**
     * Makes devices that cannot be kept apart, bound to nobody: the first that is attached takes all of them along.
     *
     * @param configs how, in the order of their attaching
     * @return the devices, in that order
     * @throws IllegalArgumentException as {@link Iommu#device}
     */
    public List<EngineDevice> isolationGroup(DeviceConfig... configs) {
        IsolationGroup group = new IsolationGroup();
        return Stream.of(configs)
                .map(config -> added(new EngineDevice(this, iommu.device(config), false, group)))
                .toList();
    }

    EngineDevice added(EngineDevice device) {
        devices.put(device.device().requester(), device);
        return device;
    }

    /**
     * Finds a device by its name on the wire.
     *
     * @param requester {@link dev.faultline.iommu.Device#requester}
     * @return the device, or null if there is none
     */
    public @Nullable EngineDevice find(int requester) {
        return devices.get(requester);
    }

    /**
     * Notes a guest's page table, so that it is found by what devices are attached to.
     *
     * @param made until it is closed
     */
    public void add(NestedDomain made) {
        nested.put(made.table(), made);
    }

    /**
     * Finds a guest's page table.
     *
     * @param table what devices are attached to
     * @return the page table, or null if it is no guest's
     */
    public @Nullable NestedDomain find(PageTable table) {
        return nested.get(table);
    }

    /**
     * Closes a page table, or leaves it to the next call if a thread may still use it: what is nested goes before its parent.
     *
     * @param table which nobody attaches any more
     */
    public void close(PageTable table) {
        nested.remove(table);
        left.add(table);
        while (true) {
            PageTable next = left.poll();
            if (next == null) {
                return;
            }
            try {
                next.close();
            } catch (IllegalStateException e) {
                left.add(next);
                return;
            }
        }
    }

    /** Closes the devices, and the IOMMU. */
    @Override
    public void close() {
        iommu.close();
    }
}
