package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * The objects of a context by id: 1 or more, the lowest free first. An id is set aside while its object is being built, and the object
 * is found under it only once nothing can fail any more.
 *
 * <p>Threads: any. One lock, which is taken last of all and held for a few instructions: no user memory is touched under it, and
 * nothing is destroyed under it.
 */
final class ObjectTable {
    /** Project limit; the kernel's is 2^31 - 1. */
    static final int MOST = 1 << 22;

    private static final long REMOVAL_LIMIT_NS = TimeUnit.SECONDS.toNanos(60);

    /** Stands where an id is set aside, and where it is never to be used again. */
    private static final Object RESERVED = new Object();

    private final Allocations allocations;
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition fewerPassing = lock.newCondition();

    // Under the lock.
    private @Nullable Object[] byId = new @Nullable Object[64];
    private int lowestFree = 1;
    private int published;

    ObjectTable(Allocations allocations) {
        this.allocations = allocations;
    }

    /** Sets an id aside. */
    void reserve(IommufdObject object) throws ErrnoException {
        allocations.take("an object");
        lock.lock();
        try {
            while (lowestFree < byId.length && byId[lowestFree] != null) {
                lowestFree++;
            }
            if (lowestFree > MOST) {
                throw new ErrnoException(Errno.ENOMEM);
            }
            if (lowestFree == byId.length) {
                byId = Arrays.copyOf(byId, 2 * byId.length);
            }
            byId[lowestFree] = RESERVED;
            object.id = lowestFree;
        } finally {
            lock.unlock();
        }
    }

    /** Lets an object be found. */
    void publish(IommufdObject object) {
        lock.lock();
        try {
            byId[object.id] = object;
            published++;
        } finally {
            lock.unlock();
        }
    }

    /** Gives back the id of an object that was never found, and destroys it. */
    void abort(IommufdObject object) {
        try {
            object.destroy();
        } finally {
            lock.lock();
            try {
                free(object.id);
            } finally {
                lock.unlock();
            }
        }
    }

    private void free(int id) {
        byId[id] = null;
        lowestFree = Math.min(lowestFree, id);
    }

    private @Nullable IommufdObject find(int id) {
        return id > 0 && id < byId.length && byId[id] instanceof IommufdObject object ? object : null;
    }

    /** The object with an id, held as by a command under way until {@link #letGo}; null if there is none of that type. */
    <T extends IommufdObject> @Nullable T hold(int id, Class<T> type) {
        lock.lock();
        try {
            IommufdObject object = find(id);
            if (!type.isInstance(object)) {
                return null;
            }
            object.users++;
            object.passing++;
            return type.cast(object);
        } finally {
            lock.unlock();
        }
    }

    /** Those of a type that are found now. */
    <T extends IommufdObject> List<T> all(Class<T> type) {
        lock.lock();
        try {
            return Arrays.stream(byId).filter(type::isInstance).map(type::cast).toList();
        } finally {
            lock.unlock();
        }
    }

    void letGo(IommufdObject object) {
        lock.lock();
        try {
            object.users--;
            object.passing--;
            fewerPassing.signalAll();
        } finally {
            lock.unlock();
        }
    }

    /** One more user, which may stay as long as it likes; whoever calls this holds the object. */
    void use(IommufdObject object) {
        lock.lock();
        try {
            object.users++;
        } finally {
            lock.unlock();
        }
    }

    void unuse(IommufdObject object) {
        lock.lock();
        try {
            object.users--;
        } finally {
            lock.unlock();
        }
    }

    /** One more user, unless the object can no longer be found. */
    boolean tryUse(IommufdObject object) {
        lock.lock();
        try {
            if (find(object.id) != object) {
                return false;
            }
            object.users++;
            return true;
        } finally {
            lock.unlock();
        }
    }

    /** Keeps a removal by a driver waiting, but not a program's DESTROY. */
    void pass(IommufdObject object) {
        lock.lock();
        try {
            object.passing++;
        } finally {
            lock.unlock();
        }
    }

    void passed(IommufdObject object) {
        lock.lock();
        try {
            object.passing--;
            fewerPassing.signalAll();
        } finally {
            lock.unlock();
        }
    }

    /** A program's DESTROY. */
    void destroy(int id) throws ErrnoException {
        IommufdObject object;
        lock.lock();
        try {
            object = find(id);
            if (object == null) {
                throw new ErrnoException(Errno.ENOENT, "id", "the id of an object");
            }
            if (object.users != 1) {
                throw new ErrnoException(Errno.EBUSY, "id", "an object that nothing holds");
            }
            take(object, false);
        } finally {
            lock.unlock();
        }
        object.destroy();
    }

    /**
     * A removal by a driver, which uses the object and gives that up.
     *
     * @param tombstone whether the id is never to be used again
     * @return false if something still holds it: it is left for the context's end
     */
    boolean remove(IommufdObject object, boolean tombstone) {
        object.release();
        boolean removed = false;
        lock.lock();
        try {
            awaitPassing(object);
            object.users--;
            if (object.passing == 0 && object.users == 1 && find(object.id) == object) {
                take(object, tombstone);
                removed = true;
            }
        } finally {
            lock.unlock();
        }
        if (removed) {
            object.destroy();
        }
        return removed;
    }

    /** Waits for those that are passing, also on a thread that is interrupted; under the lock. */
    private void awaitPassing(IommufdObject object) {
        boolean interrupted = false;
        long end = System.nanoTime() + REMOVAL_LIMIT_NS;
        for (long left = REMOVAL_LIMIT_NS; object.passing > 0 && left > 0; left = end - System.nanoTime()) {
            try {
                var _ = fewerPassing.awaitNanos(left);
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** One user less; if only the table is left, the object is destroyed: an automatic page table that is no longer attached. */
    void unuseAndDestroy(IommufdObject object) {
        lock.lock();
        try {
            object.users--;
            if (object.users != 1 || find(object.id) != object) {
                return;
            }
            take(object, false);
        } finally {
            lock.unlock();
        }
        object.destroy();
    }

    private void take(IommufdObject object, boolean tombstone) {
        published--;
        if (tombstone) {
            byId[object.id] = RESERVED;
        } else {
            free(object.id);
        }
    }

    /** Destroys what nothing but the table holds, lowest id first, as long as there is such. Nobody else may use it any more. */
    void destroyAll() {
        boolean progress = true;
        while (progress) {
            progress = false;
            for (int id = 1; id < length(); id++) {
                IommufdObject leaf = takeLeaf(id);
                if (leaf != null) {
                    leaf.destroy();
                    progress = true;
                }
            }
        }
    }

    private int length() {
        lock.lock();
        try {
            return byId.length;
        } finally {
            lock.unlock();
        }
    }

    private @Nullable IommufdObject takeLeaf(int id) {
        lock.lock();
        try {
            IommufdObject object = find(id);
            if (object == null || object.users != 1) {
                return null;
            }
            take(object, false);
            return object;
        } finally {
            lock.unlock();
        }
    }

    /** How many objects there are, those being built aside. */
    int count() {
        lock.lock();
        try {
            return published;
        } finally {
            lock.unlock();
        }
    }

    /** Whether no id is used or set aside, tombstones included. */
    boolean isEmpty() {
        lock.lock();
        try {
            return Arrays.stream(byId).allMatch(entry -> entry == null);
        } finally {
            lock.unlock();
        }
    }

    @Override
    public String toString() {
        lock.lock();
        try {
            StringBuilder text = new StringBuilder("objects");
            for (int id = 1; id < byId.length; id++) {
                IommufdObject object = find(id);
                if (object != null) {
                    text.append(' ')
                            .append(id)
                            .append('=')
                            .append(object.getClass().getSimpleName())
                            .append(" users ")
                            .append(object.users);
                } else if (byId[id] != null) {
                    text.append(' ').append(id).append("=reserved");
                }
            }
            return text.toString();
        } finally {
            lock.unlock();
        }
    }
}
