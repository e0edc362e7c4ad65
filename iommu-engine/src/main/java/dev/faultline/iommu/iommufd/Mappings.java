package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.ring.UserMemory;
import java.util.List;
import java.util.TreeMap;

/**
 * What files have put into a process's memory.
 *
 * <p>Threads: any; it has a lock of its own, under which no file is asked anything. Lifetime: a mapping keeps its file open.
 */
final class Mappings {
    private static final int PAGE = 4096;

    /** Mappings of a process: the default of {@code vm.max_map_count}. */
    private static final int MOST = 65530;

    private static final long FIRST = 0x7f00_0000_0000L;

    private static final int PROT_WRITE = 2;
    private static final int MAP_SHARED = 1;
    private static final int MAP_SHARED_VALIDATE = 3;
    private static final int MAP_TYPE = 0xf;

    private record Mapped(long length, Runnable unmapped) {}

    private final UserMemory memory;

    /** By address. */
    private final TreeMap<Long, Mapped> mapped = new TreeMap<>();

    Mappings(UserMemory memory) {
        this.memory = memory;
    }

    /** {@link SystemCalls#mmap}. */
    long map(Descriptors descriptors, int fd, long offset, long length, int protection, int flags) {
        if (offset % PAGE != 0) {
            return -Errno.EINVAL;
        }
        OpenFile file = descriptors.hold(fd);
        if (file == null) {
            return -Errno.EBADF;
        }
        try {
            int type = flags & MAP_TYPE;
            if (length == 0) {
                return -Errno.EINVAL;
            }
            if (Long.compareUnsigned(length, UserMemory.END) > 0) {
                return -Errno.ENOMEM;
            }
            if (type < MAP_SHARED || type > MAP_SHARED_VALIDATE) {
                return -Errno.EINVAL;
            }
            boolean shared = type != MAP_SHARED + 1;
            if (!file.mayRead() || (shared && (protection & PROT_WRITE) != 0 && !file.mayWrite())) {
                return -Errno.EACCES;
            }
            long pages = (length + PAGE - 1) & -PAGE;
            OpenFile.Mapping mapping = file.map(offset, pages, protection, shared ? MAP_SHARED : type);
            long address = place(file, mapping, pages, (protection & PROT_WRITE) != 0);
            if (address < 0) {
                mapping.unmapped().run();
            }
            return address;
        } catch (ErrnoException e) {
            return -e.errno();
        } finally {
            file.letGo();
        }
    }

    private long place(OpenFile file, OpenFile.Mapping mapping, long length, boolean writable) {
        synchronized (mapped) {
            if (mapped.size() >= MOST) {
                return -Errno.ENOMEM;
            }
            long address = memory.place(FIRST, mapping.memory(), writable);
            if (address < 0) {
                return -Errno.ENOMEM;
            }
            // A mapping keeps its file open.
            OpenFile kept = file.heldAgain();
            mapped.put(address, new Mapped(length, () -> {
                mapping.unmapped().run();
                kept.letGo();
            }));
            return address;
        }
    }

    /** {@link SystemCalls#munmap}. */
    int unmap(long address, long length) {
        if (address % PAGE != 0 || length <= 0) {
            return -Errno.EINVAL;
        }
        Mapped gone;
        synchronized (mapped) {
            gone = mapped.get(address);
            if (gone == null) {
                return 0;
            }
            if (gone.length != ((length + PAGE - 1) & -PAGE)) {
                return -Errno.EINVAL;
            }
            mapped.remove(address);
            memory.unmap(address);
        }
        gone.unmapped.run();
        return 0;
    }

    /** Takes all of them out. */
    void unmapAll() {
        List<Mapped> left;
        synchronized (mapped) {
            left = List.copyOf(mapped.values());
            mapped.keySet().forEach(memory::unmap);
            mapped.clear();
        }
        left.forEach(each -> each.unmapped.run());
    }
}
