package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.Iommu;
import java.util.Optional;

/**
 * The driver of an IOMMU: what {@code /dev/iommu} asks of it. The kernel's {@code iommu_ops} of a kind of IOMMU.
 *
 * <p>Threads: any. Ownership: whoever makes it closes it, after the processes that use it.
 */
public interface Driver extends AutoCloseable {
    /**
     * The engine behind it.
     *
     * @return whose devices and page tables its own are
     */
    Iommu iommu();

    /**
     * What the test command does.
     *
     * @return empty where there is no such command
     */
    default Optional<DriverCommand> testCommand() {
        return Optional.empty();
    }

    @Override
    void close();
}
