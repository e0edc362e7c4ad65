package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.Iommu;
import java.util.Optional;

/**
 * The driver of an IOMMU: what {@code /dev/iommu} asks of it. The kernel's {@code iommu_ops} of a kind of IOMMU.
 *
 * <p>Threads: any. Ownership: whoever makes it closes it, after the processes that use it.
 *
 * <p>Errors: those of its devices. Source: {@code struct iommu_ops} of {@code include/linux/iommu.h}, Linux 7.2.
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

    /**
     * Whether {@link #answered} has to be called for each answer, so that devices that nobody steps take theirs in order.
     *
     * @return false if devices are stepped by somebody
     */
    default boolean takesAnswersAtOnce() {
        return false;
    }

    /** A program has answered a group of page requests. */
    default void answered() {}

    @Override
    void close();
}
