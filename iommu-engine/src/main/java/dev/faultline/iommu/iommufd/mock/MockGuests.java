package dev.faultline.iommu.iommufd.mock;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.iommufd.Call;
import dev.faultline.iommu.iommufd.DeviceObject;
import dev.faultline.iommu.iommufd.Domain;
import dev.faultline.iommu.iommufd.DriverCommand;
import dev.faultline.iommu.iommufd.ErrnoException;
import java.util.Map;

/** The test command's operations that look into what guests invalidate, and report events. */
final class MockGuests {
    private static final int ID = 8;
    private static final int ENTRY = 16;
    private static final int VALUE = 20;
    private static final int DEV_ID = 16;

    private static final int MD_CHECK_IOTLB = 14;
    private static final int DEV_CHECK_CACHE = 16;
    private static final int TRIGGER_VEVENT = 17;

    private MockGuests() {}

    /** The operations by number. */
    static Map<Integer, DriverCommand> all() {
        return Map.of(
                MD_CHECK_IOTLB,
                MockGuests::checkIotlb,
                DEV_CHECK_CACHE,
                MockGuests::checkCache,
                TRIGGER_VEVENT,
                MockGuests::event);
    }

    private static int checkIotlb(Call call) throws ErrnoException {
        Domain domain = call.nested(ID, "id");
        int entry = call.u32(ENTRY);
        if (!(domain instanceof MockNested nested)
                || entry < 0
                || entry >= nested.entries()
                || nested.iotlb(entry) != call.u32(VALUE)) {
            throw new ErrnoException(Errno.EINVAL, "iotlb", "what is cached");
        }
        return 0;
    }

    private static int checkCache(Call call) throws ErrnoException {
        DeviceObject device = call.get(ID, "id", DeviceObject.class);
        if (!(device.device() instanceof MockDevice mock) || !mock.isCached(call.u32(ENTRY), call.u32(VALUE))) {
            throw new ErrnoException(Errno.EINVAL, "cache", "what is cached");
        }
        return 0;
    }

    private static int event(Call call) throws ErrnoException {
        DeviceObject device = call.get(DEV_ID, "dev_id", DeviceObject.class);
        if (!(device.device() instanceof MockDevice mock)) {
            throw new ErrnoException(Errno.ENOENT, "dev_id", "a mock device");
        }
        mock.event();
        return 0;
    }
}
