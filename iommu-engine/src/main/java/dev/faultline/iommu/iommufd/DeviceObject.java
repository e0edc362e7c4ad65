package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.AreaResult;
import dev.faultline.iommu.Areas;
import dev.faultline.iommu.IovaRange;
import dev.faultline.iommu.QuiescenceTimeout;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * A device bound to a context: the kernel's {@code iommufd_device}. What it is attached to is its {@link IsolationGroup}'s.
 *
 * <p>Threads: any; attaching, replacing and detaching wait a bounded time for threads that step devices. Ownership: held by the driver that
 * bound it, until it {@linkplain #unbind unbinds} it, and by its attachments: a program cannot destroy it. Errors: {@link ErrnoException},
 * as the kernel's. Source: {@code drivers/iommu/iommufd/device.c}, Linux 7.2.
 */
public final class DeviceObject extends IommufdObject {
    /** Attaches or replaces. */
    @FunctionalInterface
    private interface Change {
        /** What was attached before and is to be let go, or null. */
        @Nullable
        Left to(Hwpt hwpt) throws ErrnoException;
    }

    /** A page table that was left by as many devices, and what waits for their threads. */
    private record Left(Hwpt hwpt, int devices, Later later) {}

    /** What it is attached to now, and what before that is to be let go, if anything. */
    private record Changed(Hwpt to, @Nullable Left left) {}

    private final Context context;
    private final DriverDevice device;
    private final boolean keepsOpen;
    private final IsolationGroup group;

    /** Over its vDEVICE, and over making one; taken before the table's lock and before a vIOMMU's. */
    private final ReentrantLock vdeviceLock = new ReentrantLock();

    // Under that lock.
    private @Nullable Vdevice vdevice;
    private boolean leaving;

    DeviceObject(Context context, DriverDevice device, boolean keepsOpen) {
        this.context = context;
        this.device = device;
        this.keepsOpen = keepsOpen;
        this.group = device.group();
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

    private ObjectTable objects() {
        return context.objects();
    }

    // ---- what a driver asks for ----

    /**
     * Attaches it.
     *
     * @param pasid 0 for the device as a whole
     * @param ptId a page table; or an address space, which gives it an automatic one
     * @return the page table's id
     * @throws ErrnoException if it is refused; nothing has changed
     */
    public int attach(int pasid, int ptId) throws ErrnoException {
        return change(ptId, pasid, true, hwpt -> attachTo(hwpt, pasid));
    }

    /**
     * Replaces what it is attached to.
     *
     * @param pasid 0 for the device as a whole
     * @param ptId a page table; or an address space, which gives it an automatic one
     * @return the page table's id
     * @throws ErrnoException if it is refused; nothing has changed
     */
    public int replace(int pasid, int ptId) throws ErrnoException {
        return change(ptId, pasid, false, hwpt -> replaceBy(hwpt, pasid));
    }

    /**
     * Detaches it. What is not attached stays so. While others of its isolation group are attached to the same, it stays there with them;
     * with the last one all are blocked, and what they asked is answered INVALID before this returns.
     *
     * @param pasid 0 for the device as a whole
     * @throws ErrnoException EBUSY if a thread has entered the group's first device and does not step it within the limit: it is attached as
     *     before. Others of the group whose threads do not are blocked once those do
     */
    public void detach(int pasid) throws ErrnoException {
        try {
            leave(pasid, true);
        } catch (QuiescenceTimeout e) {
            throw new ErrnoException(Errno.EBUSY, "device", "one that is stepped or left");
        }
    }

    /**
     * Detaches it, with all its PASIDs.
     *
     * @throws ErrnoException EBUSY as {@link #detach} says: some of its PASIDs may be detached already
     */
    public void detachAll() throws ErrnoException {
        for (int pasid : pasids()) {
            detach(pasid);
        }
    }

    private int[] pasids() {
        group.lock().lock();
        try {
            return group.pasids(this);
        } finally {
            group.lock().unlock();
        }
    }

    /**
     * Gives it back to nobody; the driver does not use this any more. What is attached is detached, and cannot refuse that: where a thread
     * has entered a device and does not step it within the limit, the device is blocked once it does, and what it was attached to stays
     * until then.
     */
    public void unbind() {
        for (int pasid : pasids()) {
            leave(pasid, false);
        }
        objects().remove(this, false);
    }

    /**
     * What a PASID of its isolation group is attached to.
     *
     * @param pasid 0 for the device as a whole
     * @return the driver's page table, or null
     */
    public @Nullable Domain domain(int pasid) {
        group.lock().lock();
        try {
            Hwpt found = group.of(pasid);
            return found == null ? null : found.domain();
        } finally {
            group.lock().unlock();
        }
    }

    // ---- its vDEVICE ----

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
    void destroy() {
        group.unbind(this);
        if (keepsOpen) {
            context.letGo();
        }
    }

    // ---- changes ----

    private int change(int ptId, int pasid, boolean attaches, Change change) throws ErrnoException {
        IommufdObject target = objects().hold(ptId, IommufdObject.class);
        if (target == null) {
            throw new ErrnoException(Errno.ENOENT, "pt_id", "the id of an IOAS or a HWPT");
        }
        Changed changed;
        try {
            changed = switch (target) {
                case Hwpt hwpt -> new Changed(hwpt, change.to(hwpt));
                case Ioas ioas -> toAutomatic(ioas, pasid, attaches, change);
                default -> throw new ErrnoException(Errno.EINVAL, "pt_id", "the id of an IOAS or a HWPT");
            };
        } catch (QuiescenceTimeout e) {
            throw new ErrnoException(Errno.EBUSY, "pt_id", "one whose devices are stepped: " + e.getMessage());
        } finally {
            objects().letGo(target);
        }
        // Last, for it may destroy an automatic page table, which takes locks.
        letGo(changed.left);
        return changed.to.id();
    }

    /** Looks for an automatic page table that fits, or makes one. */
    private Changed toAutomatic(Ioas ioas, int pasid, boolean attaches, Change change) throws ErrnoException {
        @Nullable Left[] undone = new @Nullable Left[1];
        ioas.lock();
        try {
            for (HwptPaging each : List.copyOf(ioas.paging())) {
                if (each.isAutomatic() && objects().tryUse(each)) {
                    try {
                        return new Changed(each, change.to(each));
                    } catch (ErrnoException e) {
                        // This one does not fit, another may.
                        if (e.errno() != Errno.EINVAL) {
                            throw e;
                        }
                    } finally {
                        // A detach may have come since.
                        objects().unuseAndDestroy(each);
                    }
                }
            }
            PagingDomain domain =
                    HwptCommands.make(context.process().allocations(), () -> device.paging(0, null, null));
            HwptPaging made = new HwptPaging(objects(), domain, null, false, ioas, false, true);
            @Nullable Left[] left = new @Nullable Left[1];
            context.create(made, hwpt -> {
                objects().use(hwpt);
                if (attaches) {
                    left[0] = change.to(hwpt);
                    try {
                        hwpt.join();
                    } catch (ErrnoException | RuntimeException e) {
                        // From this, or from what another thread has put in its place since.
                        undone[0] = leaveNow(pasid, false);
                        throw e;
                    }
                } else {
                    hwpt.join();
                    left[0] = change.to(hwpt);
                }
            });
            // Before it could be found, a detach that came since would have left it.
            objects().unuseAndDestroy(made);
            return new Changed(made, left[0]);
        } finally {
            ioas.unlock();
            left(undone[0]);
        }
    }

    private @Nullable Left attachTo(Hwpt hwpt, int pasid) throws ErrnoException {
        group.lock().lock();
        try {
            if (group.of(this, pasid) != null) {
                throw new ErrnoException(Errno.EBUSY, "pasid", "one that is not attached");
            }
            Hwpt there = group.of(pasid);
            if (there != null && there != hwpt) {
                throw new ErrnoException(Errno.EINVAL, "pt_id", "what others of the isolation group are attached to");
            }
            if (pasid == IsolationGroup.WHOLE) {
                reserve(hwpt);
            }
            try {
                if (there == null) {
                    group.attach(this, hwpt, pasid);
                } else {
                    group.join(this, pasid);
                }
            } catch (ErrnoException | RuntimeException e) {
                if (pasid == IsolationGroup.WHOLE) {
                    release(hwpt);
                }
                throw e;
            }
            objects().use(hwpt);
            objects().use(this);
            return null;
        } finally {
            group.lock().unlock();
        }
    }

    private @Nullable Left replaceBy(Hwpt hwpt, int pasid) throws ErrnoException {
        group.lock().lock();
        try {
            Hwpt old = group.of(this, pasid);
            if (old == null) {
                throw new ErrnoException(Errno.EINVAL, "pasid", "one that is attached");
            }
            if (old == hwpt) {
                return null;
            }
            Collection<DeviceObject> all = group.joined(pasid);
            boolean moves = pasid == IsolationGroup.WHOLE && ioas(hwpt) != ioas(old);
            Later later = new Later(context, old);
            try {
                if (moves) {
                    for (DeviceObject each : all) {
                        each.reserve(hwpt);
                    }
                }
                group.replace(hwpt, pasid, later);
            } catch (ErrnoException | RuntimeException e) {
                if (moves) {
                    all.forEach(each -> each.release(hwpt));
                }
                throw e;
            }
            all.forEach(each -> objects().use(hwpt));
            if (moves) {
                all.forEach(each -> each.release(old));
            }
            return new Left(old, all.size(), later);
        } finally {
            group.lock().unlock();
        }
    }

    /** Detaches, and lets go of what it was attached to. */
    private void leave(int pasid, boolean mayRefuse) {
        left(leaveNow(pasid, mayRefuse));
    }

    private void left(@Nullable Left left) {
        if (left != null) {
            letGo(left);
            objects().unuse(this);
        }
    }

    /** Detaches; null if it is not attached. */
    private @Nullable Left leaveNow(int pasid, boolean mayRefuse) {
        group.lock().lock();
        try {
            Hwpt left = group.of(this, pasid);
            if (left == null) {
                return null;
            }
            Later later = new Later(context, left);
            group.leave(this, pasid, mayRefuse, later);
            if (pasid == IsolationGroup.WHOLE) {
                release(left);
            }
            return new Left(left, 1, later);
        } finally {
            group.lock().unlock();
        }
    }

    private static Ioas ioas(Hwpt hwpt) {
        return hwpt.paging().ioas();
    }

    private void reserve(Hwpt hwpt) throws ErrnoException {
        Areas areas = ioas(hwpt).areas();
        for (IovaRange range : device.reserved()) {
            AreaResult result = areas.reserve(this, range.first(), range.last());
            if (result != AreaResult.DONE) {
                areas.release(this);
                throw new ErrnoException(AreaErrno.of(result), "pt_id", "an address space with nothing in " + range);
            }
        }
    }

    private void release(Hwpt hwpt) {
        ioas(hwpt).areas().release(this);
    }

    /** Lets go of what was replaced, once nobody uses it. */
    private void letGo(@Nullable Left left) {
        if (left != null) {
            left.later.finish(() -> {
                for (int i = 0; i < left.devices; i++) {
                    letGo(left.hwpt);
                }
            });
        }
    }

    /** Lets go of a page table it was attached to; an automatic one goes with its last attachment. */
    void letGo(Hwpt hwpt) {
        if (hwpt instanceof HwptPaging paging && paging.isAutomatic()) {
            objects().unuseAndDestroy(paging);
        } else {
            objects().unuse(hwpt);
        }
    }
}
