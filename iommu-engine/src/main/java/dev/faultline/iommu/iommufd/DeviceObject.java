package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.AreaResult;
import dev.faultline.iommu.Areas;
import dev.faultline.iommu.Attachment;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.IovaRange;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.QuiescenceTimeout;
import java.util.List;
import java.util.TreeMap;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * A device bound to a context, alone in its isolation group: the kernel's {@code iommufd_device} and {@code iommufd_group} in one.
 *
 * <p>Threads: any; its lock lets one change its attachments at a time, and is taken after an address space's. Held by the driver that
 * bound it, and by its attachments: a program cannot destroy it.
 */
public final class DeviceObject extends IommufdObject {
    /** Stands for the device as a whole. */
    private static final int WHOLE = 0;

    private record Attached(Hwpt hwpt, Attachment attachment) {}

    /** Attaches or replaces. */
    @FunctionalInterface
    private interface Change {
        /** What was attached before and is to be let go, or null. */
        @Nullable
        Hwpt to(Hwpt hwpt) throws ErrnoException;
    }

    /** What it is attached to now, and what before that is to be let go, if anything. */
    private record Changed(Hwpt to, @Nullable Hwpt left) {}

    /** What the engine does for a change. */
    @FunctionalInterface
    private interface Engine {
        Attachment run();
    }

    private final Context context;
    private final DriverDevice device;
    private final boolean keepsOpen;
    private final ReentrantLock attaching = new ReentrantLock();

    /** By PASID; under the lock. */
    private final TreeMap<Integer, Attached> attached = new TreeMap<>(Integer::compareUnsigned);

    /** Over its vDEVICE, and over making one; taken before the table's lock and before a vIOMMU's. */
    private final ReentrantLock vdeviceLock = new ReentrantLock();

    // Under that lock.
    private @Nullable Vdevice vdevice;
    private boolean leaving;

    DeviceObject(Context context, DriverDevice device, boolean keepsOpen) {
        this.context = context;
        this.device = device;
        this.keepsOpen = keepsOpen;
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
        objects().use(this);
        boolean done = false;
        try {
            int id = change(ptId, pasid, true, hwpt -> attachTo(hwpt, pasid));
            done = true;
            return id;
        } finally {
            if (!done) {
                objects().unuse(this);
            }
        }
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
     * Detaches it. What is not attached stays so.
     *
     * @param pasid 0 for the device as a whole
     */
    public void detach(int pasid) {
        Hwpt left = leave(pasid);
        if (left != null) {
            letGo(left);
            objects().unuse(this);
        }
    }

    /** Detaches it, with all its PASIDs. */
    public void detachAll() {
        int[] pasids;
        attaching.lock();
        try {
            pasids = attached.keySet().stream().mapToInt(Integer::intValue).toArray();
        } finally {
            attaching.unlock();
        }
        for (int pasid : pasids) {
            detach(pasid);
        }
    }

    /** Gives it back to nobody. It is detached, and the driver does not use this any more. */
    public void unbind() {
        objects().remove(this, false);
    }

    /**
     * What a PASID is attached to.
     *
     * @param pasid 0 for the device as a whole
     * @return the driver's page table, or null
     */
    public @Nullable Domain domain(int pasid) {
        attaching.lock();
        try {
            Attached found = attached.get(pasid);
            return found == null ? null : found.hwpt.domain();
        } finally {
            attaching.unlock();
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
        device.binding().set(null);
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
        if (changed.left != null) {
            letGo(changed.left);
        }
        return changed.to.id();
    }

    /** Looks for an automatic page table that fits, or makes one. */
    private Changed toAutomatic(Ioas ioas, int pasid, boolean attaches, Change change) throws ErrnoException {
        ioas.tables.lock();
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
            @Nullable Hwpt[] left = new @Nullable Hwpt[1];
            context.create(made, hwpt -> {
                objects().use(hwpt);
                if (attaches) {
                    left[0] = change.to(hwpt);
                    try {
                        hwpt.join();
                    } catch (ErrnoException | RuntimeException e) {
                        Hwpt undone = leave(pasid);
                        if (undone != null) {
                            objects().unuse(undone);
                        }
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
            ioas.tables.unlock();
        }
    }

    private @Nullable Hwpt attachTo(Hwpt hwpt, int pasid) throws ErrnoException {
        attaching.lock();
        try {
            if (attached.containsKey(pasid)) {
                throw new ErrnoException(Errno.EBUSY, "pasid", "one that is not attached");
            }
            if (pasid == WHOLE) {
                reserve(hwpt);
            }
            try {
                PageTable table = hwpt.domain().table();
                Device engine = device.device();
                admit(hwpt, pasid);
                Attachment made = run(() -> pasid == WHOLE ? engine.attach(table) : engine.attach(table, pasid));
                attached.put(pasid, new Attached(hwpt, made));
            } catch (ErrnoException | RuntimeException e) {
                if (pasid == WHOLE) {
                    release(hwpt);
                }
                throw e;
            }
            objects().use(hwpt);
            device.attached(hwpt.domain(), pasid);
            return null;
        } finally {
            attaching.unlock();
        }
    }

    private @Nullable Hwpt replaceBy(Hwpt hwpt, int pasid) throws ErrnoException {
        attaching.lock();
        try {
            Attached old = attached.get(pasid);
            if (old == null) {
                throw new ErrnoException(Errno.EINVAL, "pasid", "one that is attached");
            }
            if (old.hwpt == hwpt) {
                return null;
            }
            boolean moves = pasid == WHOLE && ioas(hwpt) != ioas(old.hwpt);
            if (moves) {
                reserve(hwpt);
            }
            try {
                admit(hwpt, pasid);
                Attachment made = run(() -> old.attachment.replace(hwpt.domain().table()));
                attached.put(pasid, new Attached(hwpt, made));
            } catch (ErrnoException | RuntimeException e) {
                if (moves) {
                    release(hwpt);
                }
                throw e;
            }
            objects().use(hwpt);
            device.attached(hwpt.domain(), pasid);
            if (moves) {
                release(old.hwpt);
            }
            return old.hwpt;
        } finally {
            attaching.unlock();
        }
    }

    /** Detaches; what from, whose hold the caller gets, or null. */
    private @Nullable Hwpt leave(int pasid) {
        attaching.lock();
        try {
            Attached old = attached.get(pasid);
            if (old == null) {
                return null;
            }
            old.attachment.detach();
            attached.remove(pasid);
            device.detached(pasid);
            if (pasid == WHOLE) {
                release(old.hwpt);
            }
            return old.hwpt;
        } finally {
            attaching.unlock();
        }
    }

    /** Looks at everything that can be wrong with an attachment, in the kernel's order; under the lock. */
    private void admit(Hwpt hwpt, int pasid) throws ErrnoException {
        if (hwpt.fault() != null && !device.maySharePageRequests()) {
            throw new ErrnoException(Errno.EINVAL, "pt_id", "no fault queue: the page request interface is shared");
        }
        if (pasid == WHOLE) {
            if (!hwpt.takesPasids() && !attached.isEmpty() && attached.lastKey() != WHOLE) {
                throw new ErrnoException(
                        Errno.EINVAL, "pt_id", "a page table with the PASID flag, as a PASID is attached");
            }
        } else {
            Attached whole = attached.get(WHOLE);
            if (!hwpt.takesPasids()) {
                throw new ErrnoException(Errno.EINVAL, "pt_id", "a page table with the PASID flag");
            }
            if (whole != null && !whole.hwpt.takesPasids()) {
                throw new ErrnoException(
                        Errno.EINVAL, "pasid", "0, for the device is attached to a page table without the PASID flag");
            }
        }
        context.process().allocations().take("an attach handle");
        if (hwpt.domain().driver() != device.driver()) {
            throw new ErrnoException(Errno.EINVAL, "pt_id", "a page table of the same driver");
        }
        if (pasid != WHOLE && Integer.compareUnsigned(pasid, device.pasids()) >= 0) {
            throw new ErrnoException(Errno.EINVAL, "pasid", "below " + device.pasids());
        }
        device.admit(hwpt.domain(), pasid);
    }

    private static Attachment run(Engine engine) throws ErrnoException {
        try {
            return engine.run();
        } catch (IllegalArgumentException e) {
            throw new ErrnoException(Errno.EINVAL, "pt_id", "what the device can be attached to: " + e.getMessage());
        } catch (IllegalStateException e) {
            throw new ErrnoException(Errno.EBUSY, "pt_id", "a device and a fault queue with room: " + e.getMessage());
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

    /** Lets go of a page table it was attached to; an automatic one goes with its last attachment. */
    private void letGo(Hwpt hwpt) {
        if (hwpt instanceof HwptPaging paging && paging.isAutomatic()) {
            objects().unuseAndDestroy(paging);
        } else {
            objects().unuse(hwpt);
        }
    }
}
