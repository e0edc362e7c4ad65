package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Attachment;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.QuiescenceTimeout;
import dev.faultline.iommu.Replacement;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Devices that their hardware cannot keep apart, and that translate through the same page tables for that reason: the first one that a
 * program attaches takes all of them there, further ones join, and when the last leaves all are blocked. The kernel's {@code iommu_group}
 * and {@code iommufd_group} in one.
 *
 * <p>Faults carry the id of the device that made them; of one that is not bound, the id of the one that was attached first.
 *
 * <p>Threads: any; one change at a time, which is under its lock, taken after an address space's, and waits a bounded time for threads that
 * step its devices. Ownership: a driver makes it with its first device; its devices stay in it. Lifetime: its devices'. Source: {@code
 * drivers/iommu/iommu.c} and {@code drivers/iommu/iommufd/device.c}, Linux 7.2.
 *
 * <p>Errors: {@link ErrnoException} where a program asks for the change.
 */
public final class IsolationGroup {
    /** Stands for devices as a whole. */
    static final int WHOLE = 0;

    /** To what a PASID is attached. */
    private static final class Attached {
        private Hwpt hwpt;

        /** A program's devices that have attached or joined. */
        private final Set<DeviceObject> joined = new LinkedHashSet<>();

        /** Of the members, but those without PASIDs where it is one. */
        private final List<Attachment> attachments = new ArrayList<>();

        Attached(Hwpt hwpt) {
            this.hwpt = hwpt;
        }
    }

    private final ReentrantLock lock = new ReentrantLock();

    // Under the lock.
    private final List<DriverDevice> members = new ArrayList<>();
    private final Map<DriverDevice, DeviceObject> bound = new LinkedHashMap<>();
    private final TreeMap<Integer, Attached> attached = new TreeMap<>(Integer::compareUnsigned);

    /** How often each is being reset. */
    private final Map<DriverDevice, Integer> resets = new LinkedHashMap<>();

    private @Nullable Context owner;

    /** Makes a group without devices. */
    public IsolationGroup() {}

    /**
     * Adds a device, when it is made.
     *
     * @param device whose {@link DriverDevice#group} this is
     * @throws IllegalStateException if a device of the group is bound
     */
    public void add(DriverDevice device) {
        lock.lock();
        try {
            if (owner != null) {
                throw new IllegalStateException(
                        "the group is owned by a program: allowed before a device of it is bound");
            }
            members.add(device);
        } finally {
            lock.unlock();
        }
    }

    Lock lock() {
        return lock;
    }

    // ---- who owns it ----

    /** Gives a device to a context, which owns the group from then on. */
    void bind(DeviceObject device) throws ErrnoException {
        lock.lock();
        try {
            if (owner != null && owner != device.context()) {
                throw new ErrnoException(Errno.EPERM, "device", "one of a group that no other program owns");
            }
            if (bound.containsKey(device.device())) {
                throw new ErrnoException(Errno.EBUSY, "device", "one that is not bound");
            }
            owner = device.context();
            bound.put(device.device(), device);
        } finally {
            lock.unlock();
        }
    }

    /** The device is nobody's any more; the group, once none of it is somebody's. */
    void unbind(DeviceObject device) {
        lock.lock();
        try {
            bound.remove(device.device());
            if (bound.isEmpty()) {
                owner = null;
            } else if (!attached.isEmpty()) {
                nameUnbound(bound.values().iterator().next());
            }
        } finally {
            lock.unlock();
        }
    }

    /** Who is not bound, and so has no id, goes by another's. */
    private void nameUnbound(DeviceObject by) {
        for (DriverDevice member : members) {
            if (!bound.containsKey(member)) {
                try {
                    member.device().reportAs(by.id());
                } catch (QuiescenceTimeout e) {
                    // It keeps the name it had, and is stepped by nobody now.
                }
            }
        }
    }

    // ---- resets ----

    /**
     * A driver is about to reset a device: it is blocked, and its group neither attached nor moved (EBUSY) until the reset is done. It can
     * be detached. Several resets at once count.
     *
     * @param device a member
     * @throws QuiescenceTimeout if a thread has entered the device and does not step it within the limit: nothing has changed
     */
    public void prepareReset(DriverDevice device) {
        lock.lock();
        try {
            if (!resets.containsKey(device)) {
                device.device().block(true);
            }
            resets.merge(device, 1, Integer::sum);
        } finally {
            lock.unlock();
        }
    }

    /**
     * A reset is done: the device translates through what its group is attached to now.
     *
     * @param device a member that is being reset
     * @throws IllegalStateException if it is not; as {@link QuiescenceTimeout} if a thread has entered the device and does not step it
     *     within the limit: it is still being reset
     */
    public void resetDone(DriverDevice device) {
        lock.lock();
        try {
            int left = resets.getOrDefault(device, 0) - 1;
            if (left < 0) {
                throw new IllegalStateException(device + " is not being reset");
            }
            if (left == 0) {
                device.device().block(false);
                resets.remove(device);
            } else {
                resets.put(device, left);
            }
        } finally {
            lock.unlock();
        }
    }

    // ---- what it is attached to; all under the lock ----

    /** What a PASID is attached to, if a device is among those that did so. */
    @Nullable
    Hwpt of(DeviceObject device, int pasid) {
        Attached there = attached.get(pasid);
        return there == null || !there.joined.contains(device) ? null : there.hwpt;
    }

    /** What a PASID is attached to. */
    @Nullable
    Hwpt of(int pasid) {
        Attached there = attached.get(pasid);
        return there == null ? null : there.hwpt;
    }

    /** A program's devices that are attached. */
    Collection<DeviceObject> joined(int pasid) {
        Attached there = attached.get(pasid);
        return there == null ? List.of() : List.copyOf(there.joined);
    }

    /** For which PASIDs a device is attached. */
    int[] pasids(DeviceObject device) {
        return attached.entrySet().stream()
                .filter(each -> each.getValue().joined.contains(device))
                .mapToInt(Map.Entry::getKey)
                .toArray();
    }

    /** One more device is attached, where another has taken the group. */
    void join(DeviceObject device, int pasid) {
        Attached there = attached.get(pasid);
        if (there == null) {
            throw new IllegalStateException("PASID " + pasid + " is not attached");
        }
        there.joined.add(device);
    }

    /** Attaches all of them, or none; the first of a program's devices does that. */
    void attach(DeviceObject first, Hwpt hwpt, int pasid) throws ErrnoException {
        admit(hwpt, pasid);
        nameUnbound(first);
        PageTable table = hwpt.domain().table();
        Attached made = new Attached(hwpt);
        try {
            for (DriverDevice member : taking(pasid)) {
                var engine = member.device();
                made.attachments.add(run(() -> pasid == WHOLE ? engine.attach(table) : engine.attach(table, pasid)));
            }
        } catch (ErrnoException | RuntimeException e) {
            ObjectTable objects = first.context().objects();
            objects.use(hwpt);
            Later later = new Later(first.context());
            block(made, later);
            later.finish(() -> objects.unuse(hwpt));
            throw e;
        }
        made.joined.add(first);
        attached.put(pasid, made);
        for (DriverDevice member : taking(pasid)) {
            member.attached(hwpt.domain(), pasid);
        }
    }

    /**
     * Moves all of them, or none.
     *
     * @param later what is due once those have moved whose threads do not step
     */
    void replace(Hwpt hwpt, int pasid, Later later) throws ErrnoException {
        Attached there = attached.get(pasid);
        if (there == null) {
            throw new ErrnoException(Errno.EINVAL, "pasid", "one that is attached");
        }
        admit(hwpt, pasid);
        PageTable table = hwpt.domain().table();
        List<Replacement> prepared = new ArrayList<>();
        try {
            for (Attachment old : there.attachments) {
                prepared.add(run(() -> old.prepare(table)));
            }
        } catch (ErrnoException | RuntimeException e) {
            prepared.forEach(Replacement::giveUp);
            throw e;
        }
        there.attachments.clear();
        for (Replacement each : prepared) {
            there.attachments.add(each.attachment());
            later.await(each::commit);
        }
        there.hwpt = hwpt;
        for (DriverDevice member : taking(pasid)) {
            member.attached(hwpt.domain(), pasid);
        }
    }

    /**
     * A device leaves; with the last one all are blocked, and what they asked is answered.
     *
     * @param mayRefuse whether it stays attached if the thread of the first of the group's devices does not step; those of the others
     *     are blocked later in any case
     * @param later what is due once all are blocked
     * @throws QuiescenceTimeout if nothing has changed
     */
    void leave(DeviceObject device, int pasid, boolean mayRefuse, Later later) {
        Attached there = attached.get(pasid);
        if (there == null || !there.joined.contains(device)) {
            return;
        }
        if (there.joined.size() == 1) {
            if (mayRefuse) {
                there.attachments.getFirst().detach();
            }
            block(there, later);
            attached.remove(pasid);
            taking(pasid).forEach(member -> member.detached(pasid));
        }
        there.joined.remove(device);
    }

    private static void block(Attached there, Later later) {
        for (Attachment each : there.attachments) {
            later.await(each::detachOrLeave);
        }
    }

    /** Those that a PASID is for: where it is one, those that have any. */
    private List<DriverDevice> taking(int pasid) {
        if (pasid == WHOLE) {
            return members;
        }
        return members.stream().filter(member -> member.pasids() > 1).toList();
    }

    /** Looks at everything that can be wrong with an attachment, in the kernel's order. */
    private void admit(Hwpt hwpt, int pasid) throws ErrnoException {
        for (DriverDevice member : members) {
            if (hwpt.fault() != null && !member.maySharePageRequests()) {
                throw new ErrnoException(Errno.EINVAL, "pt_id", "no fault queue: the page request interface is shared");
            }
        }
        requirePasids(hwpt, pasid);
        if (owner != null) {
            owner.process().allocations().take("an attach handle");
        }
        List<DriverDevice> taking = taking(pasid);
        for (DriverDevice member : members) {
            if (hwpt.domain().driver() != member.driver()) {
                throw new ErrnoException(Errno.EINVAL, "pt_id", "a page table of the same driver");
            }
        }
        if (!resets.isEmpty()) {
            throw new ErrnoException(Errno.EBUSY, "device", "one of a group in which none is being reset");
        }
        if (taking.isEmpty()) {
            throw new ErrnoException(Errno.EINVAL, "pasid", "below 1");
        }
        for (DriverDevice member : taking) {
            if (pasid != WHOLE && Integer.compareUnsigned(pasid, member.pasids()) >= 0) {
                throw new ErrnoException(Errno.EINVAL, "pasid", "below " + member.pasids());
            }
        }
        for (DriverDevice member : taking) {
            member.admit(hwpt.domain(), pasid);
        }
    }

    private void requirePasids(Hwpt hwpt, int pasid) throws ErrnoException {
        if (pasid == WHOLE) {
            if (!hwpt.takesPasids() && !attached.isEmpty() && attached.lastKey() != WHOLE) {
                throw new ErrnoException(
                        Errno.EINVAL, "pt_id", "a page table with the PASID flag, as a PASID is attached");
            }
            return;
        }
        Attached whole = attached.get(WHOLE);
        if (!hwpt.takesPasids()) {
            throw new ErrnoException(Errno.EINVAL, "pt_id", "a page table with the PASID flag");
        }
        if (whole != null && !whole.hwpt.takesPasids()) {
            throw new ErrnoException(
                    Errno.EINVAL, "pasid", "0, for the device is attached to a page table without the PASID flag");
        }
    }

    /** What the engine does for a change. */
    @FunctionalInterface
    private interface Engine<T> {
        T run();
    }

    private static <T> T run(Engine<T> engine) throws ErrnoException {
        try {
            return engine.run();
        } catch (IllegalArgumentException e) {
            throw new ErrnoException(Errno.EINVAL, "pt_id", "what the device can be attached to: " + e.getMessage());
        } catch (IllegalStateException e) {
            throw new ErrnoException(Errno.EBUSY, "pt_id", "a device and a fault queue with room: " + e.getMessage());
        }
    }
}
