package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.TreeMap;

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

    private static final long PAGE = 4096;

    /** Programs' memory begins here, above every frame. */
    private static final long FIRST_BASE = 1L << 40;

    private static final long END = 1L << 52;

    private final Iommu iommu;

    /** What of programs' memory is physical memory: bytes by base; its own lock. */
    private final TreeMap<Long, Long> placed = new TreeMap<>();

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
        return new EngineDevice(this, iommu.device(config));
    }

    // ---- programs' memory ----

    /**
     * Makes memory of a program physical memory, at a base that lies to large pages as the address where it is mapped does.
     *
     * @return the base, or -1 if devices cannot use such memory
     */
    long place(MemorySegment memory, long address) {
        long bytes = memory.byteSize();
        if (bytes == 0 || bytes % PAGE != 0 || memory.isReadOnly() || memory.maxByteAlignment() < Long.BYTES) {
            return -1;
        }
        // The largest page that could show a part of it.
        long size = Math.clamp(Long.highestOneBit(bytes), PAGE, 1L << 30);
        long phase = address & (size - 1);
        synchronized (placed) {
            long base = FIRST_BASE + phase;
            for (Map.Entry<Long, Long> each : placed.entrySet()) {
                if (each.getKey() - base >= bytes) {
                    break;
                }
                long end = each.getKey() + each.getValue();
                if (end > base) {
                    base = (end - phase + size - 1) / size * size + phase;
                }
            }
            if (base + bytes > END) {
                return -1;
            }
            iommu.addMemory(base, memory);
            placed.put(base, bytes);
            return base;
        }
    }

    /** No page table shows it any more. */
    void takeAway(long base) {
        synchronized (placed) {
            placed.remove(base);
            iommu.removeMemory(base);
        }
    }

    /** Refuses in a program's words what it cannot be asked. */
    static ErrnoException unknown(String field, String allowed) {
        return new ErrnoException(Errno.EOPNOTSUPP, field, allowed);
    }

    /** Closes the devices, and the IOMMU. */
    @Override
    public void close() {
        iommu.close();
    }
}
