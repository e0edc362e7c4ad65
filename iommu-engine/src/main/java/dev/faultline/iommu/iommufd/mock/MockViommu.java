package dev.faultline.iommu.iommufd.mock;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Areas;
import dev.faultline.iommu.iommufd.DriverDevice;
import dev.faultline.iommu.iommufd.ErrnoException;
import dev.faultline.iommu.iommufd.HwQueue;
import dev.faultline.iommu.iommufd.InvalidationEntries;
import dev.faultline.iommu.iommufd.NestedDomain;
import dev.faultline.iommu.iommufd.UserData;
import dev.faultline.iommu.iommufd.Viommu;
import dev.faultline.iommu.iommufd.VirtualIommu;
import dev.faultline.ring.FaultQueue;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * The self-tests' vIOMMU: what is nested through it wants a vDEVICE, invalidations clear its devices' caches, and of HW queues there
 * are two, the second only with the first.
 *
 * <p>Threads: any.
 */
final class MockViommu implements VirtualIommu {
    static final int TYPE = 0xdeadbeef;
    static final int EVENT_TYPE = 0xbeefbeef;

    private static final int HW_QUEUE_TYPE = 0xdeadbeef;
    private static final int MOST_HW_QUEUES = 2;

    private static final int ENTRY_TYPE = 0xdeadbeef;
    private static final int ENTRY_BYTES = 12;
    private static final int ENTRY_ALL = 1;

    /** What the kernel allocates in one piece. */
    private static final int MOST_ALLOCATED_BYTES = 4 << 20;

    private static final int DATA_LEAST = 8;
    private static final int DATA_BYTES = 24;
    private static final int MMAP_BYTES = 2 * 4096;

    private final MockDriver driver;
    private final Viommu viommu;

    /** Where its pages are announced, 0 without. */
    private final long mmapOffset;

    /** By index; under this lock. */
    private final @Nullable HwQueue[] hwQueues = new @Nullable HwQueue[MOST_HW_QUEUES];

    MockViommu(MockDriver driver, Viommu viommu, @Nullable UserData data) throws ErrnoException {
        this.driver = driver;
        this.viommu = viommu;
        this.mmapOffset = data == null ? 0 : announce(data);
    }

    /** Two pages, and data that comes back in both ways. */
    private long announce(UserData data) throws ErrnoException {
        ByteBuffer given = data.read(TYPE, DATA_LEAST, DATA_BYTES);
        int word = given.getInt(0);
        MemorySegment pages = MemorySegment.ofArray(new byte[MMAP_BYTES]);
        pages.set(ValueLayout.JAVA_INT_UNALIGNED, 0, word);
        long offset = viommu.context().announce(viommu, pages);
        given.putInt(4, word).putLong(8, offset).putLong(16, MMAP_BYTES);
        try {
            byte[] answer = new byte[DATA_BYTES];
            given.get(0, answer);
            data.write(TYPE, DATA_LEAST, answer);
        } catch (ErrnoException e) {
            viommu.context().withdraw(offset);
            throw e;
        }
        return offset;
    }

    Viommu viommu() {
        return viommu;
    }

    @Override
    public NestedDomain nested(int flags, UserData data, @Nullable FaultQueue faults) throws ErrnoException {
        return MockNested.of(driver, this, flags, data, faults);
    }

    /** All entries are read before any is done. */
    @Override
    public void invalidate(InvalidationEntries entries) throws ErrnoException {
        if ((long) entries.count() * ENTRY_BYTES > MOST_ALLOCATED_BYTES) {
            entries.uncounted();
            throw new ErrnoException(Errno.ENOMEM);
        }
        entries.require(ENTRY_TYPE);
        ByteBuffer all = entries.readAll(ENTRY_BYTES);
        for (int i = 0; i < entries.count(); i++) {
            invalidate(all.getInt(i * ENTRY_BYTES), all.getInt(i * ENTRY_BYTES + 4), all.getInt(i * ENTRY_BYTES + 8));
            entries.oneDone();
        }
    }

    private void invalidate(int flags, int virtualId, int entry) throws ErrnoException {
        if ((flags & ~ENTRY_ALL) != 0) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "flags", "bits of 0x1");
        }
        if (Integer.compareUnsigned(entry, MockDevice.CACHE_ENTRIES) >= 0) {
            throw new ErrnoException(Errno.EINVAL, "cache_id", "0 to " + (MockDevice.CACHE_ENTRIES - 1));
        }
        DriverDevice device = viommu.find(Integer.toUnsignedLong(virtualId));
        if (device == null) {
            throw new ErrnoException(Errno.EINVAL, "vdev_id", "the virtual id of a device of this vIOMMU");
        }
        ((MockDevice) device).invalidateCache(entry, (flags & ENTRY_ALL) != 0);
    }

    @Override
    public boolean hasHwQueues(int type) {
        return type == HW_QUEUE_TYPE;
    }

    @Override
    public Runnable hwQueue(HwQueue queue, int index) throws ErrnoException {
        long first = queue.address() & -Areas.PAGE_BYTES;
        if (queue.address() + queue.bytes() - first > Areas.PAGE_BYTES) {
            // A program's pages lie anywhere in physical memory.
            throw new ErrnoException(Errno.EFAULT, "length", "what is in one page");
        }
        if (index < 0 || index >= MOST_HW_QUEUES) {
            throw new ErrnoException(Errno.EINVAL, "index", "0 to " + (MOST_HW_QUEUES - 1));
        }
        synchronized (hwQueues) {
            if (hwQueues[index] != null) {
                throw new ErrnoException(Errno.EEXIST, "index", "one that is free");
            }
            HwQueue before = index == 0 ? null : hwQueues[index - 1];
            if (index > 0 && before == null) {
                throw new ErrnoException(Errno.EIO, "index", "the lowest that is free");
            }
            hwQueues[index] = queue;
            if (before != null) {
                before.need();
            }
            return () -> {
                synchronized (hwQueues) {
                    // Not its own index, which Linux 7.2's mock never notes: of another queue the place stays taken.
                    hwQueues[0] = null;
                    if (before != null) {
                        before.needNoMore();
                    }
                }
            };
        }
    }

    @Override
    public void close() {
        if (mmapOffset != 0) {
            viommu.context().withdraw(mmapOffset);
        }
    }
}
