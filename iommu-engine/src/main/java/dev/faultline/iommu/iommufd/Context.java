package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.ReservedRegion;
import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * One opening of {@code /dev/iommu}: the kernel's {@code iommufd_ctx}, as drivers see it.
 *
 * <p>Threads: any. Lifetime: it is open while a descriptor of it, of a fault queue or of an event queue is, or a bound device keeps it
 * so; then everything left in it is destroyed.
 *
 * <p>Ownership: the process that opened it. Errors: {@link ErrnoException}. Source: {@code drivers/iommu/iommufd/main.c}, Linux 7.2.
 */
public final class Context {
    private static final int EVERY_EVENT =
            OpenFile.POLLIN | OpenFile.POLLOUT | OpenFile.POLLRDNORM | OpenFile.POLLWRNORM;

    private static final int PAGE = 4096;

    private static final int PROT_EXEC = 4;
    private static final int MAP_SHARED = 1;
    private static final int MAP_TYPE = 0xf;

    private record Announced(IommufdObject owner, MemorySegment memory) {}

    private final SystemCalls process;
    private final Driver driver;
    private final ObjectTable objects;
    private final Commands commands;
    private final File file;
    private final Options options = new Options();

    /** How much of it is let go once a thread steps its device. */
    private final AtomicInteger awaited = new AtomicInteger();

    /** Nobody needs it to be open. Written before what was awaited is looked at; who has let go of that looks here after. */
    private volatile boolean ended;

    /** How often it was asked to destroy what is left, while that is being done. */
    private final AtomicInteger ending = new AtomicInteger();

    /** By offset; its own lock. */
    private final TreeMap<Long, Announced> announced = new TreeMap<>();

    Context(SystemCalls process, Driver driver, Commands commands, int flags) {
        this.process = process;
        this.driver = driver;
        this.commands = commands;
        this.objects = new ObjectTable(process.allocations());
        this.file = new File(flags);
    }

    /**
     * Whose it is.
     *
     * @return the process
     */
    public SystemCalls process() {
        return process;
    }

    /**
     * What its devices are behind.
     *
     * @return the driver
     */
    public Driver driver() {
        return driver;
    }

    ObjectTable objects() {
        return objects;
    }

    Commands commands() {
        return commands;
    }

    Options options() {
        return options;
    }

    OpenFile file() {
        return file;
    }

    /**
     * Finishes making an object that has an id.
     *
     * @param <T> the object's type
     */
    @FunctionalInterface
    public interface Completion<T extends IommufdObject> {
        /**
         * Does what can still fail: writing the answer, last of all.
         *
         * @param object has its id, and is found by nobody yet
         * @throws ErrnoException if it fails; then the object is destroyed, and its id is free
         */
        void complete(T object) throws ErrnoException;
    }

    /**
     * Gives an object an id, has it finished, and lets it be found.
     *
     * @param object new
     * @param rest what can still fail
     * @param <T> its type
     * @throws ErrnoException what the rest threw, or ENOMEM; the object is destroyed
     */
    public <T extends IommufdObject> void create(T object, Completion<T> rest) throws ErrnoException {
        try {
            objects.reserve(object);
        } catch (ErrnoException e) {
            object.destroy();
            throw e;
        }
        try {
            rest.complete(object);
        } catch (ErrnoException | RuntimeException e) {
            objects.abort(object);
            throw e;
        }
        objects.publish(object);
    }

    /**
     * Binds a device. It is attached to nothing.
     *
     * @param device that nobody has bound
     * @param keepsOpen whether the context stays open as long as it is bound
     * @return its object, which the driver uses until it {@linkplain DeviceObject#unbind unbinds} it
     * @throws ErrnoException EPERM if another context has bound it, or one of its isolation group; EBUSY if this one has, one of a
     *     group that nobody owns is being reset, or a thread has entered the device and does not step it, ENOMEM; EINVAL if the device has a region that it has to reach at its physical address
     */
    public DeviceObject bind(DriverDevice device, boolean keepsOpen) throws ErrnoException {
        for (ReservedRegion region : device.device().config().reserved()) {
            if (region.kind() == ReservedRegion.Kind.DIRECT) {
                throw new ErrnoException(Errno.EINVAL, "dev_id", "a device that has not to reach " + region);
            }
        }
        if (keepsOpen) {
            keepOpen();
        }
        DeviceObject bound = new DeviceObject(this, device, keepsOpen);
        try {
            device.group().bind(bound);
        } catch (ErrnoException e) {
            if (keepsOpen) {
                letGo();
            }
            throw e;
        }
        create(bound, object -> {
            try {
                device.device().reportAs(object.id());
            } catch (IllegalStateException e) {
                throw new ErrnoException(Errno.EBUSY, "device", "one that is stepped: " + e.getMessage());
            }
            // The driver's use of it.
            objects.use(object);
        });
        return bound;
    }

    /**
     * Announces memory that the program may map.
     *
     * @param owner is held while it is mapped
     * @param memory whole pages
     * @return the offset to map it at
     */
    public long announce(IommufdObject owner, MemorySegment memory) {
        synchronized (announced) {
            // The first page is left out: 0 is no offset.
            long offset = PAGE;
            for (Map.Entry<Long, Announced> each : announced.entrySet()) {
                if (each.getKey() - offset >= memory.byteSize()) {
                    break;
                }
                offset = each.getKey() + each.getValue().memory.byteSize();
            }
            announced.put(offset, new Announced(owner, memory));
            return offset;
        }
    }

    /**
     * Takes an announcement back. Nothing is mapped there, or the owner would be held.
     *
     * @param offset as {@link #announce} gave it
     */
    public void withdraw(long offset) {
        synchronized (announced) {
            announced.remove(offset);
        }
    }

    /** One more who needs the context to be open. */
    void keepOpen() {
        if (!file.hold()) {
            throw new IllegalStateException("the context is closed: allowed while it is open");
        }
    }

    void letGo() {
        file.letGo();
    }

    /** Something in it is let go only once a thread steps its device. */
    void awaits() {
        awaited.getAndIncrement();
    }

    /** That has been let go. In this order: who sees that nothing is awaited any more sees nothing left of it. */
    void awaitedOne() {
        if (ended) {
            end();
        }
        awaited.getAndDecrement();
    }

    /** Destroys what nobody holds any more. By one thread at a time, for all that come meanwhile. */
    private void end() {
        if (ending.getAndIncrement() > 0) {
            return;
        }
        int asked = 1;
        do {
            objects.destroyAll();
            asked = ending.addAndGet(-asked);
        } while (asked > 0);
        if (awaited.get() == 0 && objects.count() > 0) {
            throw new IllegalStateException(objects.count() + " objects are still held: " + objects);
        }
    }

    /** What its own descriptors refer to. */
    private final class File extends OpenFile {
        File(int flags) {
            super(flags);
        }

        @Override
        boolean hasPositions() {
            return true;
        }

        @Override
        int poll(int events, long limitNs) {
            return events & EVERY_EVENT;
        }

        @Override
        int ioctl(int request, long argument) throws ErrnoException {
            return commands.run(Context.this, request, argument);
        }

        @Override
        Context context() {
            return Context.this;
        }

        @Override
        Mapping map(long offset, long length, int protection, int flags) throws ErrnoException {
            if (length % PAGE != 0 || (flags & MAP_TYPE) != MAP_SHARED) {
                throw new ErrnoException(Errno.EINVAL);
            }
            if ((protection & PROT_EXEC) != 0) {
                throw new ErrnoException(Errno.EPERM);
            }
            Announced found;
            synchronized (announced) {
                found = announced.get(offset);
                if (found == null || found.memory.byteSize() != length || !objects.tryUse(found.owner)) {
                    throw new ErrnoException(Errno.ENXIO);
                }
            }
            IommufdObject owner = found.owner;
            return new Mapping(found.memory, () -> objects.unuse(owner));
        }

        @Override
        void released() {
            ended = true;
            end();
        }
    }
}
