package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.AreaResult;
import dev.faultline.iommu.AreaUser;
import dev.faultline.iommu.Areas;
import dev.faultline.iommu.SoftwareAccess;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * A user of an address space that is no device: the kernel's access. A driver makes it, moves it from one address space to another,
 * and closes it.
 *
 * <p>Threads: any. Its lock is held while it reads, writes, pins and unpins, and not while its user is told to let go.
 *
 * <p>Ownership: whoever makes it closes it, once; what it has pinned is unpinned then. Units: bytes of an address space. Errors: {@link
 * ErrnoException}. Source: {@code drivers/iommu/iommufd/device.c}, Linux 7.2: {@code iommufd_access}.
 */
public final class AccessObject extends IommufdObject {
    private record Place(Ioas ioas, SoftwareAccess access) {}

    private final Context context;
    private final AreaUser user;
    private final ReentrantLock lock = new ReentrantLock();

    // Under the lock.
    /** Where it reads, writes and pins. */
    private @Nullable Place now;

    /** Where it unpins: the old one while it moves. */
    private @Nullable Place unpins;

    /**
     * Without id, and nowhere.
     *
     * @param context whose it is, which stays open
     * @param user is told of what is about to be unmapped
     */
    public AccessObject(Context context, AreaUser user) {
        this.context = context;
        this.user = user;
        context.keepOpen();
    }

    /** Its driver has it, from now until {@link #close}. */
    public void use() {
        context.objects().use(this);
    }

    /** Its driver gives it up. */
    public void close() {
        var _ = context.objects().remove(this, false);
    }

    /**
     * Begins to use an address space.
     *
     * @param call the command that says which
     * @param at the offset of the field that has its id
     * @param field the field's name
     * @throws ErrnoException ENOENT if there is none, EADDRINUSE if what is mapped there is not aligned for it
     */
    public void attach(Call call, int at, String field) throws ErrnoException {
        lock.lock();
        try {
            moveTo(call.u32(at), field);
        } finally {
            lock.unlock();
        }
    }

    /**
     * Uses another address space from now on. What is pinned is unpinned first.
     *
     * @param call the command that says which
     * @param at the offset of the field that has its id
     * @param field the field's name
     * @throws ErrnoException ENOENT if it uses none, or there is no such, EADDRINUSE if what is mapped there is not aligned for it,
     *     EBUSY if it is just being moved
     */
    public void replace(Call call, int at, String field) throws ErrnoException {
        lock.lock();
        try {
            var _ = attached();
            moveTo(call.u32(at), field);
        } finally {
            lock.unlock();
        }
    }

    /** To an address space of its own context, whichever the command is given to. */
    private void moveTo(int id, String field) throws ErrnoException {
        Ioas to = context.objects().hold(id, Ioas.class);
        if (to == null) {
            throw new ErrnoException(Errno.ENOENT, field, "the id of an address space");
        }
        try {
            move(to);
        } finally {
            context.objects().letGo(to);
        }
    }

    /** With the lock, which is given up while the user lets go. */
    private void move(@Nullable Ioas to) throws ErrnoException {
        Place old = now;
        if (old != unpins) {
            throw new ErrnoException(Errno.EBUSY);
        }
        if (to == (old == null ? null : old.ioas)) {
            return;
        }
        now = null;
        Place next = null;
        if (to != null) {
            AreaResult result = to.areas().add(user);
            if (result != AreaResult.DONE) {
                now = old;
                AreaErrno.require(result, "ioas_id");
            }
            context.objects().use(to);
            next = new Place(to, new SoftwareAccess(to.areas(), false));
        }
        if (old != null) {
            lock.unlock();
            try {
                user.unmapping(0, -1);
            } finally {
                lock.lock();
            }
            old.ioas.areas().remove(user);
            context.objects().unuse(old.ioas);
        }
        now = next;
        unpins = next;
    }

    /**
     * Pins whole pages.
     *
     * @param first the first address
     * @param bytes how much
     * @param write whether to write there
     * @throws ErrnoException EINVAL, EOVERFLOW, ENOENT, EPERM or EFAULT; then nothing is pinned
     */
    public void pin(long first, long bytes, boolean write) throws ErrnoException {
        requireRange(first, bytes);
        lock.lock();
        try {
            AreaErrno.require(attached().access.pin(first, bytes, write), "iova");
        } finally {
            lock.unlock();
        }
    }

    /**
     * Unpins what was pinned.
     *
     * @param first as it was pinned
     * @param bytes as it was pinned
     */
    public void unpin(long first, long bytes) {
        lock.lock();
        try {
            if (unpins == null) {
                throw new IllegalStateException("nothing is pinned: the access is attached nowhere");
            }
            unpins.access.unpin(first, bytes);
        } finally {
            lock.unlock();
        }
    }

    /**
     * Reads or writes.
     *
     * @param first the first address
     * @param data what to write, or what is filled
     * @param write which of them
     * @throws ErrnoException EINVAL, EOVERFLOW, ENOENT, EPERM or EFAULT; what comes before that is done
     */
    public void transfer(long first, MemorySegment data, boolean write) throws ErrnoException {
        requireRange(first, data.byteSize());
        lock.lock();
        try {
            AreaErrno.require(attached().access.transfer(first, data, write), "iova");
        } finally {
            lock.unlock();
        }
    }

    /**
     * Where it reads, writes and pins.
     *
     * @return what is mapped there; null if it uses no address space
     */
    public @Nullable Areas areas() {
        lock.lock();
        try {
            return now == null ? null : now.ioas.areas();
        } finally {
            lock.unlock();
        }
    }

    private static void requireRange(long first, long bytes) throws ErrnoException {
        if (bytes == 0) {
            throw new ErrnoException(Errno.EINVAL, "length", "1 or more");
        }
        if (Long.compareUnsigned(first + bytes - 1, first) < 0) {
            throw new ErrnoException(Errno.EOVERFLOW, "length", "what ends below 2^64");
        }
    }

    private Place attached() throws ErrnoException {
        if (now == null) {
            throw unattached();
        }
        return now;
    }

    private static ErrnoException unattached() {
        return new ErrnoException(Errno.ENOENT, "id", "an access that uses an address space");
    }

    @Override
    void destroy() {
        lock.lock();
        try {
            move(null);
        } catch (ErrnoException e) {
            throw new IllegalStateException("destroyed while it is moved", e);
        } finally {
            lock.unlock();
        }
        context.letGo();
    }
}
