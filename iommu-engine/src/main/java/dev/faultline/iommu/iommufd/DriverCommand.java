package dev.faultline.iommu.iommufd;

/**
 * A command of a driver's own: the kernel's {@code IOMMU_TEST_CMD}, 0x3ba0, whose structure has 72 bytes.
 *
 * <p>Threads: any.
 *
 * <p>Lifetime: its driver's. Errors: {@link ErrnoException}, whose number the program gets. Source: {@code
 * drivers/iommu/iommufd/selftest.c}, Linux 7.2.
 */
@FunctionalInterface
public interface DriverCommand {
    /**
     * Runs it.
     *
     * @param call the structure, and the objects it names
     * @return 0 or more, for the program
     * @throws ErrnoException if it is refused
     */
    int run(Call call) throws ErrnoException;
}
