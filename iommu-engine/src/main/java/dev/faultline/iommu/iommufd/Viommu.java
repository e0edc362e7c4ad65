package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;

/**
 * A guest's IOMMU, over a nesting parent: the kernel's vIOMMU. It knows which of the program's devices the guest knows by which virtual
 * id, and takes the events that concern the guest.
 *
 * <p>Threads: any. A driver looks devices up and reports events while commands come and go: an event queue is not destroyed while an
 * event is being put in it. Held by the page tables nested through it, its vDEVICEs, vEVENTQs and HW queues, and mappings of what its
 * driver announced. Source: {@code viommu.c} and {@code driver.c}, Linux 7.2.
 *
 * <p>Lifetime: until it is destroyed. Units: bytes of an event. Errors: {@link ErrnoException}.
 */
public final class Viommu extends IommufdObject {
    private final Context context;
    private final int type;
    private final HwptPaging parent;
    private final Driver behind;

    /** By virtual id; its own lock. Those that a driver has not accepted yet are not found. */
    private final Map<Long, Vdevice> vdevices = new HashMap<>();

    /** Reporters share it; whoever adds or takes away a queue has it alone. */
    private final ReentrantReadWriteLock queuesLock = new ReentrantReadWriteLock();

    /** Under its lock. */
    private final List<EventQueue> queues = new ArrayList<>();

    private @Nullable VirtualIommu driver;

    Viommu(Context context, int type, HwptPaging parent, Driver behind) {
        this.context = context;
        this.type = type;
        this.parent = parent;
        this.behind = behind;
        context.objects().use(parent);
    }

    /** The driver's part, once it is made; the object is found by nobody before. */
    void driver(VirtualIommu made) {
        driver = made;
    }

    VirtualIommu driver() {
        VirtualIommu made = driver;
        if (made == null) {
            throw new IllegalStateException("a vIOMMU that its driver has not made");
        }
        return made;
    }

    /**
     * Whose it is.
     *
     * @return the context
     */
    public Context context() {
        return context;
    }

    /**
     * Its type.
     *
     * @return as the program asked for it
     */
    public int type() {
        return type;
    }

    /** The second stage below everything nested through it. */
    HwptPaging parent() {
        return parent;
    }

    /** Behind which physical IOMMU its devices have to be. */
    Driver behind() {
        return behind;
    }

    // ---- virtual ids ----

    /** Sets a virtual id aside; false if it is used. */
    boolean reserve(long virtualId, Vdevice vdevice) {
        synchronized (vdevices) {
            return vdevices.putIfAbsent(virtualId, vdevice) == null;
        }
    }

    void release(long virtualId, Vdevice vdevice) {
        synchronized (vdevices) {
            vdevices.remove(virtualId, vdevice);
        }
    }

    /**
     * The device that the guest knows by an id.
     *
     * @param virtualId the guest's id
     * @return the device, or null if the guest has no such device
     */
    public @Nullable DriverDevice find(long virtualId) {
        synchronized (vdevices) {
            Vdevice vdevice = vdevices.get(virtualId);
            return vdevice == null || !vdevice.isAccepted()
                    ? null
                    : vdevice.device().device();
        }
    }

    /**
     * The id that the guest knows a device by.
     *
     * @param device of the same IOMMU
     * @return the id, or empty if the guest does not know it
     */
    public OptionalLong virtualId(DriverDevice device) {
        synchronized (vdevices) {
            return vdevices.values().stream()
                    .filter(vdevice -> vdevice.isAccepted() && vdevice.device().device() == device)
                    .mapToLong(Vdevice::virtualId)
                    .findFirst();
        }
    }

    // ---- events ----

    /** The queue of a type; under the lock. */
    private @Nullable EventQueue queue(int eventType) {
        for (EventQueue queue : queues) {
            if (queue.type() == eventType) {
                return queue;
            }
        }
        return null;
    }

    /** Adds a queue; false if there is one of its type. */
    boolean add(EventQueue queue) {
        queuesLock.writeLock().lock();
        try {
            return queue(queue.type()) == null && queues.add(queue);
        } finally {
            queuesLock.writeLock().unlock();
        }
    }

    void remove(EventQueue queue) {
        queuesLock.writeLock().lock();
        try {
            queues.remove(queue);
        } finally {
            queuesLock.writeLock().unlock();
        }
    }

    /**
     * An event for the guest happens.
     *
     * @param eventType its type
     * @param data its bytes, with the guest's ids; kept
     * @throws ErrnoException EOPNOTSUPP if the program has no queue of that type: the event is gone without a trace; ENOMEM, and it
     *     counts as lost. An event that finds its queue full is lost, too, and that is no error
     */
    public void report(int eventType, byte[] data) throws ErrnoException {
        queuesLock.readLock().lock();
        try {
            EventQueue queue = queue(eventType);
            if (queue == null) {
                throw new ErrnoException(Errno.EOPNOTSUPP);
            }
            queue.report(data);
        } finally {
            queuesLock.readLock().unlock();
        }
    }

    @Override
    void destroy() {
        try {
            if (driver != null) {
                driver.close();
            }
        } finally {
            context.objects().unuse(parent);
        }
    }
}
