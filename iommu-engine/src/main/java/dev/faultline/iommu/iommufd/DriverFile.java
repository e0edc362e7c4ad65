package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import org.jspecify.annotations.Nullable;

/**
 * What a descriptor that a driver has made refers to. It can be closed and duplicated; reading, writing and polling say nothing.
 *
 * <p>Threads: any. Lifetime: until its last descriptor is closed and no command uses it.
 *
 * <p>Ownership: the process's descriptors. Errors: {@link ErrnoException}. Source: the access file of {@code
 * drivers/iommu/iommufd/selftest.c}, Linux 7.2.
 */
public abstract class DriverFile extends OpenFile {
    /** What can still fail once there is a number. */
    @FunctionalInterface
    public interface Completion {
        /**
         * Does it: writing the answer, last of all.
         *
         * @param fd the number, which stands for nothing yet
         * @throws ErrnoException if it fails; then the number is free
         */
        void complete(int fd) throws ErrnoException;
    }

    /** Open for reading and writing, as far as there is anything. */
    protected DriverFile() {
        super(O_RDWR);
    }

    /**
     * Gives a new file a descriptor.
     *
     * @param call the command that makes it
     * @param rest what can still fail
     * @throws ErrnoException EMFILE, or what the rest threw; the file is then closed
     */
    public final void open(Call call, Completion rest) throws ErrnoException {
        boolean opened = false;
        try {
            call.context().process().descriptors().open(fd -> {
                rest.complete(fd);
                return this;
            });
            opened = true;
        } finally {
            if (!opened) {
                letGo();
            }
        }
    }

    /**
     * What a descriptor refers to; {@link #done} when it is no longer used.
     *
     * @param call the command that uses it
     * @param fd the descriptor
     * @param type of what it should refer to
     * @param <T> that type
     * @return the file
     * @throws ErrnoException EBADFD if it is something else
     */
    public static <T extends DriverFile> T used(Call call, int fd, Class<T> type) throws ErrnoException {
        @Nullable OpenFile file = call.context().process().descriptors().hold(fd);
        if (type.isInstance(file)) {
            return type.cast(file);
        }
        if (file != null) {
            file.letGo();
        }
        throw new ErrnoException(Errno.EBADFD, "id", "a descriptor of " + type.getSimpleName());
    }

    /** It is not used any more. */
    public final void done() {
        letGo();
    }

    /** Nobody can use it any more. */
    protected abstract void closed();

    @Override
    final void released() {
        closed();
    }

    @Override
    final int poll(int events, long limitNs) {
        return events & (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
    }
}
