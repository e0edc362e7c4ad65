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
 * <p>Faults carry the id of the device that made them; of one that is not bound, the id of the one that was attached first, as a
 * whole if any was.
 *
 * <p>Threads: any; one change at a time, which is under its lock, taken after an address space's, and waits a bounded time for threads that
 * step its devices. Ownership: a driver makes it with its first device; its devices stay in it, until one that is not bound is closed.
 * Lifetime: its devices'. Source: {@code
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
        private final Map<DriverDevice, Attachment> attachments = new LinkedHashMap<>();

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
            if (owner == null && isBeingReset()) {
                throw new ErrnoException(Errno.EBUSY, "device", "one of a group in which none is being reset");
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
                nameUnbound(attached.firstEntry().getValue().joined.iterator().next());
            }
        } finally {
            lock.unlock();
        }
    }

    /** Who is not bound, and so has no id, goes by another's: before what the device is asked for next. */
    private void nameUnbound(DeviceObject by) {
        for (DriverDevice member : members) {
            if (!bound.containsKey(member)) {
                member.device().reportSoonAs(by.id());
            }
        }
    }

    /** Those that are there: who was closed, and is nobody's, has left. */
    private List<DriverDevice> present() {
        return members.stream().filter(member -> !isGone(member)).toList();
    }

    private boolean isGone(DriverDevice member) {
        return !bound.containsKey(member) && member.device().isClosed();
    }

    /** Who has left is attached no more. */
    private void forgetGone(int pasid, Attached there) {
        there.attachments.keySet().removeIf(member -> {
            boolean gone = isGone(member);
            if (gone) {
                member.detached(pasid);
            }
            return gone;
        });
    }

    private boolean isBeingReset() {
        return present().stream().anyMatch(resets::containsKey);
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
        boolean names = attached.isEmpty();
        if (names) {
            // What they are called matters to nobody yet.
            nameUnbound(first);
        }
        PageTable table = hwpt.domain().table();
        Attached made = new Attached(hwpt);
        try {
            for (DriverDevice member : taking(pasid)) {
                var engine = member.device();
                made.attachments.put(
                        member, run(() -> pasid == WHOLE ? engine.attach(table) : engine.attach(table, pasid)));
            }
        } catch (ErrnoException | RuntimeException e) {
            ObjectTable objects = first.context().objects();
            objects.use(hwpt);
            Later later = new Later(first.context(), hwpt);
            block(made, later);
            later.finish(() -> first.letGo(hwpt));
            throw e;
        }
        made.joined.add(first);
        attached.put(pasid, made);
        if (!names && pasid == WHOLE) {
            nameUnbound(first);
        }
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
        forgetGone(pasid, there);
        admit(hwpt, pasid);
        PageTable table = hwpt.domain().table();
        Map<DriverDevice, Replacement> prepared = new LinkedHashMap<>();
        try {
            for (Map.Entry<DriverDevice, Attachment> old : there.attachments.entrySet()) {
                prepared.put(old.getKey(), run(() -> old.getValue().prepare(table)));
            }
        } catch (ErrnoException | RuntimeException e) {
            prepared.values().forEach(Replacement::giveUp);
            throw e;
        }
        prepared.forEach((member, each) -> {
            var _ = there.attachments.put(member, each.attachment());
            later.await(each::commit);
        });
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
        forgetGone(pasid, there);
        if (there.joined.size() == 1) {
            if (mayRefuse && !there.attachments.isEmpty()) {
                there.attachments.values().iterator().next().detach();
            }
            block(there, later);
            attached.remove(pasid);
            taking(pasid).forEach(member -> member.detached(pasid));
        }
        there.joined.remove(device);
    }

    private static void block(Attached there, Later later) {
        for (Attachment each : there.attachments.values()) {
            later.await(each::detachOrLeave);
        }
    }

    /** Those that a PASID is for: where it is one, those that have any. */
    private List<DriverDevice> taking(int pasid) {
        List<DriverDevice> present = present();
        return pasid == WHOLE
                ? present
                : present.stream().filter(member -> member.pasids() > 1).toList();
    }

    /** Looks at everything that can be wrong with an attachment, in the kernel's order. */
    private void admit(Hwpt hwpt, int pasid) throws ErrnoException {
        List<DriverDevice> present = present();
        for (DriverDevice member : present) {
            if (hwpt.fault() != null && !member.maySharePageRequests()) {
                throw new ErrnoException(Errno.EINVAL, "pt_id", "no fault queue: the page request interface is shared");
            }
        }
        requirePasids(hwpt, pasid);
        if (owner != null) {
            owner.process().allocations().take("an attach handle");
        }
        List<DriverDevice> taking = taking(pasid);
        for (DriverDevice member : present) {
            if (hwpt.domain().driver() != member.driver()) {
                throw new ErrnoException(Errno.EINVAL, "pt_id", "a page table of the same driver");
            }
        }
        if (isBeingReset()) {
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
