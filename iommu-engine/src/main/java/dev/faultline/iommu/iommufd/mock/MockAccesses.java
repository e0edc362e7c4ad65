package dev.faultline.iommu.iommufd.mock;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Area;
import dev.faultline.iommu.Areas;
import dev.faultline.iommu.iommufd.Call;
import dev.faultline.iommu.iommufd.DriverCommand;
import dev.faultline.iommu.iommufd.DriverFile;
import dev.faultline.iommu.iommufd.ErrnoException;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Operations on accesses: the self-tests' software device. */
final class MockAccesses {
    private static final int ID = 8;
    private static final long PAGE = Areas.PAGE_BYTES;
    private static final long MOST_BYTES = 16L << 20;

    private static final int NEEDS_PIN_PAGES = 1;
    private static final int WRITE = 1;
    private static final int SLOW_PATH = 1 << 2;

    /** The address is the number of an area, low word, and an offset in it, high word. */
    private static final int BY_AREA = 1 << 16;

    private MockAccesses() {}

    static Map<Integer, DriverCommand> all() {
        return Map.of(
                5, MockAccesses::create,
                6, MockAccesses::destroyPages,
                7, MockAccesses::pages,
                8, MockAccesses::readWrite,
                11, MockAccesses::replace);
    }

    private static int create(Call call) throws ErrnoException {
        call.flags(20, "flags", NEEDS_PIN_PAGES);
        MockAccess access = new MockAccess((call.u32(20) & NEEDS_PIN_PAGES) != 0);
        try {
            access.open(
                    call,
                    fd -> access.begin(call, ID, () -> {
                        call.put32(16, fd);
                        call.respond();
                    }));
        } catch (ErrnoException e) {
            throw e.errno() == Errno.EMFILE ? new ErrnoException(Errno.ENOMEM) : e;
        }
        return 0;
    }

    private static int replace(Call call) throws ErrnoException {
        MockAccess access = DriverFile.used(call, call.u32(ID), MockAccess.class);
        try {
            access.object().replace(call, 16, "ioas_id");
        } finally {
            access.done();
        }
        return 0;
    }

    private static int destroyPages(Call call) throws ErrnoException {
        MockAccess access = DriverFile.used(call, call.u32(ID), MockAccess.class);
        try {
            access.unpin(call.u32(16));
        } finally {
            access.done();
        }
        return 0;
    }

    private static int pages(Call call) throws ErrnoException {
        long length = call.u64(32);
        requireLength(length);
        call.flags(16, "flags", WRITE | BY_AREA);
        int flags = call.u32(16);
        MockAccess access = DriverFile.used(call, call.u32(ID), MockAccess.class);
        try {
            if (!access.pins()) {
                throw new ErrnoException(Errno.EOPNOTSUPP, "id", "an access made with NEEDS_PIN_PAGES");
            }
            long iova = (flags & BY_AREA) != 0 ? byArea(access, call.u64(24)) : call.u64(24);
            long address = call.u64(40);
            boolean write = (flags & WRITE) != 0;
            MockAccess.Completion check = () -> {
                if (address != 0) {
                    checkPages(call, access, iova, length, address);
                }
            };
            access.pin(iova, length, write, check, item -> {
                call.put32(20, item);
                call.respond();
            });
        } finally {
            access.done();
        }
        return 0;
    }

    /** That the pages that were pinned are those at an address of the program's. */
    private static void checkPages(Call call, MockAccess access, long iova, long length, long address)
            throws ErrnoException {
        Areas areas = access.object().areas();
        if (areas == null) {
            throw new ErrnoException(Errno.ENOENT);
        }
        long skipped = iova & (PAGE - 1);
        long first = address - skipped;
        long count = ((iova + length + PAGE - 1 & -PAGE) - (iova & -PAGE)) / PAGE;
        for (long i = 0; i < count; i++) {
            MemorySegment expected = MockSpaces.page(call.memory(), first + i * PAGE & -PAGE);
            long at = i == 0 ? iova : (iova & -PAGE) + i * PAGE;
            Area area = areas.find(at);
            @Nullable
            MemorySegment pinned = area == null ? null : area.backing().heldAt(area.offsetOf(at) & -PAGE);
            if (!MockSpaces.same(pinned, expected)) {
                throw new ErrnoException(Errno.EBADE, "uptr", "where the pinned pages are");
            }
        }
    }

    private static int readWrite(Call call) throws ErrnoException {
        long length = call.u64(24);
        requireLength(length);
        call.flags(40, "flags", WRITE | SLOW_PATH | BY_AREA);
        int flags = call.u32(40);
        MockAccess access = DriverFile.used(call, call.u32(ID), MockAccess.class);
        try {
            boolean write = (flags & WRITE) != 0;
            long address = call.u64(32);
            MemorySegment data = write
                    ? MemorySegment.ofBuffer(call.copyIn(address, (int) length))
                    : MemorySegment.ofArray(new byte[(int) length]);
            long iova = (flags & BY_AREA) != 0 ? byArea(access, call.u64(16)) : call.u64(16);
            access.object().transfer(iova, data, write);
            if (!write) {
                call.copyOut(address, data);
            }
        } finally {
            access.done();
        }
        return 0;
    }

    private static void requireLength(long length) throws ErrnoException {
        if (Long.compareUnsigned(length, MOST_BYTES) > 0) {
            throw new ErrnoException(Errno.ENOMEM, "length", "up to " + MOST_BYTES);
        }
    }

    private static long byArea(MockAccess access, long numbered) {
        Areas areas = access.object().areas();
        List<Area> all = areas == null ? List.of() : areas.all();
        long number = Integer.toUnsignedLong((int) numbered);
        return number < all.size() ? all.get((int) number).first() + (numbered >>> Integer.SIZE) : 0;
    }
}
