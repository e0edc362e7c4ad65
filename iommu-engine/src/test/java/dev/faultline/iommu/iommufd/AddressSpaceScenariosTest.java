package dev.faultline.iommu.iommufd;

import static dev.faultline.iommu.iommufd.Program.ARENA;
import static dev.faultline.iommu.iommufd.Program.high;
import static dev.faultline.iommu.iommufd.Program.low;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.faultline.ffm.Errno;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Address spaces: section B of the conformance scenarios, by number, and section 4 of the object model. */
class AddressSpaceScenariosTest {
    private static final long PAGE = 4096;
    private static final long MOST = -1;
    private static final long X = 0x40_0000;
    private static final int FIXED = 1;
    private static final int WRITEABLE = 2;
    private static final int READABLE = 4;
    private static final int SMALLEST = 2048;
    private static final long APERTURE = 0x100_0000;
    private static final long APERTURE_LAST = 0x7fff_ffff;

    private final Program p = new Program();
    private final int a = p.ioas();

    @AfterEach
    void close() {
        p.close();
    }

    private int ranges(int ioas, int room) {
        p.arena.fill((byte) 0);
        return p.ioctl(0x3b84, 0, ioas, room, 0, low(ARENA), high(ARENA), 0, 0);
    }

    /** Range n of the answer, and the number of ranges and the alignment. */
    private void assertRange(int n, long first, long last) {
        assertEquals(first, p.arena.get(java.lang.foreign.ValueLayout.JAVA_LONG, 16L * n));
        assertEquals(last, p.arena.get(java.lang.foreign.ValueLayout.JAVA_LONG, 16L * n + 8));
    }

    private void assertAnswer(int ranges, long alignment) {
        assertEquals(ranges, p.word(2));
        assertEquals(alignment, Integer.toUnsignedLong(p.word(6)));
    }

    private int map(int flags, long at, long length, long iova) {
        return p.ioctl(0x3b85, 0, flags, a, 0, low(at), high(at), low(length), high(length), low(iova), high(iova));
    }

    private int allow(int ioas, long... firstsAndLasts) {
        for (int i = 0; i < firstsAndLasts.length; i++) {
            p.write(2 * i, low(firstsAndLasts[i]), high(firstsAndLasts[i]));
        }
        return p.ioctl(0x3b82, 0, ioas, firstsAndLasts.length / 2, 0, low(ARENA), high(ARENA));
    }

    private int reserve(int ioas, long start, long length) {
        return p.test(1, ioas, low(start), high(start), low(length), high(length));
    }

    private int copy(int flags, int to, int from, long length, long dst, long src) {
        return p.ioctl(0x3b83, 0, flags, to, from, low(length), high(length), low(dst), high(dst), low(src), high(src));
    }

    private long unmapped() {
        return Integer.toUnsignedLong(p.word(4)) | (long) p.word(5) << 32;
    }

    @Test
    void scenario15ANewOneIsAllAddresses() {
        assertEquals(0, ranges(a, 4));
        assertAnswer(1, 1);
        assertRange(0, 0, MOST);
    }

    @Test
    void scenario16ADeviceBringsItsAperture() {
        var _ = p.device(a, 0);
        assertEquals(0, ranges(a, 4));
        assertAnswer(1, SMALLEST);
        assertRange(0, APERTURE, APERTURE_LAST);
    }

    @Test
    void scenario17NoRoomForRanges() {
        assertEquals(-Errno.EMSGSIZE, ranges(a, 0));
        assertAnswer(1, 1);
        assertRange(0, 0, 0);
    }

    @Test
    void scenario18AReservedPageMakesTwoRanges() {
        assertEquals(0, reserve(a, PAGE, PAGE));
        assertEquals(-Errno.EMSGSIZE, ranges(a, 1));
        assertAnswer(2, 1);
        assertRange(0, 0, PAGE - 1);
        assertRange(1, 0, 0);
        assertEquals(0, ranges(a, 2));
        assertRange(1, 2 * PAGE, MOST);
    }

    @Test
    void scenarios19To22RefusedMappings() {
        assertEquals(-Errno.EINVAL, map(FIXED, ARENA, PAGE, X), "neither read nor write");
        assertEquals(-Errno.EOPNOTSUPP, map(FIXED | READABLE | 8, ARENA, PAGE, X));
        assertEquals(-Errno.EOVERFLOW, map(FIXED | READABLE, ARENA, PAGE, MOST));
        assertEquals(-Errno.EOVERFLOW, map(READABLE, ARENA, PAGE, MOST), "looked at without FIXED, too");
        assertEquals(-Errno.EINVAL, map(FIXED | READABLE, ARENA, 0, X));
        assertEquals(-Errno.EOVERFLOW, map(FIXED | READABLE, MOST - 1, PAGE, X));
        assertEquals(-Errno.EINVAL, map(FIXED | READABLE, 0, MOST - 1, X));
        assertEquals(0, p.unmap(a, 0, MOST));
        assertEquals(0, unmapped());
    }

    @Test
    void scenario23LengthsAreMultiplesOfTheAlignment() {
        var _ = p.device(a, 0);
        assertEquals(-Errno.EINVAL, map(FIXED | READABLE, ARENA, SMALLEST - 1, APERTURE));
        assertEquals(-Errno.EINVAL, map(FIXED | READABLE, ARENA, SMALLEST, APERTURE + 1));
        assertEquals(-Errno.EINVAL, map(FIXED | READABLE, ARENA + 1024, SMALLEST, APERTURE));
        assertEquals(0, map(FIXED | READABLE, ARENA, 3 * SMALLEST, APERTURE));
    }

    @ParameterizedTest
    @CsvSource({"0, 2", "0, 1", "1, 1", "-1, 4", "1, 2"})
    void scenario24OverlapsAreRefused(int page, int pages) {
        assertEquals(0, p.map(a, ARENA, X, 2 * PAGE));
        assertEquals(-Errno.EEXIST, p.map(a, ARENA, X + page * PAGE, pages * PAGE));
    }

    @Test
    void scenarios25And26UnmappingPartsAndHoles() {
        assertEquals(0, p.map(a, ARENA, X, 2 * PAGE));
        assertEquals(-Errno.ENOENT, p.unmap(a, X, PAGE));
        assertEquals(-Errno.ENOENT, p.unmap(a, X + PAGE, PAGE));
        assertEquals(-Errno.ENOENT, p.unmap(a, X + 4 * PAGE, PAGE));
        assertEquals(0, p.unmap(a, X, 2 * PAGE));
        assertEquals(2 * PAGE, unmapped());
    }

    @Test
    void scenarios27To29UnmappingMuchAndNothing() {
        assertEquals(0, p.unmap(a, 0, MOST));
        assertEquals(0, unmapped());
        for (int i = 0; i < 4; i++) {
            assertEquals(0, p.map(a, ARENA, X + i * 16L * PAGE, 8 * PAGE));
        }
        assertEquals(0, p.unmap(a, X, 64 * PAGE));
        assertEquals(32 * PAGE, unmapped());
        assertEquals(0, p.map(a, ARENA, X, PAGE));
        assertEquals(0, p.unmap(a, 0, MOST));
        assertEquals(PAGE, unmapped());
        assertEquals(-Errno.EINVAL, p.unmap(a, X, 0));
        assertEquals(-Errno.EOVERFLOW, p.unmap(a, X, -PAGE));
        assertEquals(-Errno.ENOENT, p.unmap(99, 0, 0), "the address space is looked up first");
    }

    @Test
    void scenarios30To33AllowedAndReservedRanges() {
        assertEquals(0, allow(a, 0x20_0000, 0x3f_ffff));
        assertEquals(-Errno.EADDRINUSE, reserve(a, 0x30_0000, PAGE));
        assertEquals(0, reserve(a, 0x80_0000, PAGE));
        assertEquals(-Errno.EADDRINUSE, allow(a, 0x7f_0000, 0x81_0000));
        assertEquals(0, map(READABLE, ARENA, PAGE, 0));
        assertEquals(0x20_0000, p.word(8), "the old list is in force");
        assertEquals(-Errno.EINVAL, allow(a, 5, 5));
        assertEquals(-Errno.EINVAL, allow(a, 0x1000, 0x2000, 0x2000, 0x3000));
        assertEquals(0, p.map(a, ARENA, X, PAGE), "a fixed address may be anywhere");
        assertEquals(0, allow(a), "no list");
        assertEquals(0, map(READABLE, ARENA, PAGE, 0));
        assertEquals(PAGE, p.word(8), "never at 0");
    }

    @Test
    void scenarios34To36Copies() {
        int b = p.ioas();
        assertEquals(0, p.map(a, ARENA, X, 2 * PAGE));
        int all = FIXED | READABLE | WRITEABLE;
        assertEquals(0, copy(all, b, a, PAGE, X, X));
        assertEquals(0, copy(all, a, a, PAGE, 2 * X, X));
        assertEquals(-Errno.ENOENT, copy(all, b, a, 2 * PAGE, 2 * X, X - PAGE));
        assertEquals(-Errno.ENOENT, copy(all, b, a, 2 * PAGE, 2 * X, X + PAGE));
        assertEquals(0, copy(all, b, a, 100, 3 * X + 1, X + 11), "at odd offsets while no table is there");
        assertEquals(0, map(FIXED | READABLE, ARENA, PAGE, 4 * X));
        assertEquals(-Errno.EPERM, copy(all, b, a, PAGE, 5 * X, 4 * X));
        assertEquals(0, copy(FIXED | READABLE, b, a, PAGE, 5 * X, 4 * X));
        assertEquals(0, copy(READABLE, b, a, PAGE, 0, X));
        assertEquals(PAGE, p.word(6));
    }

    @Test
    void scenario37MemoryThatEndsHalfWay() {
        var _ = p.device(a, 0);
        long end = ARENA + Program.ARENA_BYTES;
        assertEquals(-Errno.EFAULT, p.map(a, end - PAGE, APERTURE, 2 * PAGE));
        assertEquals(-Errno.ENOENT, p.unmap(a, APERTURE, 2 * PAGE), "nothing is mapped");
        assertEquals(0, p.test(4, 0, low(PAGE), high(PAGE), low(end - PAGE), high(end - PAGE), 0), "nor held");
        assertEquals(0, p.map(a, end - PAGE, APERTURE, PAGE));
        assertEquals(0, p.test(4, 0, low(PAGE), high(PAGE), low(end - PAGE), high(end - PAGE), 1));
    }

    @Test
    void scenario38MemoryIsMissedWhenATableComes() {
        assertEquals(0, p.map(a, 0x5000, APERTURE, PAGE));
        assertEquals(-Errno.EFAULT, p.test(12, a, 0, 0, 0, 0));
        assertEquals(0, p.unmap(a, APERTURE, PAGE));
        var _ = p.device(a, 0);
    }

    @Test
    void scenario39AnAttachedOneStays() {
        var _ = p.device(a, 0);
        assertEquals(-Errno.EBUSY, p.destroy(a));
    }

    @Test
    void scenarios40And41Options() {
        assertEquals(-Errno.EBUSY, option(0, 0, 0, 1), "there is an object");
        assertEquals(0, p.destroy(a));
        assertEquals(0, option(0, 1, 0, 0));
        assertEquals(0, p.word(4));
        assertEquals(0, option(0, 0, 0, 1));
        assertEquals(-Errno.EINVAL, option(0, 0, 0, 2));
        int b = p.ioas();
        assertEquals(0, option(1, 1, b, 0));
        assertEquals(1, p.word(4));
        assertEquals(0, option(1, 0, b, 0));
        assertEquals(0, option(1, 1, b, 7));
        assertEquals(0, p.word(4));
        assertEquals(-Errno.EINVAL, option(1, 0, b, 2));
        assertEquals(0, ranges(b, 1));
        assertAnswer(1, PAGE);
    }

    private int option(int option, int operation, int object, int value) {
        return p.ioctl(0x3b87, 0, option, operation, object, value, 0);
    }

    @Test
    void scenario42TheProcessIsChangedWhenAllIsOfFiles() {
        assertEquals(0, p.ioctl(0x3b92, 0, 0), "nothing is mapped");
        assertEquals(0, p.map(a, ARENA, X, PAGE));
        assertEquals(-Errno.EINVAL, p.ioctl(0x3b92, 0, 0));
        assertEquals(0, p.unmap(a, X, PAGE));
        int file = p.calls.memfdCreate(0);
        assertEquals(0, p.calls.ftruncate(file, 4 * PAGE));
        assertEquals(0, mapFile(file, PAGE, 2 * PAGE, X));
        assertEquals(0, p.ioctl(0x3b92, 0, 0));
        assertEquals(-Errno.EOPNOTSUPP, p.ioctl(0x3b92, 0, 1));
    }

    private int mapFile(int file, long start, long length, long iova) {
        return p.ioctl(
                0x3b8f,
                0,
                FIXED | READABLE | WRITEABLE,
                a,
                file,
                low(start),
                high(start),
                low(length),
                high(length),
                low(iova),
                high(iova));
    }

    @Test
    void filesAreMappedAsFarAsTheyReach() {
        var _ = p.device(a, 0);
        int file = p.calls.memfdCreate(1);
        assertEquals(0, p.calls.ftruncate(file, 2 * PAGE));
        assertEquals(-Errno.EINVAL, mapFile(file, PAGE, 2 * PAGE, APERTURE), "beyond the end");
        assertEquals(0, mapFile(file, PAGE, PAGE, APERTURE));
        assertEquals(-Errno.EBADF, mapFile(77, 0, PAGE, 2 * APERTURE));
        assertEquals(-Errno.EINVAL, mapFile(p.fd, 0, PAGE, 2 * APERTURE), "not one of memory");
        assertEquals(-Errno.EINVAL, mapFile(file, 0, 0, 2 * APERTURE));
        assertEquals(-Errno.EOVERFLOW, mapFile(file, -PAGE, 2 * PAGE, 2 * APERTURE));
        assertEquals(0, p.calls.close(file));
        assertEquals(0, p.unmap(a, APERTURE, PAGE), "a mapping keeps the file");
    }

    @Test
    void tablesRaiseTheAlignmentAndLowerItWhenTheyGo() {
        assertEquals(0, map(FIXED | READABLE, ARENA, 100, APERTURE));
        assertEquals(-Errno.EADDRINUSE, p.test(12, a, 0, 0, 0, 0), "something odd is mapped");
        assertEquals(0, p.unmap(a, APERTURE, 100));
        assertEquals(0, p.map(a, ARENA, X, PAGE));
        assertEquals(-Errno.EADDRINUSE, p.test(12, a, 0, 0, 0, 0), "something is mapped below the aperture");
        assertEquals(0, p.unmap(a, X, PAGE));
        assertEquals(0, allow(a, X, X + PAGE));
        assertEquals(-Errno.EADDRINUSE, p.test(12, a, 0, 0, 0, 0), "something is allowed there");
        assertEquals(0, allow(a));
        Program.Device device = p.device(a, 0);
        assertEquals(0, ranges(a, 1));
        assertAnswer(1, SMALLEST);
        assertEquals(0, p.destroy(device.mock()));
        assertEquals(0, ranges(a, 1));
        assertAnswer(1, 1);
        assertRange(0, 0, MOST);
    }

    @Test
    void mappingsHoldNothing() {
        assertEquals(0, p.map(a, ARENA, X, PAGE));
        assertEquals(0, p.destroy(a));
        assertEquals(0, p.test(4, 0, low(PAGE), high(PAGE), low(ARENA), high(ARENA), 0));
    }
}
