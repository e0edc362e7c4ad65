package dev.faultline.examples.cli;

import static dev.faultline.ffm.PageFaultLayout.PERM_EXEC;
import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;

import dev.faultline.ffm.Region;
import dev.faultline.iommu.AddressSpace;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.Explanation;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.TableFormat;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A small scene to look at. Mapped are: 0x1000, 4 KiB, for reads and writes, and a device has written there; 0x2000, 4 KiB, read-only;
 * 0x200000, 2 MiB. Physical memory for them lies at 4 GiB. Nested, the same addresses are in the tables of a guest whose 4 MiB a
 * second stage maps with two large pages.
 */
final class ExplainedScene {
    private static final long PAGE = 0x1000;
    private static final long LARGE = 0x20_0000;
    private static final long BASE = 0x1_0000_0000L;

    /** Guest memory: the four tables on the way to the first addresses, then what they lead to. */
    private static final long ROOT = 0x1_0000;

    private static final long LAST_TABLE = ROOT + 3 * PAGE;
    private static final long WRITABLE = 0x10_0000;
    private static final long READ_ONLY = 0x10_1000;

    private ExplainedScene() {}

    /** One stage. */
    static Explanation single(TableFormat format, long address) {
        try (Region memory = Region.allocate(2 * LARGE);
                Iommu iommu = Iommu.open(IommuConfig.small());
                AddressSpace space = iommu.addressSpace(format, null);
                Device device = iommu.device(DeviceConfig.pri("device"))) {
            iommu.addMemory(BASE, memory.segment());
            must(space.map(PAGE, BASE + WRITABLE, PAGE, PERM_READ | PERM_WRITE));
            must(space.map(2 * PAGE, BASE + READ_ONLY, PAGE, PERM_READ));
            must(space.map(LARGE, BASE + LARGE, LARGE, PERM_READ | PERM_WRITE | PERM_EXEC));
            device.attach(space);
            touch(device);
            return space.explain(address);
        }
    }

    /**
     * Two stages.
     *
     * @param table the bits of a guest's entry that points at a table, {@code writable} and so on those of leaves
     */
    static Explanation nested(
            TableFormat first, TableFormat second, long table, long writable, long readOnly, long large, long address) {
        try (Region memory = Region.allocate(2 * LARGE);
                Iommu iommu = Iommu.open(IommuConfig.small());
                AddressSpace host = iommu.addressSpace(second, null);
                Device device = iommu.device(DeviceConfig.pri("device"))) {
            iommu.addMemory(BASE, memory.segment());
            must(host.map(0, BASE, 2 * LARGE, PERM_READ | PERM_WRITE | PERM_EXEC));
            MemorySegment guest = memory.segment();
            for (long at = ROOT; at < LAST_TABLE; at += PAGE) {
                put(guest, at, 0, (at + PAGE) | table);
            }
            put(guest, LAST_TABLE, 1, WRITABLE | writable);
            put(guest, LAST_TABLE, 2, READ_ONLY | readOnly);
            put(guest, LAST_TABLE - PAGE, 1, LARGE | large);
            try (PageTable nested = iommu.nested(host.table(), first, ROOT, null)) {
                device.attach(nested);
                touch(device);
                return nested.explain(address);
            }
        }
    }

    private static void put(MemorySegment guest, long table, int index, long entry) {
        guest.set(ValueLayout.JAVA_LONG, table + (long) index * Long.BYTES, entry);
    }

    private static void touch(Device device) {
        try (Arena arena = Arena.ofConfined()) {
            device.write(PAGE, arena.allocate(Long.BYTES));
        }
    }

    private static void must(boolean mapped) {
        if (!mapped) {
            throw new IllegalStateException("the scene's own pages are in each other's way");
        }
    }
}
