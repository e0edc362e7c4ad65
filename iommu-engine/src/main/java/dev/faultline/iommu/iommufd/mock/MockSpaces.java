package dev.faultline.iommu.iommufd.mock;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Area;
import dev.faultline.iommu.Areas;
import dev.faultline.iommu.iommufd.AreaErrno;
import dev.faultline.iommu.iommufd.Call;
import dev.faultline.iommu.iommufd.DriverCommand;
import dev.faultline.iommu.iommufd.ErrnoException;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Operations that look at address spaces and their page tables, and that write as a device would. */
final class MockSpaces {
    private static final int ID = 8;
    private static final long PAGE = Areas.PAGE_BYTES;

    /** The self-tests' reserved ranges have no owner of their own. */
    private static final Object NOBODY = new Object();

    private static final long MOST_BITS = 8L << 24;
    private static final int SMALLEST_LIMIT = 12;

    private MockSpaces() {}

    static Map<Integer, DriverCommand> all() {
        return Map.of(
                1, MockSpaces::addReserved,
                3, MockSpaces::checkMap,
                4, MockSpaces::checkRefs,
                9, MockSpaces::memoryLimit,
                13, MockSpaces::dirty,
                22, MockSpaces::dmabufGet,
                23, MockSpaces::dmabufRevoke);
    }

    private static int addReserved(Call call) throws ErrnoException {
        long start = call.u64(16);
        long length = call.u64(24);
        if (length == 0) {
            throw new ErrnoException(Errno.EINVAL, "length", "1 or more");
        }
        long last = start + length - 1;
        if (Long.compareUnsigned(last, start) < 0) {
            throw new ErrnoException(Errno.EOVERFLOW, "length", "what ends below 2^64");
        }
        AreaErrno.require(call.areas(ID, "id").reserve(NOBODY, start, last), "start");
        return 0;
    }

    /** That each page of a range is the page at an address of the program's. */
    private static int checkMap(Call call) throws ErrnoException {
        Call.Paging paging = call.paging(ID, "id");
        int page = table(paging).smallestPage();
        long iova = call.u64(16);
        long length = call.u64(24);
        long address = call.u64(32);
        if ((iova | length | address) % page != 0 || Long.compareUnsigned(address + length, address) < 0) {
            throw new ErrnoException(Errno.EINVAL, "iova, length, uptr", "multiples of " + page);
        }
        for (long at = 0; at != length; at += page) {
            MemorySegment expected = page(call.memory(), address + at);
            Area area = paging.areas().find(iova + at);
            if (area == null || !same(area.backing().heldAt(area.offsetOf(iova + at)), expected)) {
                throw new ErrnoException(Errno.EINVAL, "iova", "where the page at uptr is mapped");
            }
        }
        return 0;
    }

    /** The memory at an address of the program's. */
    static MemorySegment page(UserMemory memory, long address) throws ErrnoException {
        @Nullable MemorySegment there = memory.piece(address, false);
        if (there == null) {
            throw new ErrnoException(Errno.EFAULT, "uptr", "the program's memory");
        }
        return there;
    }

    /** Whether two segments begin at the same byte. */
    static boolean same(@Nullable MemorySegment one, MemorySegment other) {
        return one != null && one.address() == other.address() && one.heapBase().equals(other.heapBase());
    }

    private static int checkRefs(Call call) throws ErrnoException {
        long length = call.u64(16);
        long address = call.u64(24);
        if ((length | address) % PAGE != 0 || Long.compareUnsigned(address + length, address) < 0) {
            throw new ErrnoException(Errno.EINVAL, "length, uptr", "multiples of " + PAGE);
        }
        for (long at = 0; at != length; at += PAGE) {
            int held = call.context().process().held().count(page(call.memory(), address + at));
            if (held != call.u32(32)) {
                throw new ErrnoException(Errno.EIO, "refs", String.valueOf(held));
            }
        }
        return 0;
    }

    /** Nothing here is allocated by that; the value is checked as in the kernel. */
    private static int memoryLimit(Call call) throws ErrnoException {
        if (Integer.compareUnsigned(call.u32(16), SMALLEST_LIMIT) < 0) {
            throw new ErrnoException(Errno.EINVAL, "limit", SMALLEST_LIMIT + " or more");
        }
        return 0;
    }

    /** Writes, as a device, to the pages whose bits are set. */
    private static int dirty(Call call) throws ErrnoException {
        long iova = call.u64(24);
        long length = call.u64(32);
        long page = call.u64(40);
        long bits = call.u64(48);
        if (page == 0
                || length == 0
                || bits == 0
                || Long.remainderUnsigned(iova, page) != 0
                || Long.remainderUnsigned(length, page) != 0) {
            throw new ErrnoException(Errno.EINVAL, "page_size", "what iova and length are multiples of");
        }
        long count = Long.divideUnsigned(length, page);
        if (Long.compareUnsigned(count, MOST_BITS) > 0) {
            throw new ErrnoException(Errno.EOVERFLOW, "length", "up to " + MOST_BITS + " pages");
        }
        Call.Paging paging = call.paging(ID, "id");
        MockTable table = table(paging);
        if (paging.domain().dirty() == null || !table.isTracking()) {
            throw new ErrnoException(Errno.EINVAL, "id", "a page table that tracks what is written to");
        }
        ByteBuffer bitmap = call.copyIn(bits, (int) ((count + 7) >>> 3));
        int set = 0;
        for (int i = 0; i < count; i++) {
            if ((bitmap.get(i >>> 3) >>> (i & 7) & 1) != 0) {
                long address = iova + i * page;
                if (paging.areas().find(address) != null) {
                    table.write(address);
                }
                set++;
            }
        }
        call.put64(56, set);
        call.respond();
        return 0;
    }

    private static MockTable table(Call.Paging paging) throws ErrnoException {
        if (paging.domain().areas() instanceof MockTable table) {
            return table;
        }
        throw new ErrnoException(Errno.EINVAL, "id", "a page table of the mock");
    }

    private static int dmabufGet(Call call) throws ErrnoException {
        long length = Integer.toUnsignedLong(call.u32(16)) + PAGE - 1 & -PAGE;
        if (length == 0 || length > 512 * PAGE) {
            throw new ErrnoException(Errno.EINVAL, "length", "1 to " + 512 * PAGE);
        }
        int closeOnExec = 02000000;
        return call.context().process().deviceMemory(length, (call.u32(20) & closeOnExec) != 0);
    }

    private static int dmabufRevoke(Call call) throws ErrnoException {
        call.context().process().revoke(call.u32(16), call.u32(20) != 0);
        return 0;
    }
}
