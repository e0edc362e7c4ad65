package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Area;
import dev.faultline.iommu.AreaResult;
import dev.faultline.iommu.Areas;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Commands: dirty tracking. */
final class DirtyCommands {
    private static final int ENABLE = 1;
    private static final int NO_CLEAR = 1;

    private DirtyCommands() {}

    static List<Command> all() {
        return List.of(
                Command.of("IOMMU_HWPT_SET_DIRTY_TRACKING", 0x3b8b, 16, 16, DirtyCommands::set),
                Command.of("IOMMU_HWPT_GET_DIRTY_BITMAP", 0x3b8c, 48, 48, DirtyCommands::get));
    }

    private static void set(Call call) throws ErrnoException {
        call.flags(4, "flags", ENABLE);
        HwptPaging table = call.get(8, "hwpt_id", HwptPaging.class);
        DirtyTracking tracking = required(table);
        boolean enable = (call.u32(4) & ENABLE) != 0;
        if (enable) {
            DirtyTracking.Reading reading = tracking.read(true);
            try {
                for (Area area : table.ioas().areas().all()) {
                    reading.read(area, area.first(), area.last(), (first, bytes) -> {});
                }
            } finally {
                reading.end();
            }
        }
        tracking.track(enable);
    }

    private static void get(Call call) throws ErrnoException {
        call.flags(8, "flags", NO_CLEAR);
        call.reserved(12, "__reserved");
        HwptPaging table = call.get(4, "hwpt_id", HwptPaging.class);
        long iova = call.u64(16);
        long length = call.u64(24);
        long pageSize = call.u64(32);
        Areas areas = table.ioas().areas();
        long last = iova + (length - 1);
        if (Long.compareUnsigned(last, iova) < 0) {
            throw new ErrnoException(Errno.EOVERFLOW, "length", "what ends below 2^64, and not 0");
        }
        requireAligned(iova, last, areas.alignment() - 1, "iova");
        if (pageSize == 0) {
            throw new ErrnoException(Errno.EINVAL, "page_size", "1 or more");
        }
        requireAligned(iova, last, pageSize - 1, "page_size");
        DirtyTracking tracking = required(table);
        call.context().process().allocations().take("a bitmap");
        Bitmap bitmap = new Bitmap(call.memory(), iova, last, Long.numberOfTrailingZeros(pageSize), call.u64(40));
        boolean clear = (call.u32(8) & NO_CLEAR) == 0;
        DirtyTracking.Reading reading = tracking.read(clear);
        try {
            // Up to the first hole, which is not told.
            var _ = areas.visit(iova, length, (area, from, to) -> {
                reading.read(area, from, to, bitmap::set);
                return AreaResult.DONE;
            });
        } finally {
            // Not within: devices are waited for.
            reading.end();
        }
    }

    private static void requireAligned(long first, long last, long mask, String field) throws ErrnoException {
        if ((first & mask) != 0 || (last + 1 & mask) != 0) {
            throw new ErrnoException(Errno.EINVAL, field, "what iova and the end of the range are multiples of");
        }
    }

    private static DirtyTracking required(HwptPaging table) throws ErrnoException {
        @Nullable DirtyTracking tracking = table.domain().dirty();
        if (tracking == null) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "hwpt_id", "one that was made with DIRTY_TRACKING");
        }
        return tracking;
    }

    /** A bitmap in the program's memory: bits are set, never cleared. Where it can not be written they are lost. */
    private static final class Bitmap {
        private final UserMemory memory;
        private final long iova;
        private final long last;
        private final int shift;
        private final long address;

        Bitmap(UserMemory memory, long iova, long last, int shift, long address) {
            this.memory = memory;
            this.iova = iova;
            this.last = last;
            this.shift = shift;
            this.address = address;
        }

        void set(long first, long bytes) {
            long end = first + bytes - 1;
            if (Long.compareUnsigned(end, last) > 0) {
                end = last;
            }
            long bit = (first - iova) >>> shift;
            long lastBit = (end - iova) >>> shift;
            byte[] one = new byte[1];
            MemorySegment buffer = MemorySegment.ofArray(one);
            while (bit <= lastBit) {
                long at = address + (bit >>> 3);
                if (UserMemory.isOutside(at, 1) || memory.copyIn(at, buffer) < 1) {
                    return;
                }
                int from = (int) (bit & 7);
                int count = (int) Math.min(8 - from, lastBit - bit + 1);
                one[0] |= (byte) (((1 << count) - 1) << from);
                if (memory.copyOut(buffer, at) < 1) {
                    return;
                }
                bit += count;
            }
        }
    }
}
