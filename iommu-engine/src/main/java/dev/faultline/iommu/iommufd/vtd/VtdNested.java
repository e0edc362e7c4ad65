package dev.faultline.iommu.iommufd.vtd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.QuiescenceTimeout;
import dev.faultline.iommu.TableFormat;
import dev.faultline.iommu.iommufd.EngineDriver;
import dev.faultline.iommu.iommufd.EnginePaging;
import dev.faultline.iommu.iommufd.ErrnoException;
import dev.faultline.iommu.iommufd.InvalidationEntries;
import dev.faultline.iommu.iommufd.NestedDomain;
import dev.faultline.iommu.iommufd.UserData;
import dev.faultline.ring.FaultQueue;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * A guest's first stage as x86-64 has it, over a second stage. What its data says is looked at when a device is attached, as VT-d's
 * driver does.
 *
 * <p>Threads: any. Source: {@code iommu_hwpt_vtd_s1} and {@code iommu_hwpt_vtd_s1_invalidate} of {@code
 * include/uapi/linux/iommufd.h}, Linux 7.2.
 */
final class VtdNested implements NestedDomain {
    private static final int DATA_BYTES = 24;
    private static final int ROOT = 8;
    private static final int WIDTH = 16;

    /** Supervisor requests, and the extended accessed flag: nothing here has them. */
    private static final long FLAGS_NOT_HAD = 1L | 1L << 1;

    private static final int INPUT_BITS = 48;
    private static final long PAGE = 4096;

    private static final int ENTRY_BYTES = 24;
    private static final int ENTRY_TYPE = 0;
    private static final int ENTRY_LEAF = 1;

    private final EngineDriver driver;
    private final @Nullable VtdGuest viommu;
    private final PageTable table;
    private final boolean attachable;

    VtdNested(
            EngineDriver driver,
            EnginePaging parent,
            @Nullable VtdGuest viommu,
            UserData data,
            @Nullable FaultQueue faults)
            throws ErrnoException {
        if (data.type() != EngineDriver.VTD_S1) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "data_type", "1, VT-d's first stage");
        }
        ByteBuffer given = data.read(EngineDriver.VTD_S1, DATA_BYTES, DATA_BYTES);
        long root = given.getLong(ROOT) & -PAGE;
        this.driver = driver;
        this.viommu = viommu;
        this.attachable = (given.getLong(0) & FLAGS_NOT_HAD) == 0
                && given.getInt(WIDTH) == INPUT_BITS
                && root >>> INPUT_BITS == 0;
        this.table = attachable
                ? driver.iommu().nested(parent.table(), TableFormat.X86_4_LEVEL, root, faults)
                : driver.iommu().blocked();
        driver.add(this);
    }

    @Override
    public EngineDriver driver() {
        return driver;
    }

    @Override
    public PageTable table() {
        return table;
    }

    /** Through which guest's IOMMU it is nested. */
    @Nullable
    VtdGuest viommu() {
        return viommu;
    }

    void requireAttachable() throws ErrnoException {
        if (!attachable) {
            throw new ErrnoException(
                    Errno.EINVAL,
                    "pt_id",
                    "a page table with an address width of 48, below which its root is, and known flags");
        }
    }

    @Override
    public void invalidate(InvalidationEntries entries) throws ErrnoException {
        entries.require(ENTRY_TYPE);
        for (int i = 0; i < entries.count(); i++) {
            ByteBuffer entry = entries.read(i, ENTRY_BYTES, ENTRY_BYTES);
            if ((entry.getInt(16) & ~ENTRY_LEAF) != 0 || entry.getInt(20) != 0) {
                throw new ErrnoException(Errno.EOPNOTSUPP, "flags", "bits of 0x1, and 0 in what is reserved");
            }
            invalidate(entry.getLong(0), entry.getLong(8));
            entries.oneDone();
        }
    }

    /** Everything if all pages are named, else a range of a guest's addresses. */
    private void invalidate(long address, long pages) throws ErrnoException {
        if (address % PAGE != 0 || (pages == -1 && address != 0)) {
            throw new ErrnoException(Errno.EINVAL, "addr", "a multiple of 4096; 0 for all pages");
        }
        forget(driver, table, -1, address, pages);
    }

    /** Makes devices forget pages, of one PASID or of all. */
    static void forget(EngineDriver driver, PageTable table, int pasid, long address, long pages)
            throws ErrnoException {
        if (pages == 0) {
            return;
        }
        long most = -(address >>> 12) & (-1L >>> 12);
        boolean everything = address == 0 && (pages < 0 || pages > -1L >>> 12);
        long bytes = (Long.compareUnsigned(pages, most) > 0 && address != 0 ? most : pages) << 12;
        try {
            if (everything || bytes <= 0) {
                if (pasid < 0) {
                    driver.iommu().invalidations().table(table);
                } else {
                    driver.iommu().invalidations().pasid(table, pasid);
                }
            } else if (pasid < 0) {
                driver.iommu().invalidations().range(table, address, bytes);
            } else {
                driver.iommu().invalidations().range(table, pasid, address, bytes);
            }
        } catch (QuiescenceTimeout e) {
            throw new ErrnoException(Errno.EIO, "hwpt_id", "a page table whose devices are stepped");
        }
    }

    @Override
    public void close() {
        driver.close(table);
    }
}
