package dev.faultline.iommu.iommufd.mock;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.PageRequestReporter;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.ResponseCode;
import dev.faultline.iommu.iommufd.Domain;
import dev.faultline.iommu.iommufd.Driver;
import dev.faultline.iommu.iommufd.DriverDevice;
import dev.faultline.iommu.iommufd.ErrnoException;
import dev.faultline.iommu.iommufd.HardwareInfo;
import dev.faultline.iommu.iommufd.IsolationGroup;
import dev.faultline.iommu.iommufd.NestedDomain;
import dev.faultline.iommu.iommufd.PagingDomain;
import dev.faultline.iommu.iommufd.UserData;
import dev.faultline.iommu.iommufd.Viommu;
import dev.faultline.iommu.iommufd.VirtualIommu;
import dev.faultline.ring.FaultQueue;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * A mock device: it does no accesses, and its page requests are made by the test command.
 *
 * <p>Threads: any.
 */
final class MockDevice implements DriverDevice {
    /** It cannot say what it writes to. */
    static final int NO_DIRTY = 1;

    /** It has PASIDs. */
    static final int WITH_PASIDS = 1 << 2;

    private static final int PASID_BITS = 20;
    private static final int PAGING_FLAGS = NEST_PARENT | DIRTY_TRACKING | PASID;

    /** Every second replacement of this PASID fails. */
    private static final int UNRELIABLE_PASID = 1024;

    private final MockDriver driver;
    private final int number;
    private final boolean tracksDirty;
    private final boolean hasPasids;
    private final Device device;
    private final PageRequestReporter reporter;
    private final IsolationGroup group = new IsolationGroup();

    /** A guest's entries, and what they hold at first. */
    static final int CACHE_ENTRIES = 4;

    private static final int CACHE_VALUE = 0xbaddad;

    private static final int INFO_TYPE = 0xfeedbeef;
    private static final int INFO_REGISTER = 0xdeadbeef;

    private final int[] cache = new int[CACHE_ENTRIES];

    /** Through which guest's IOMMU it is attached; under this. */
    private @Nullable MockViommu viommu;

    /** What it is called there; under this. */
    private long virtualId;

    /** The next attachment of the unreliable PASID fails; under the lock of its attachments. */
    private boolean failsNext;

    MockDevice(MockDriver driver, int number, int flags) {
        this.driver = driver;
        this.number = number;
        this.tracksDirty = (flags & NO_DIRTY) == 0;
        this.hasPasids = (flags & WITH_PASIDS) != 0;
        this.device = driver.iommu()
                .device(DeviceConfig.reported("iommufd_mock" + number).withPasidBits(hasPasids ? PASID_BITS : 0));
        Arrays.fill(cache, CACHE_VALUE);
        this.reporter = device.reportTo(this::responded, true);
        group.add(this);
    }

    String name() {
        return device.name();
    }

    int number() {
        return number;
    }

    @Override
    public IsolationGroup group() {
        return group;
    }

    @Override
    public Driver driver() {
        return driver;
    }

    @Override
    public Device device() {
        return device;
    }

    @Override
    public int pasids() {
        return hasPasids ? 1 << PASID_BITS : 1;
    }

    @Override
    public boolean tracksDirty() {
        return tracksDirty;
    }

    // ---- page tables ----

    @Override
    public PagingDomain paging(int wanted, @Nullable UserData data, @Nullable FaultQueue faults) throws ErrnoException {
        if ((wanted & ~PAGING_FLAGS) != 0 || ((wanted & DIRTY_TRACKING) != 0 && !tracksDirty())) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "flags", "what the device can do");
        }
        int kind = 0;
        if (data != null) {
            if (data.type() != MockNested.DATA_TYPE) {
                throw new ErrnoException(Errno.EOPNOTSUPP, "data_type", "0 or 0xdead");
            }
            kind = MockNested.read(data).getInt(Integer.BYTES);
        }
        if (kind != MockPaging.DEFAULT && kind != MockPaging.HUGE) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "pagetable_type", "0 or 1");
        }
        return new MockPaging(
                driver,
                driver.iommu().tableElsewhere(PageTable.Kind.PAGING, faults),
                kind == MockPaging.HUGE,
                (wanted & DIRTY_TRACKING) != 0);
    }

    @Override
    public NestedDomain nested(PagingDomain parent, int wanted, UserData data, @Nullable FaultQueue faults)
            throws ErrnoException {
        return MockNested.of(driver, null, wanted, data, faults);
    }

    // ---- attachments ----

    @Override
    public void admit(Domain to, int pasid) throws ErrnoException {
        if (pasid == 0) {
            if (to instanceof PagingDomain paging && paging.dirty() != null && !tracksDirty()) {
                throw new ErrnoException(Errno.EINVAL, "pt_id", "a page table without DIRTY_TRACKING");
            }
            if (to instanceof MockNested nested
                    && nested.viommu() != null
                    && nested.viommu().viommu().virtualId(this).isEmpty()) {
                throw new ErrnoException(Errno.ENOENT, "pt_id", "a page table whose vIOMMU knows the device");
            }
        } else if (pasid == UNRELIABLE_PASID) {
            failsNext = !failsNext;
            if (!failsNext) {
                throw new ErrnoException(Errno.ENOMEM);
            }
        }
    }

    @Override
    public void attached(Domain to, int pasid) {
        if (pasid == 0) {
            attachThrough(to instanceof MockNested nested ? nested.viommu() : null);
        }
    }

    /** What it reports as of a vIOMMU is what it was called there when it came to be attached through it. */
    private synchronized void attachThrough(@Nullable MockViommu next) {
        if (next != viommu) {
            viommu = next;
            virtualId = next == null ? 0 : next.viommu().virtualId(this).orElse(0);
        }
    }

    /** Reports an event as if the device had caused it. */
    synchronized void event() throws ErrnoException {
        if (viommu == null || virtualId == 0) {
            throw new ErrnoException(Errno.ENOENT, "dev_id", "a device attached through a vIOMMU");
        }
        byte[] event = new byte[Integer.BYTES];
        var _ = ByteBuffer.wrap(event).order(ByteOrder.nativeOrder()).putInt(0, (int) virtualId);
        viommu.viommu().report(MockViommu.EVENT_TYPE, event);
    }

    // ---- what it is asked for a guest ----

    @Override
    public HardwareInfo hardwareInfo(int type) throws ErrnoException {
        if (type != HardwareInfo.DEFAULT && type != INFO_TYPE) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "in_data_type", "0 or 0xfeedbeef");
        }
        byte[] info = new byte[2 * Integer.BYTES];
        var _ = ByteBuffer.wrap(info).order(ByteOrder.nativeOrder()).putInt(Integer.BYTES, INFO_REGISTER);
        return new HardwareInfo(INFO_TYPE, info);
    }

    @Override
    public boolean hasViommus(int type) {
        return type == MockViommu.TYPE;
    }

    @Override
    public VirtualIommu viommu(Viommu made, PagingDomain parent, @Nullable UserData data) throws ErrnoException {
        return new MockViommu(driver, made, data);
    }

    /** Whether an entry of its cache holds a value. */
    synchronized boolean isCached(int entry, int value) {
        return entry >= 0 && entry < CACHE_ENTRIES && cache[entry] == value;
    }

    synchronized void invalidateCache(int entry, boolean all) {
        Arrays.fill(cache, all ? 0 : entry, all ? CACHE_ENTRIES : entry + 1, 0);
    }

    @Override
    public void detached(int pasid) {
        if (pasid == 0) {
            attachThrough(null);
        }
        if (pasid == UNRELIABLE_PASID) {
            failsNext = false;
        }
    }

    // ---- page requests ----

    void request(int pasid, int index, int access, long address, boolean last) {
        var _ = reporter.report(pasid, index, address, access, last);
    }

    /** Takes the answers that were written. */
    void takeAnswers() {
        if (reporter.openGroups() > 0) {
            reporter.takeAnswers();
        }
    }

    private void responded(int pasid, int index, boolean last, ResponseCode code) {
        int flags = (pasid == 0 ? 0 : PageFaultLayout.FLAG_PASID_VALID) | (last ? PageFaultLayout.FLAG_LAST_PAGE : 0);
        driver.told(new MockDriver.Response(name(), flags, pasid, index, code(code)));
    }

    /** As the kernel numbers them, apart from what PCIe puts on the wire. */
    private static int code(ResponseCode code) {
        return switch (code) {
            case SUCCESS -> 0;
            case INVALID -> 1;
            default -> 2;
        };
    }

    void close() {
        device.close();
    }
}
