package dev.faultline.iommu.iommufd.mock;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.iommufd.Call;
import dev.faultline.iommu.iommufd.Driver;
import dev.faultline.iommu.iommufd.DriverCommand;
import dev.faultline.iommu.iommufd.ErrnoException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * The mock IOMMU of Linux' self-tests, with its test command.
 *
 * <p>Threads: any. Ownership: who opens it closes it, after the processes that use it. Source: {@code
 * drivers/iommu/iommufd/selftest.c}, Linux 7.2.
 *
 * <p>Errors: those of the test command, as {@link dev.faultline.iommu.iommufd.ErrnoException}s.
 */
public final class MockDriver implements Driver {
    private static final int OP = 4;

    private final Iommu iommu;
    private final Map<Integer, DriverCommand> operations = new HashMap<>();

    /** By number; under its own lock. */
    private final TreeMap<Integer, MockDevice> devices = new TreeMap<>();

    /** Under its own lock. */
    private final List<Response> responses = new ArrayList<>();

    /**
     * What a device was told of a group of page requests.
     *
     * @param device its name
     * @param flags of the group's last request, as a fault record has them
     * @param pasid its PASID, 0 without
     * @param group its group
     * @param code 0 for success, 1 for invalid, 2 for failure
     */
    public record Response(String device, int flags, int pasid, int group, int code) {}

    private MockDriver() {
        iommu = Iommu.open(IommuConfig.small().withFrames(16));
        Stream.of(new MockDomains(this).all(), MockSpaces.all(), MockAccesses.all(), MockGuests.all())
                .forEach(operations::putAll);
    }

    /**
     * Makes one without devices.
     *
     * @return the driver
     */
    public static MockDriver open() {
        return new MockDriver();
    }

    /**
     * What the devices were told since the last such call.
     *
     * @return in order
     */
    public List<Response> takeResponses() {
        synchronized (responses) {
            List<Response> taken = List.copyOf(responses);
            responses.clear();
            return taken;
        }
    }

    /** A device is told. */
    void told(Response response) {
        synchronized (responses) {
            responses.add(response);
        }
    }

    // ---- devices ----

    /** Makes a device, with the lowest free number. */
    MockDevice add(int flags) {
        synchronized (devices) {
            int number = 0;
            while (devices.containsKey(number)) {
                number++;
            }
            MockDevice made = new MockDevice(this, number, flags);
            devices.put(number, made);
            return made;
        }
    }

    /** Takes a device away, which is not bound any more. */
    void remove(MockDevice device) {
        device.close();
        synchronized (devices) {
            devices.remove(device.number());
        }
    }

    @Override
    public boolean takesAnswersAtOnce() {
        return true;
    }

    @Override
    public void answered() {
        List<MockDevice> all;
        synchronized (devices) {
            all = List.copyOf(devices.values());
        }
        all.forEach(MockDevice::takeAnswers);
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
