package dev.faultline.iommu.iommufd.mock;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.iommufd.Call;
import dev.faultline.iommu.iommufd.Context;
import dev.faultline.iommu.iommufd.DeviceObject;
import dev.faultline.iommu.iommufd.Domain;
import dev.faultline.iommu.iommufd.DriverCommand;
import dev.faultline.iommu.iommufd.DriverObject;
import dev.faultline.iommu.iommufd.ErrnoException;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The test command's operations on devices: making and attaching them, and page requests. */
final class MockDomains {
    private static final int OP = 4;
    private static final int ID = 8;
    private static final int RESERVED = 12;

    private static final int MOCK_DOMAIN = 2;
    private static final int MOCK_DOMAIN_REPLACE = 10;
    private static final int MOCK_DOMAIN_FLAGS = 12;
    private static final int TRIGGER_IOPF = 15;
    private static final int PASID_ATTACH = 18;
    private static final int PASID_REPLACE = 19;
    private static final int PASID_DETACH = 20;
    private static final int PASID_CHECK_HWPT = 21;

    private static final int OUT_STDEV_ID = 16;
    private static final int OUT_HWPT_ID = 20;
    private static final int OUT_IDEV_ID = 24;
    private static final int DEV_FLAGS = 28;
    private static final int PT_ID = 16;

    private static final int DEV_ID = 16;
    private static final int FAULT_PASID = 20;
    private static final int FAULT_GROUP = 24;
    private static final int FAULT_PERM = 28;
    private static final int FAULT_ADDR = 32;

    private static final int PASID = 16;
    private static final int PASID_PT_ID = 20;

    private final MockDriver driver;

    MockDomains(MockDriver driver) {
        this.driver = driver;
    }

    /** The operations by number. */
    Map<Integer, DriverCommand> all() {
        return Map.of(
                MOCK_DOMAIN,
                this::create,
                MOCK_DOMAIN_FLAGS,
                this::create,
                MOCK_DOMAIN_REPLACE,
                this::replace,
                TRIGGER_IOPF,
                MockDomains::trigger,
                PASID_ATTACH,
                MockDomains::attachPasid,
                PASID_REPLACE,
                MockDomains::replacePasid,
                PASID_DETACH,
                MockDomains::detachPasid,
                PASID_CHECK_HWPT,
                MockDomains::checkPasid);
    }

    /** A mock device with its binding; a program's DESTROY of it takes the device away. */
    static final class Bound extends DriverObject {
        private final MockDriver driver;
        private final MockDevice device;
        private @Nullable DeviceObject bound;

        Bound(MockDriver driver, MockDevice device) {
            this.driver = driver;
            this.device = device;
        }

        DeviceObject bound() {
            DeviceObject is = bound;
            if (is == null) {
                throw new IllegalStateException("a device that is not bound was found");
            }
            return is;
        }

        @Override
        protected void destroy() {
            DeviceObject is = bound;
            if (is != null) {
                is.unbind();
            }
            driver.remove(device);
        }
    }

    private int create(Call call) throws ErrnoException {
        int flags = call.u32(OP) == MOCK_DOMAIN_FLAGS ? call.u32(DEV_FLAGS) : 0;
        Context context = call.context();
        if ((flags & ~(MockDevice.NO_DIRTY | MockDevice.WITH_PASIDS)) != 0) {
            // The id comes and goes, as nobody sees.
            throw new ErrnoException(Errno.EINVAL, "dev_flags", "bits 1 and 4");
        }
        context.create(new Bound(driver, driver.add(flags)), made -> {
            DeviceObject bound = context.bind(made.device, false);
            made.bound = bound;
            int hwpt = bound.attach(0, call.u32(ID));
            call.put32(OUT_HWPT_ID, hwpt);
            call.put32(OUT_STDEV_ID, made.id());
            call.put32(OUT_IDEV_ID, bound.id());
            call.respond();
        });
        return 0;
    }

    private static Bound bound(Call call) throws ErrnoException {
        return call.get(ID, "id", Bound.class);
    }

    private int replace(Call call) throws ErrnoException {
        call.put32(PT_ID, bound(call).bound().replace(0, call.u32(PT_ID)));
        call.respond();
        return 0;
    }

    private static int trigger(Call call) throws ErrnoException {
        DeviceObject device = call.get(DEV_ID, "dev_id", DeviceObject.class);
        if (!(device.device() instanceof MockDevice mock)) {
            throw new ErrnoException(Errno.EINVAL, "dev_id", "a mock device");
        }
        // A released kernel ignores this word; the kernel that the recordings were made with makes a request that is
        // not the last of its group.
        boolean last = (call.u32(RESERVED) & 1) == 0;
        mock.request(call.u32(FAULT_PASID), call.u32(FAULT_GROUP), call.u32(FAULT_PERM), call.u64(FAULT_ADDR), last);
        return 0;
    }

    private static int attachPasid(Call call) throws ErrnoException {
        DeviceObject device = bound(call).bound();
        int pasid = call.u32(PASID);
        call.put32(PASID_PT_ID, device.attach(pasid, call.u32(PASID_PT_ID)));
        try {
            call.respond();
        } catch (ErrnoException e) {
            device.detach(pasid);
            throw e;
        }
        return 0;
    }

    private static int replacePasid(Call call) throws ErrnoException {
        call.put32(PASID_PT_ID, bound(call).bound().replace(call.u32(PASID), call.u32(PASID_PT_ID)));
        call.respond();
        return 0;
    }

    private static int detachPasid(Call call) throws ErrnoException {
        bound(call).bound().detach(call.u32(PASID));
        return 0;
    }

    private static int checkPasid(Call call) throws ErrnoException {
        Domain found = bound(call).bound().domain(call.u32(PASID));
        Domain expected = call.u32(PASID_PT_ID) == 0 ? null : call.domain(PASID_PT_ID, "hwpt_id");
        if (found != expected) {
            throw new ErrnoException(Errno.EINVAL, "hwpt_id", "what the PASID is attached to");
        }
        return 0;
    }
}
