package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.iommu.AreaCopy;
import dev.faultline.iommu.AreaResult;
import dev.faultline.iommu.Areas;
import dev.faultline.iommu.Areas.Mapped;
import dev.faultline.iommu.Areas.Unmapped;
import dev.faultline.iommu.Backing;
import dev.faultline.iommu.IovaRange;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** Commands on address spaces. Errors come in the kernel's order. */
final class IoasCommands {
    private static final int FLAGS = 4;
    private static final int OUT_IOAS_ID = 8;

    private static final int FIXED_IOVA = 1;
    private static final int WRITEABLE = 1 << 1;
    private static final int READABLE = 1 << 2;

    private static final long PAGE = Areas.PAGE_BYTES;
    private static final long MOST = -1;
    private static final int RANGE_BYTES = 16;

    private IoasCommands() {}

    static List<Command> all() {
        return List.of(
                Command.of("IOMMU_IOAS_ALLOC", 0x3b81, 12, 12, IoasCommands::alloc),
                Command.of("IOMMU_IOAS_ALLOW_IOVAS", 0x3b82, 24, 24, IoasCommands::allowIovas),
                Command.of("IOMMU_IOAS_COPY", 0x3b83, 40, 40, IoasCommands::copy),
                Command.of("IOMMU_IOAS_IOVA_RANGES", 0x3b84, 32, 32, IoasCommands::iovaRanges),
                Command.of("IOMMU_IOAS_MAP", 0x3b85, 40, 40, IoasCommands::map),
                Command.of("IOMMU_IOAS_UNMAP", 0x3b86, 24, 24, IoasCommands::unmap),
                Command.of("IOMMU_IOAS_MAP_FILE", 0x3b8f, 40, 40, IoasCommands::mapFile),
                Command.of("IOMMU_IOAS_CHANGE_PROCESS", 0x3b92, 8, 8, IoasCommands::changeProcess));
    }

    private static void alloc(Call call) throws ErrnoException {
        call.flags(FLAGS, "flags", 0);
        call.context().create(new Ioas(), made -> {
            call.put32(OUT_IOAS_ID, made.id());
            call.respond();
        });
    }

    private static void iovaRanges(Call call) throws ErrnoException {
        call.reserved(12, "__reserved");
        Areas areas = call.get(4, "ioas_id", Ioas.class).areas();
        long room = Integer.toUnsignedLong(call.u32(8));
        long array = call.u64(16);
        List<IovaRange> ranges;
        synchronized (areas) {
            ranges = areas.ranges();
            call.put64(24, areas.alignment());
        }
        for (int i = 0; i < Math.min(room, ranges.size()); i++) {
            IovaRange range = ranges.get(i);
            ByteBuffer element = ByteBuffer.allocate(RANGE_BYTES).order(java.nio.ByteOrder.nativeOrder());
            element.putLong(0, range.first()).putLong(Long.BYTES, range.last());
            call.copyOut(array + (long) i * RANGE_BYTES, MemorySegment.ofArray(element.array()));
        }
        call.put32(8, ranges.size());
        call.respond();
        if (ranges.size() > room) {
            throw new ErrnoException(Errno.EMSGSIZE, "num_iovas", ranges.size() + " or more");
        }
    }

    private static void allowIovas(Call call) throws ErrnoException {
        call.reserved(12, "__reserved");
        Areas areas = call.get(4, "ioas_id", Ioas.class).areas();
        long count = Integer.toUnsignedLong(call.u32(8));
        long array = call.u64(16);
        TreeMap<Long, IovaRange> sorted = new TreeMap<>(Long::compareUnsigned);
        for (long i = 0; i < count; i++) {
            ByteBuffer element = call.copyIn(array + i * RANGE_BYTES, RANGE_BYTES);
            IovaRange range = new IovaRange(element.getLong(0), element.getLong(Long.BYTES));
            Map.Entry<Long, IovaRange> before = sorted.floorEntry(range.last());
            boolean overlaps =
                    before != null && Long.compareUnsigned(before.getValue().last(), range.first()) >= 0;
            if (Long.compareUnsigned(range.first(), range.last()) >= 0 || overlaps) {
                throw new ErrnoException(
                        Errno.EINVAL, "allowed_iovas", "ranges of two addresses or more, none over another");
            }
            sorted.put(range.first(), range);
        }
        call.context().process().allocations().take("allowed ranges");
        AreaErrno.require(areas.allow(new ArrayList<>(sorted.values())), "allowed_iovas");
    }

    private static void map(Call call) throws ErrnoException {
        call.flags(FLAGS, "flags", FIXED_IOVA | WRITEABLE | READABLE);
        call.reserved(12, "__reserved");
        int access = access(call, 32, 24);
        Areas areas = call.get(8, "ioas_id", Ioas.class).areas();
        long address = call.u64(16);
        long length = call.u64(24);
        if (Long.compareUnsigned(address + length, address) < 0) {
            throw new ErrnoException(Errno.EOVERFLOW, "length", "what ends below 2^64 from user_va on");
        }
        requireLength(length);
        SystemCalls process = call.context().process();
        process.allocations().take("a mapping");
        Backing backing = new UserBacking(process.memory(), process.held(), address, length, isWritable(access));
        insert(call, areas, backing, address & (PAGE - 1), length, access, 32);
    }

    private static void mapFile(Call call) throws ErrnoException {
        call.flags(FLAGS, "flags", FIXED_IOVA | WRITEABLE | READABLE);
        int access = access(call, 32, 24);
        Areas areas = call.get(8, "ioas_id", Ioas.class).areas();
        long start = call.u64(16);
        long length = call.u64(24);
        if (length == 0) {
            throw new ErrnoException(Errno.EINVAL, "length", "1 or more");
        }
        if (Long.compareUnsigned(start + length - 1, start) < 0) {
            throw new ErrnoException(Errno.EOVERFLOW, "length", "what ends below 2^64 from start on");
        }
        SystemCalls process = call.context().process();
        int fd = call.u32(12);
        OpenFile file = process.descriptors().hold(fd);
        if (file == null && (fd < 0 || fd >= Descriptors.FIRST)) {
            throw new ErrnoException(Errno.EBADF, "fd", "an open descriptor");
        }
        try {
            if (file instanceof DmaBuffer buffer && Long.compareUnsigned(buffer.length(), start + length - 1) <= 0) {
                throw new ErrnoException(Errno.EINVAL, "length", "what ends within " + buffer.length());
            }
            requireLength(length);
            process.allocations().take("a mapping");
            Backing backing = backing(file, process, start, length, isWritable(access));
            insert(call, areas, backing, start & (PAGE - 1), length, access, 32);
        } finally {
            if (file != null) {
                file.letGo();
            }
        }
    }

    private static Backing backing(
            @Nullable OpenFile file, SystemCalls process, long start, long length, boolean writable)
            throws ErrnoException {
        if (file instanceof DmaBuffer buffer) {
            if (buffer.isRevoked()) {
                throw new ErrnoException(Errno.ENODEV, "fd", "one that is not revoked");
            }
            return buffer.backing(process.held(), start, length, writable);
        }
        return file instanceof MemoryFile memory
                ? memory.backing(process.held(), start, length, writable)
                : new PartOfFile(start, length, writable, process.held());
    }

    private static void insert(
            Call call, Areas areas, Backing backing, long offset, long length, int access, int iovaAt)
            throws ErrnoException {
        long iova = call.u64(iovaAt);
        Mapped mapped = (call.u32(FLAGS) & FIXED_IOVA) != 0
                ? areas.map(backing, offset, length, access, iova)
                : areas.place(backing, offset, length, access);
        AreaErrno.require(mapped.result(), "iova");
        call.put64(iovaAt, mapped.address());
        call.respond();
    }

    private static void copy(Call call) throws ErrnoException {
        call.flags(FLAGS, "flags", FIXED_IOVA | WRITEABLE | READABLE);
        if (call.u64(32) == MOST) {
            throw tooFar("src_iova");
        }
        int access = access(call, 24, 16);
        AreaCopy copied = call.get(12, "src_ioas_id", Ioas.class).areas().copy(call.u64(32), call.u64(16));
        AreaErrno.require(copied.result(), "src_iova");
        Areas to = call.get(8, "dst_ioas_id", Ioas.class).areas();
        call.context().process().allocations().take("a mapping");
        Mapped mapped =
                (call.u32(FLAGS) & FIXED_IOVA) != 0 ? copied.map(to, access, call.u64(24)) : copied.place(to, access);
        AreaErrno.require(mapped.result(), "dst_iova");
        call.put64(24, mapped.address());
        call.respond();
    }

    private static void unmap(Call call) throws ErrnoException {
        Areas areas = call.get(4, "ioas_id", Ioas.class).areas();
        long iova = call.u64(8);
        long length = call.u64(16);
        Unmapped unmapped;
        if (iova == 0 && length == MOST) {
            unmapped = areas.unmapAll();
        } else {
            if (iova == MOST || length == MOST) {
                throw tooFar(iova == MOST ? "iova" : "length");
            }
            unmapped = areas.unmap(iova, length);
        }
        AreaErrno.require(unmapped.result(), "iova");
        call.put64(16, unmapped.bytes());
        call.respond();
    }

    private static void changeProcess(Call call) throws ErrnoException {
        call.reserved(4, "__reserved");
        for (Ioas ioas : call.context().objects().all(Ioas.class)) {
            AreaResult result = ioas.areas().onlyFiles();
            if (result != AreaResult.DONE) {
                AreaErrno.require(result, "ioas");
            }
        }
    }

    /** Which accesses the flags permit; asked after whether the numbers are too large. */
    private static int access(Call call, int iovaAt, int lengthAt) throws ErrnoException {
        if (call.u64(iovaAt) == MOST || call.u64(lengthAt) == MOST) {
            throw tooFar(call.u64(iovaAt) == MOST ? "iova" : "length");
        }
        int flags = call.u32(FLAGS);
        if ((flags & (WRITEABLE | READABLE)) == 0) {
            throw new ErrnoException(Errno.EINVAL, "flags", "READABLE (0x4) or WRITEABLE (0x2) among them");
        }
        return ((flags & WRITEABLE) != 0 ? PageFaultLayout.PERM_WRITE : 0)
                | ((flags & READABLE) != 0 ? PageFaultLayout.PERM_READ : 0);
    }

    private static boolean isWritable(int access) {
        return (access & PageFaultLayout.PERM_WRITE) != 0;
    }

    private static void requireLength(long length) throws ErrnoException {
        if (length == 0 || Long.compareUnsigned(length, MOST - PAGE) > 0) {
            throw new ErrnoException(Errno.EINVAL, "length", "1 to 2^64 - 1 less a page");
        }
    }

    private static ErrnoException tooFar(String field) {
        return new ErrnoException(Errno.EOVERFLOW, field, "below 2^64 - 1");
    }
}
