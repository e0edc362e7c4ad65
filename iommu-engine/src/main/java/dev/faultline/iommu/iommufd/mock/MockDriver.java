package dev.faultline.iommu.iommufd.mock;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.iommufd.Call;
import dev.faultline.iommu.iommufd.Driver;
import dev.faultline.iommu.iommufd.DriverCommand;
import dev.faultline.iommu.iommufd.ErrnoException;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The mock IOMMU of Linux' self-tests, with its test command.
 *
 * <p>Threads: any. Ownership: who opens it closes it, after the processes that use it. Source: {@code
 * drivers/iommu/iommufd/selftest.c}, Linux 7.2.
 */
public final class MockDriver implements Driver {
    private static final int OP = 4;

    private final Iommu iommu;
    private final Map<Integer, DriverCommand> operations = new HashMap<>();

    private MockDriver() {
        iommu = Iommu.open(IommuConfig.small().withFrames(16));
        Stream.<Map<Integer, DriverCommand>>of(Map.of()).forEach(operations::putAll);
    }

    /**
     * Makes one without devices.
     *
     * @return the driver
     */
    public static MockDriver open() {
        return new MockDriver();
    }

    @Override
    public Iommu iommu() {
        return iommu;
    }

    @Override
    public Optional<DriverCommand> testCommand() {
        return Optional.of(this::run);
    }

    private int run(Call call) throws ErrnoException {
        DriverCommand operation = operations.get(call.u32(OP));
        if (operation == null) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "op", "an operation of the self-tests");
        }
        return operation.run(call);
    }

    @Override
    public void close() {
        iommu.close();
    }
}
