package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * A device bound to a context: the kernel's {@code iommufd_device}.
 *
 * <p>Threads: any. Held by the driver that bound it, and by its attachments: a program cannot destroy it.
 */
public final class DeviceObject extends IommufdObject {
    private final Context context;
    private final DriverDevice device;

    /** Over its vDEVICE, and over making one; taken before the table's lock and before a vIOMMU's. */
    private final ReentrantLock vdeviceLock = new ReentrantLock();

    // Under that lock.
    private @Nullable Vdevice vdevice;
    private boolean leaving;

    DeviceObject(Context context, DriverDevice device) {
        this.context = context;
        this.device = device;
    }

    /**
     * Where it is bound.
     *
     * @return the context
     */
    public Context context() {
        return context;
    }

    /**
     * What is bound.
     *
     * @return the driver's device
     */
    public DriverDevice device() {
        return device;
    }

    Lock vdeviceLock() {
        return vdeviceLock;
    }

    /** Under the lock. */
    void requireNoVdevice() throws ErrnoException {
        if (leaving) {
            throw new ErrnoException(Errno.ENOENT, "dev_id", "a device that stays");
        }
        if (vdevice != null) {
            throw new ErrnoException(Errno.EEXIST, "dev_id", "a device without vDEVICE");
        }
    }

    /** Under the lock. */
    void has(Vdevice made) {
        vdevice = made;
    }

    void hasNoMore(Vdevice gone) {
        vdeviceLock.lock();
        try {
            if (vdevice == gone) {
                vdevice = null;
            }
        } finally {
            vdeviceLock.unlock();
        }
    }

    /** Its vDEVICE goes first, and leaves an id that is never used again. One that a program is destroying is waited for. */
    @Override
    void release() {
        Vdevice gone;
        vdeviceLock.lock();
        try {
            leaving = true;
            gone = vdevice;
            if (gone == null || !context.objects().tryUse(gone)) {
                return;
            }
        } finally {
            vdeviceLock.unlock();
        }
        var _ = context.objects().remove(gone, true);
    }

    @Override
    void destroy() {}
}
