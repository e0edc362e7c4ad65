package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.Area;
import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.function.LongPredicate;
import org.jspecify.annotations.Nullable;

/**
 * What a program's devices see as memory: the kernel's IOAS.
 *
 * <p>Threads: any, several calls at once: also the thread that steps a device, while another waits for it. Ownership: whoever makes it
 * closes it, after its page tables and what is attached to it, or {@link Iommufd#close} does; what is mapped stays the caller's, and has to
 * stay until it is unmapped. Units: bytes. Errors: {@link IommufdException}. Source: {@code drivers/iommu/iommufd/ioas.c}, Linux 7.2.
 */
public final class UserAddressSpace implements AutoCloseable {
    private static final int FIXED_IOVA = 1;
    private static final int WRITEABLE = 1 << 1;
    private static final int READABLE = 1 << 2;

    private final Iommufd program;
    private final int id;

    /** Where what lies in the program's memory is mapped, by its place there. */
    private final Map<Long, Long> mapped = new ConcurrentHashMap<>();

    private final Once destroying = new Once();

    UserAddressSpace(Iommufd program, int id) {
        this.program = program;
        this.id = id;
    }

    /**
     * Its id.
     *
     * @return 1 or more
     */
    public int id() {
        return id;
    }

    /**
     * Maps memory, for reading and writing.
     *
     * @param address where devices see it
     * @param what for the engine's devices native memory, whole pages, open until it is unmapped
     */
    public void map(long address, MemorySegment what) {
        long _ = map(FIXED_IOVA | READABLE | WRITEABLE, address, what);
    }

    /**
     * Maps memory, for reading only.
     *
     * @param address where devices see it
     * @param what as for {@link #map(long, MemorySegment)}; a segment that is itself read-only can be mapped, but the engine's devices
     *     refuse it (EFAULT)
     */
    public void mapReadOnly(long address, MemorySegment what) {
        long _ = map(FIXED_IOVA | READABLE, address, what);
    }

    /**
     * Maps memory where there is room, for reading and writing.
     *
     * @param what for the engine's devices native memory, whole pages, open until it is unmapped
     * @return where devices see it
     */
    public long map(MemorySegment what) {
        return map(READABLE | WRITEABLE, 0, what);
    }

    private long map(int flags, long address, MemorySegment what) {
        long user = program.place(what, (flags & WRITEABLE) != 0);
        try {
            long at = program.runLong(
                    new Request("IOMMU_IOAS_MAP", 0x3b85, 40)
                            .u32("flags", 4, flags)
                            .u32("ioas_id", 8, id)
                            .u64("user_va", 16, user)
                            .u64("length", 24, what.byteSize())
                            .u64("iova", 32, address),
                    answer -> answer.u64(32));
            mapped.put(user, at);
            // It may be unmapped already, by who did not find it noted.
            forgetIn(ioas -> letGo(ioas, user, at));
            return at;
        } catch (IommufdException e) {
            program.displace(user);
            throw e;
        }
    }

    /**
     * Unmaps what was mapped in a range.
     *
     * @param address where the range begins
     * @param bytes how long it is, unsigned: what it cuts is refused, once what lies before was unmapped; -1 from address 0 on unmaps
     *     everything
     * @return how many bytes were unmapped
     */
    public long unmap(long address, long bytes) {
        try {
            long unmapped = program.runLong(
                    new Request("IOMMU_IOAS_UNMAP", 0x3b86, 24)
                            .u32("ioas_id", 4, id)
                            .u64("iova", 8, address)
                            .u64("length", 16, bytes),
                    answer -> answer.u64(16));
            forget(at -> Long.compareUnsigned(at - address, bytes) < 0);
            return unmapped;
        } catch (IommufdException e) {
            forget(at -> true);
            throw e;
        }
    }

    private void forget(LongPredicate isAsked) {
        forgetIn(ioas -> mapped.forEach((user, at) -> {
            if (isAsked.test(at)) {
                letGo(ioas, user, at);
            }
        }));
    }

    /** Looks at what is mapped; null if the address space is destroyed. */
    private void forgetIn(Consumer<@Nullable Ioas> look) {
        ObjectTable objects = program.objects();
        Ioas ioas = objects.hold(id, Ioas.class);
        try {
            look.accept(ioas);
        } finally {
            if (ioas != null) {
                objects.letGo(ioas);
            }
        }
    }

    /** Lets go of memory, if it is mapped at its address no more. */
    private void letGo(@Nullable Ioas ioas, long user, long at) {
        if (!isMapped(ioas, at, user) && mapped.remove(user, at)) {
            program.displace(user);
        }
    }

    private static boolean isMapped(@Nullable Ioas ioas, long at, long user) {
        Area area = ioas == null ? null : ioas.areas().find(at);
        return area != null && area.backing().origin() == user;
    }

    /**
     * Begins a page table that shows what is mapped here.
     *
     * @param device what it is for
     * @return how it will be; {@link PageTableBuilder#make} makes it
     */
    public PageTableBuilder pageTable(UserDevice device) {
        return new PageTableBuilder(program, device, id);
    }

    /** Destroys it, with what is mapped. Doing it again does nothing. */
    @Override
    public void close() {
        destroying.run(() -> {
            program.destroy(id);
            mapped.keySet().forEach(program::displace);
            mapped.clear();
        });
    }

    @Override
    public String toString() {
        return "address space " + id;
    }
}
