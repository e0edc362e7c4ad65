package dev.faultline.examples;

import static dev.faultline.ring.Answer.SUCCESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.nio.charset.StandardCharsets.UTF_8;

import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.iommufd.Iommufd;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** The README's example of {@code /dev/iommu}: a guest's page table over its memory, and a handler that mends it. */
public final class NestedLines {
    private static final long PAGE = 4096;

    private NestedLines() {}

    /**
     * Prints where in the guest's memory the device wrote.
     *
     * @param args none
     */
    @SuppressWarnings("try") // the worker and the attachment work without being named
    public static void main(String[] args) {
        var ram = Arena.ofAuto().allocate(16 * PAGE, PAGE); // the guest's memory: its root table is the first page
        long[] used = {PAGE};
        try (var iommufd = Iommufd.open();
                var nic = iommufd.device(DeviceConfig.pri("nic"));
                var space = iommufd.addressSpace();
                var parent = space.pageTable(nic).nestParent().make();
                var faults = iommufd.faultQueue();
                var worker = faults.run(
                        fault -> { // the guest mends its tables: four levels, the last entry is the page's
                            long at = 0;
                            for (int shift = 39; shift >= 12; shift -= 9) {
                                long entry = at + (fault.address(0) >>> shift & 511) * 8;
                                if (ram.get(JAVA_LONG, entry) == 0) {
                                    ram.set(JAVA_LONG, entry, used[0] | 7); // present, writable, user
                                    used[0] += PAGE;
                                }
                                at = ram.get(JAVA_LONG, entry) & -PAGE;
                            }
                            return SUCCESS;
                        });
                var guest = parent.nested(nic).firstStage(0).faults(faults).make();
                var attached = nic.attach(guest)) {
            space.map(0, ram);
            nic.engine()
                    .write(0x7000_1000L, MemorySegment.ofArray("hello".getBytes(UTF_8))); // goes on once it is mended
            System.out.println(ram.getString(4 * PAGE)); // hello
        }
    }
}
