package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.PageTable;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.stream.Stream;

/**
 * The engine's own IOMMU and devices behind {@code /dev/iommu}: what a program maps is what devices read and write, what it attaches is
 * what they translate through, and their faults come out of its fault queues.
 *
 * <p>Paging tables are second stages of VT-d with four levels; nested ones are first stages as x86-64 has them, described by VT-d's data
 * ({@link #VTD_S1}). A guest's IOMMU has a type of its own, {@link #VIOMMU_TYPE}, see {@code docs/iommufd.md}.
 *
 * <p>Threads: any; devices are stepped by the caller's. Ownership: who opens it closes it, after the processes that use it. Memory that
 * a program maps for devices is native, whole pages, and open until it is unmapped; a program's heap memory is a bad address here,
 * because page tables in it could not be read a word at a time.
 */
public final class EngineDriver implements Driver {
    /** The data of a nested page table: flags, where its root is in the parent's input, and the address width, 48. */
    public static final int VTD_S1 = 1;

    /** The type of a guest's IOMMU, of its events, of its invalidations, and of what is told of the hardware. */
    public static final int VIOMMU_TYPE = 0x464c;

    private final Iommu iommu;

    /** Page tables that nothing uses but a thread that does not step its device, the oldest first. */
    private final Queue<PageTable> left = new ConcurrentLinkedQueue<>();

    private EngineDriver(Iommu iommu) {
        this.iommu = iommu;
    }

    /**
     * Makes an IOMMU without devices.
     *
     * @param config how
     * @return the driver
     */
    public static EngineDriver open(IommuConfig config) {
        return new EngineDriver(Iommu.open(config));
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
        return new EngineDevice(this, iommu.device(config), false, new IsolationGroup());
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
                .map(config -> new EngineDevice(this, iommu.device(config), false, group))
                .toList();
    }

    /** Refuses in a program's words what it cannot be asked. */
    static ErrnoException unknown(String field, String allowed) {
        return new ErrnoException(Errno.EOPNOTSUPP, field, allowed);
    }

    /** Closes a page table, or leaves it to the next call if a thread may still use it: what is nested goes before its parent. */
    void close(PageTable table) {
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
