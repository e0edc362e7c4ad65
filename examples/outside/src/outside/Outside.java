package outside;

import static dev.faultline.iommu.TableFormat.X86_4_LEVEL;
import static dev.faultline.ring.Answer.INVALID;
import static dev.faultline.ring.Answer.SUCCESS;

import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.ring.Accounting;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Uses the installed artifacts as anybody would: a device writes where nothing is mapped, and reads it back. */
public final class Outside {

    private static final long ADDRESS = 0x7000_1000L;

    private Outside() {}

    /**
     * Raises one fault, serves it, and says how the library was started.
     *
     * @param args none
     */
    public static void main(String[] args) {
        byte[] hello = "hello".getBytes(StandardCharsets.UTF_8);
        byte[] back = new byte[hello.length];
        Accounting accounting;
        try (var iommu = Iommu.open(IommuConfig.small());
                var queue = FaultQueue.open(QueueConfig.of(256));
                var space = iommu.addressSpace(X86_4_LEVEL, queue);
                var nic = iommu.device(DeviceConfig.pri("nic"));
                var _ = queue.consumer().run(group -> {
                    for (int i = 0; i < group.size(); i++) {
                        if (!space.zero(group.address(i))) {
                            return INVALID;
                        }
                    }
                    return SUCCESS;
                })) {
            nic.attach(space);
            nic.write(ADDRESS, MemorySegment.ofArray(hello));
            nic.read(ADDRESS, MemorySegment.ofArray(back));
            accounting = queue.accounting();
        }
        if (!Arrays.equals(hello, back)) {
            throw new AssertionError("read back " + Arrays.toString(back));
        }
        if (accounting.raised() != 1 || accounting.answered() != 1 || accounting.outstanding() != 0) {
            throw new AssertionError("one fault was raised and answered, but: " + accounting);
        }
        Module library = Iommu.class.getModule();
        System.out.println("outside: good on the " + (library.isNamed() ? "module path, " + library : "class path"));
    }
}
