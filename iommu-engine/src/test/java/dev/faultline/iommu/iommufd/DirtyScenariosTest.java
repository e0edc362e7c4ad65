package dev.faultline.iommu.iommufd;

import static dev.faultline.iommu.iommufd.Program.ARENA;
import static dev.faultline.iommu.iommufd.Program.high;
import static dev.faultline.iommu.iommufd.Program.low;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.faultline.ffm.Errno;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Dirty tracking: section O of the conformance scenarios, by number. */
class DirtyScenariosTest {
    private static final int DIRTY_TRACKING = 2;
    private static final int NO_DIRTY = 1;
    private static final int PAGE = 4096;
    private static final long IOVA = 0x100_0000;

    /** Where the bitmaps are: behind what is mapped. */
    private static final int BITS = 0xf000;

    private final Program p = new Program();
    private final int ioas = p.ioas();
    private final Program.Device device = p.device(ioas, 0);

    @AfterEach
    void close() {
        p.close();
    }

    private int track(int table, int flags) {
        return p.ioctl(0x3b8b, 0, flags, table, 0);
    }

    private int get(int table, int flags, long iova, long length, long page) {
        p.write(BITS / Integer.BYTES, 0);
        long bits = ARENA + BITS;
        return p.ioctl(
                0x3b8c,
                0,
                table,
                flags,
                0,
                low(iova),
                high(iova),
                low(length),
                high(length),
                low(page),
                high(page),
                low(bits),
                high(bits));
    }

    private int write(int table, long length, int pages) {
        p.write(BITS / Integer.BYTES, pages);
        long bits = ARENA + BITS;
        return p.test(
                13,
                table,
                0,
                0,
                low(IOVA),
                high(IOVA),
                low(length),
                high(length),
                PAGE,
                0,
                low(bits),
                high(bits),
                0,
                0);
    }

    private int bits() {
        return p.read(BITS / Integer.BYTES);
    }

    @Test
    void scenario208ATableThatDoesNotTrack() {
        int plain = p.table(0, device, ioas);
        assertEquals(-Errno.EOPNOTSUPP, track(plain, 1));
        assertEquals(-Errno.EOPNOTSUPP, get(plain, 0, IOVA, PAGE, PAGE));
        assertEquals(-Errno.ENOENT, track(ioas, 1));
        assertEquals(-Errno.EOPNOTSUPP, track(99, 2), "flags first");
    }

    @Test
    void scenario209OnAndOff() {
        int table = p.table(DIRTY_TRACKING, device, ioas);
        assertEquals(0, track(table, 1));
        assertEquals(0, track(table, 0));
    }

    @Test
    void scenario210ADeviceThatCanNotTrack() {
        Program.Device plain = p.device(ioas, NO_DIRTY);
        assertEquals(-Errno.EOPNOTSUPP, p.allocTable(DIRTY_TRACKING, plain.id(), ioas, 0, false));
        int table = p.table(DIRTY_TRACKING, device, ioas);
        assertEquals(-Errno.EINVAL, p.replace(plain, table));
        assertEquals(0, p.replace(device, table));
    }

    @Test
    void scenario211WhatIsWrittenIsToldOnceUnlessItIsKept() {
        int table = p.table(DIRTY_TRACKING, device, ioas);
        assertEquals(0, p.map(ioas, ARENA, IOVA, 8 * PAGE));
        assertEquals(-Errno.EINVAL, write(table, 8 * PAGE, 0x55), "tracking is off");
        assertEquals(0, track(table, 1));
        assertEquals(0, write(table, 8 * PAGE, 0x55));
        assertEquals(4, p.word(14));
        assertEquals(0, get(table, 0, IOVA, 8 * PAGE, PAGE));
        assertEquals(0x55, bits());
        assertEquals(0, get(table, 0, IOVA, 8 * PAGE, PAGE));
        assertEquals(0, bits());
        assertEquals(0, write(table, 8 * PAGE, 0x81));
        for (int i = 0; i < 2; i++) {
            assertEquals(0, get(table, 1, IOVA, 8 * PAGE, PAGE));
            assertEquals(0x81, bits());
        }
        assertEquals(0, track(table, 1), "begins anew");
        assertEquals(0, get(table, 1, IOVA, 8 * PAGE, PAGE));
        assertEquals(0, bits());
        assertEquals(0, write(table, 8 * PAGE, 1));
        assertEquals(0, p.unmap(ioas, IOVA, 8 * PAGE));
        assertEquals(0, p.map(ioas, ARENA, IOVA, 8 * PAGE));
        assertEquals(0, get(table, 1, IOVA, 8 * PAGE, PAGE), "marks go with what is unmapped");
        assertEquals(0, bits());
        assertEquals(0, get(table, 1, IOVA, 16 * PAGE, PAGE), "a hole is not told");
    }

    @Test
    void scenario212RefusedRanges() {
        int table = p.table(DIRTY_TRACKING, device, ioas);
        assertEquals(-Errno.EINVAL, get(table, 0, IOVA, PAGE, 0));
        assertEquals(-Errno.EINVAL, get(table, 0, IOVA + 1, PAGE, PAGE));
        assertEquals(-Errno.EINVAL, get(table, 0, IOVA + 2048, 2048, PAGE), "aligned, but not to the bitmap's page");
        assertEquals(-Errno.EOVERFLOW, get(table, 0, -PAGE, 2 * PAGE, PAGE));
        assertEquals(-Errno.EOVERFLOW, get(table, 0, IOVA, 0, PAGE));
        assertEquals(-Errno.EOPNOTSUPP, get(table, 2, IOVA, PAGE, PAGE));
    }
}
