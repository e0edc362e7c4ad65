package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;

/**
 * The descriptors of a process: numbers, the lowest free first, from 3, for the three below it are the standard ones.
 *
 * <p>Threads: any. Looking one up takes no lock; opening and closing do, and touch no user memory meanwhile.
 */
final class Descriptors {
    static final int FIRST = 3;
    /** Linux' {@code fs.nr_open}. */
    static final int MOST = 1 << 20;

    private static final int USUAL_LIMIT = 1024;

    private final Allocations allocations;

    /** By number. Replaced when it grows, under the lock; its elements are written under the lock, and volatile. */
    private volatile AtomicReferenceArray<@Nullable OpenFile> files = new AtomicReferenceArray<>(16);

    // Under the lock.
    private final BitSet taken = new BitSet();
    private final BitSet closeOnExec = new BitSet();
    private int limit = USUAL_LIMIT;

    Descriptors(Allocations allocations) {
        this.allocations = allocations;
        taken.set(0, FIRST);
    }

    /** The file a number stands for, held; null if none. */
    @Nullable
    OpenFile hold(int fd) {
        AtomicReferenceArray<@Nullable OpenFile> now = files;
        OpenFile file = fd < 0 || fd >= now.length() ? null : now.get(fd);
        return file != null && file.hold() ? file : null;
    }

    /** What can still fail once a file has its number. */
    @FunctionalInterface
    interface Opening {
        /** The file, one hold of which goes to the number, which stands for nothing yet. */
        OpenFile open(int fd) throws ErrnoException;
    }

    /** Opens a file that does not outlive the program; the opening tells its number. */
    void open(Opening opening) throws ErrnoException {
        var _ = open(0, true, opening);
    }

    /**
     * Opens a file at the lowest free number. If that fails, of whatever, the number is free again.
     *
     * @param least the lowest number allowed
     */
    int open(int least, boolean closesOnExec, Opening opening) throws ErrnoException {
        int fd = reserve(least, closesOnExec);
        OpenFile file = null;
        try {
            file = opening.open(fd);
            install(fd, file);
            return fd;
        } finally {
            if (file == null) {
                unreserve(fd);
            }
        }
    }

    private synchronized int reserve(int least, boolean closesOnExec) throws ErrnoException {
        allocations.take("a descriptor");
        int fd = taken.nextClearBit(Math.max(FIRST, least));
        if (fd >= limit) {
            throw new ErrnoException(Errno.EMFILE);
        }
        taken.set(fd);
        closeOnExec.set(fd, closesOnExec);
        return fd;
    }

    private synchronized void unreserve(int fd) {
        taken.clear(fd);
    }

    private synchronized void install(int fd, OpenFile file) {
        AtomicReferenceArray<@Nullable OpenFile> now = files;
        if (fd >= now.length()) {
            AtomicReferenceArray<@Nullable OpenFile> larger =
                    new AtomicReferenceArray<>(Math.max(fd + 1, 2 * now.length()));
            for (int i = 0; i < now.length(); i++) {
                larger.setPlain(i, now.get(i));
            }
            files = larger;
            now = larger;
        }
        now.set(fd, file);
    }

    /** Takes a number back; the file it stood for, whose hold the caller gets, or null. */
    @Nullable
    OpenFile remove(int fd) {
        synchronized (this) {
            AtomicReferenceArray<@Nullable OpenFile> now = files;
            OpenFile file = fd < 0 || fd >= now.length() ? null : now.getAndSet(fd, null);
            if (file != null) {
                taken.clear(fd);
            }
            return file;
        }
    }

    /** Takes all back. */
    synchronized List<OpenFile> removeAll() {
        List<OpenFile> open = new ArrayList<>();
        for (int fd : openNumbers()) {
            OpenFile file = remove(fd);
            if (file != null) {
                open.add(file);
            }
        }
        return open;
    }

    synchronized int[] openNumbers() {
        AtomicReferenceArray<@Nullable OpenFile> now = files;
        int[] numbers = new int[now.length()];
        int n = 0;
        for (int fd = 0; fd < now.length(); fd++) {
            if (now.get(fd) != null) {
                numbers[n++] = fd;
            }
        }
        return Arrays.copyOf(numbers, n);
    }

    synchronized int limit() {
        return limit;
    }

    synchronized void limit(int numbers) {
        limit = numbers;
    }

    synchronized boolean closesOnExec(int fd) {
        return closeOnExec.get(fd);
    }

    synchronized void closesOnExec(int fd, boolean does) {
        closeOnExec.set(fd, does);
    }
}
