package dev.faultline.examples;

import static dev.faultline.iommu.TableFormat.X86_4_LEVEL;
import static dev.faultline.ring.Answer.SUCCESS;
import static java.nio.charset.StandardCharsets.UTF_8;

import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import java.lang.foreign.MemorySegment;

/** The README's example: a device writes where nothing is, a handler brings the page, the write goes on. */
public final class TenLines {
    private TenLines() {}

    /**
     * Prints what became of the fault.
     *
     * @param args none
     */
    @SuppressWarnings("try") // the worker works without being named
    public static void main(String[] args) {
        try (var iommu = Iommu.open(IommuConfig.small());
                var queue = FaultQueue.open(QueueConfig.of(256));
                var space = iommu.addressSpace(X86_4_LEVEL, queue);
                var nic = iommu.device(DeviceConfig.pri("nic"));
                var worker = queue.consumer().run(group -> {
                    for (int i = 0; i < group.size(); i++) space.zero(group.address(i));
                    return SUCCESS;
                })) {
            nic.attach(space);
            nic.write(0x7000_1000L, MemorySegment.ofArray("hello".getBytes(UTF_8))); // faults, is mapped, goes on
            System.out.println(queue.accounting()); // raised 1 = answered 1 + 0 + 0 + 0
        }
    }
}
