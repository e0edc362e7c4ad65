package dev.faultline.iommu.iommufd;

import static dev.faultline.iommu.iommufd.Program.ARENA;
import static dev.faultline.iommu.iommufd.Program.ARENA_BYTES;
import static dev.faultline.iommu.iommufd.Program.NEST_PARENT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Errno;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Invalidation on the self-tests' mock: section M of the conformance scenarios, by number. */
class InvalidationScenariosTest {
    private static final int TYPE = 0xdeadbeef;
    private static final int OTHER_TYPE = 0xdadbeef;
    private static final int ENTRY = 8;
    private static final int VIOMMU_ENTRY = 12;
    private static final int MOST_ENTRIES = 524_288;

    private final Program p = new Program();
    private final int ioas = p.ioas();
    private final Program.Device d1 = p.device(ioas, 0);
    private final int parent = p.table(NEST_PARENT, d1, ioas);
    private final int n1 = p.nested(0, d1, parent, 0);

    @AfterEach
    void close() {
        p.close();
    }

    private void refused(int errno, int done, int result) {
        assertEquals(-errno, result);
        assertEquals(done, p.done());
    }

    private String iotlb(int table) {
        return IntStream.range(0, 4)
                .mapToObj(i -> p.cached(table, i) ? "1" : "0")
                .reduce("", String::concat);
    }

    private String cache(Program.Device device) {
        return IntStream.range(0, 4)
                .mapToObj(i -> p.cached(device, i) ? "1" : "0")
                .reduce("", String::concat);
    }

    @Test
    void scenario191OnlyTheType() {
        assertEquals(0, p.invalidate(n1, TYPE, 0, 0));
        assertEquals(0, p.done());
        refused(Errno.EINVAL, 0, p.invalidate(n1, OTHER_TYPE, 0, 0));
    }

    @Test
    void scenario192APagingTable() {
        refused(Errno.EINVAL, 0, p.invalidate(parent, TYPE, ENTRY, 1));
    }

    @Test
    void scenario193LengthsAndCounts() {
        for (int length : new int[] {0, 4097, 1, 7, 9}) {
            refused(Errno.EINVAL, 0, p.invalidate(n1, TYPE, length, 1));
        }
        refused(Errno.EINVAL, 0, p.invalidate(n1, TYPE, ENTRY, MOST_ENTRIES + 1));
        refused(Errno.EINVAL, 0, p.ioctl(0x3b8d, 0, n1, 0, 0, TYPE, ENTRY, 1, 0));
        refused(Errno.EOPNOTSUPP, 0, p.ioctl(0x3b8d, 0, n1, 0, 0, TYPE, ENTRY, 1, 1));
        assertEquals("1111", iotlb(n1));
    }

    @Test
    void scenario194BadFlagsEndIt() {
        p.write(0, 0, 0, 2, 1);
        refused(Errno.EOPNOTSUPP, 1, p.invalidate(n1, TYPE, ENTRY, 2));
        assertEquals("0111", iotlb(n1));
    }

    @Test
    void scenario195ABadIndexEndsIt() {
        p.write(0, 0, 2, 0, 4);
        refused(Errno.EINVAL, 1, p.invalidate(n1, TYPE, ENTRY, 2));
        assertEquals("1101", iotlb(n1));
    }

    @Test
    void anEntryThatCannotBeReadEndsIt() {
        long last = ARENA + ARENA_BYTES - ENTRY;
        p.write((ARENA_BYTES - ENTRY) / 4, 0, 3);
        int result = p.ioctl(0x3b8d, 0, n1, Program.low(last), Program.high(last), TYPE, ENTRY, 2, 0);
        refused(Errno.EFAULT, 1, result);
        assertEquals("1110", iotlb(n1));
    }

    @Test
    void everythingAtOnce() {
        p.write(0, 1, 0);
        assertEquals(0, p.invalidate(n1, TYPE, ENTRY, 1));
        assertEquals(1, p.done());
        assertEquals("0000", iotlb(n1));
    }

    @Test
    void scenario201AnUnknownId() {
        refused(Errno.ENOENT, 0, p.invalidate(99, TYPE, ENTRY, 1));
        refused(Errno.EINVAL, 0, p.invalidate(ioas, TYPE, ENTRY, 1));
    }

    @Test
    void aViommuTakesVirtualIds() {
        int viommu = p.viommu(d1, parent);
        Program.Device d2 = p.device(ioas, 0);
        var _ = p.vdevice(viommu, d1, 0x99);
        assertEquals(0, p.invalidate(viommu, TYPE, 0, 0));
        refused(Errno.EINVAL, 0, p.invalidate(viommu, OTHER_TYPE, 0, 0));
        p.write(0, 0, 0x99, 1, 0, 0x99, 3);
        assertEquals(0, p.invalidate(viommu, TYPE, VIOMMU_ENTRY, 2));
        assertEquals(2, p.done());
        assertEquals("1010", cache(d1));
        p.write(0, 0, 0x99, 0, 0, d2.id(), 0);
        refused(Errno.EINVAL, 1, p.invalidate(viommu, TYPE, VIOMMU_ENTRY, 2));
        assertEquals("0010", cache(d1));
        assertEquals("1111", cache(d2), "no guest touches another's device");
        p.write(0, 1, 0x99, 0);
        assertEquals(0, p.invalidate(viommu, TYPE, VIOMMU_ENTRY, 1));
        assertEquals("0000", cache(d1));
    }

    @Test
    void aViommuReadsAllEntriesBeforeItDoesAny() {
        int viommu = p.viommu(d1, parent);
        var _ = p.vdevice(viommu, d1, 0x99);
        long last = ARENA + ARENA_BYTES - VIOMMU_ENTRY;
        p.write((ARENA_BYTES - VIOMMU_ENTRY) / 4, 0, 0x99, 0);
        int result = p.ioctl(0x3b8d, 0, viommu, Program.low(last), Program.high(last), TYPE, VIOMMU_ENTRY, 2, 0);
        refused(Errno.EFAULT, 0, result);
        assertEquals("1111", cache(d1));
        p.write(0, 0, 0x99, 0, 0, 0, 0x99, 1, 7);
        refused(Errno.E2BIG, 0, p.invalidate(viommu, TYPE, 16, 2));
        assertEquals("1111", cache(d1));
        p.write(0, 0, 0x99, 0, 0, 0, 0x99, 1, 0);
        assertEquals(0, p.invalidate(viommu, TYPE, 16, 2));
        assertEquals("0011", cache(d1));
        p.write(0, 0, 0x99, 0, 0x99);
        assertEquals(0, p.invalidate(viommu, TYPE, ENTRY, 2), "what is left off is zero");
    }

    @Test
    void aCacheEntryIsAskedBeforeTheDevice() {
        int viommu = p.viommu(d1, parent);
        p.write(0, 0, 1, 4);
        refused(Errno.EINVAL, 0, p.invalidate(viommu, TYPE, VIOMMU_ENTRY, 1));
        p.write(0, 2, 1, 4);
        refused(Errno.EOPNOTSUPP, 0, p.invalidate(viommu, TYPE, VIOMMU_ENTRY, 1));
        assertTrue(p.cached(d1, 0));
        assertFalse(p.cached(d1, 4));
    }
}
