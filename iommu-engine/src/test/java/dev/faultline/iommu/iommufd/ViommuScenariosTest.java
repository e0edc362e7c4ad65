package dev.faultline.iommu.iommufd;

import static dev.faultline.iommu.iommufd.Program.ARENA;
import static dev.faultline.iommu.iommufd.Program.EVENT_TYPE;
import static dev.faultline.iommu.iommufd.Program.FAULT_ID_VALID;
import static dev.faultline.iommu.iommufd.Program.NEST_PARENT;
import static dev.faultline.iommu.iommufd.Program.VIOMMU_TYPE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.faultline.ffm.Errno;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** vIOMMUs, vDEVICEs, HW queues and what a driver announces: sections K and N of the conformance scenarios, by number. */
class ViommuScenariosTest {
    private static final int PAGE = 4096;
    private static final long IOVA = 0x100_0000;

    private final Program p = new Program();
    private final int ioas = p.ioas();
    private final Program.Device d1 = p.device(ioas, 0);
    private final int parent = p.table(NEST_PARENT, d1, ioas);

    @AfterEach
    void close() {
        p.close();
    }

    @Test
    void scenario161NoParent() {
        assertEquals(-Errno.ENOENT, p.allocViommu(0, VIOMMU_TYPE, d1.id(), 0));
    }

    @Test
    void scenario162TableThatIsNoParent() {
        int plain = p.table(0, d1, ioas);
        assertEquals(-Errno.EINVAL, p.allocViommu(0, VIOMMU_TYPE, d1.id(), plain));
    }

    @Test
    void scenario163TypesAndFlags() {
        assertEquals(-Errno.EOPNOTSUPP, p.allocViommu(0, 0xdead, d1.id(), parent));
        assertEquals(-Errno.EOPNOTSUPP, p.allocViommu(0, 0, d1.id(), parent));
        assertEquals(-Errno.EOPNOTSUPP, p.allocViommu(1, VIOMMU_TYPE, d1.id(), parent));
        assertEquals(-Errno.EOPNOTSUPP, p.allocViommu(0, 0xdead, d1.id(), 99), "the type is asked about first");
        assertEquals(-Errno.ENOENT, p.allocViommu(0, 0xdead, 99, parent), "and the device before");
    }

    @Test
    void scenario164WhatHoldsAParentAndAViommu() {
        int viommu = p.viommu(d1, parent);
        int nested = p.nested(0, d1, viommu, 0);
        assertEquals(-Errno.EBUSY, p.destroy(parent));
        assertEquals(-Errno.EBUSY, p.destroy(viommu));
        assertEquals(0, p.destroy(nested));
        assertEquals(-Errno.EBUSY, p.destroy(parent));
        assertEquals(0, p.destroy(viommu));
        assertEquals(0, p.destroy(parent));
    }

    @Test
    void scenario165FlagsOfANestedTable() {
        int viommu = p.viommu(d1, parent);
        int fault = p.faults()[0];
        assertEquals(-Errno.EOPNOTSUPP, p.allocTable(FAULT_ID_VALID | Integer.MIN_VALUE, d1.id(), viommu, fault, true));
    }

    @Test
    void scenario167ANestedTableWantsAVdevice() {
        int viommu = p.viommu(d1, parent);
        int nested = p.nested(0, d1, viommu, 0);
        assertEquals(-Errno.ENOENT, p.replace(d1, nested));
        assertEquals(-Errno.EBUSY, p.destroy(d1.table()), "still attached as before");
    }

    @Test
    void scenario168WithAVdeviceItIsAttached() {
        int viommu = p.viommu(d1, parent);
        int nested = p.nested(0, d1, viommu, 0);
        int vdevice = p.vdevice(viommu, d1, 0x99);
        assertEquals(0, p.replace(d1, nested));
        assertEquals(-Errno.EBUSY, p.destroy(nested));
        assertEquals(0, p.destroy(vdevice), "it is not needed to stay attached");
    }

    @Test
    void scenario169OneVdeviceADevice() {
        int viommu = p.viommu(d1, parent);
        int other = p.viommu(d1, parent);
        int vdevice = p.vdevice(viommu, d1, 0x99);
        assertEquals(-Errno.EEXIST, p.allocVdevice(viommu, d1.id(), 0x99));
        assertEquals(-Errno.EEXIST, p.allocVdevice(viommu, d1.id(), 0x98));
        assertEquals(-Errno.EEXIST, p.allocVdevice(other, d1.id(), 0x99));
        assertEquals(-Errno.EBUSY, p.destroy(viommu));
        assertEquals(0, p.destroy(vdevice));
        assertEquals(0, p.destroy(viommu));
        assertEquals(viommu, p.vdevice(other, d1, 0), "the lowest free id, and 0 is a virtual id like others");
    }

    @Test
    void scenario170OneDeviceAVirtualId() {
        int viommu = p.viommu(d1, parent);
        int other = p.viommu(d1, parent);
        Program.Device d2 = p.device(ioas, 0);
        var _ = p.vdevice(viommu, d1, 0x99);
        assertEquals(-Errno.EEXIST, p.allocVdevice(viommu, d2.id(), 0x99));
        int vdevice = p.vdevice(other, d2, 0x99);
        assertEquals(0, p.destroy(vdevice));
        var _ = p.vdevice(viommu, d2, 0x1_0000_0099L);
    }

    @Test
    void scenario171UnbindLeavesATombstone() {
        int viommu = p.viommu(d1, parent);
        int vdevice = p.vdevice(viommu, d1, 0x99);
        assertEquals(0, p.destroy(d1.mock()));
        assertEquals(-Errno.ENOENT, p.destroy(vdevice));
        assertEquals(-Errno.ENOENT, p.destroy(d1.id()));
        for (int i = 0; i < 100; i++) {
            assertNotEquals(vdevice, p.ioas());
        }
        assertEquals(0, p.destroy(viommu), "the tombstone holds nothing");
    }

    @Test
    void scenario172FaultsNameTheDeviceNotItsVirtualId() {
        int viommu = p.viommu(d1, parent);
        int[] faults = p.faults();
        int nested = p.nested(FAULT_ID_VALID, d1, viommu, faults[0]);
        var _ = p.vdevice(viommu, d1, 0x99);
        assertEquals(0, p.replace(d1, nested));
        assertEquals(0, p.fault(d1, 0, 2, 0xdeadb000L));
        assertEquals(40, p.calls.read(faults[1], ARENA, 40));
        assertEquals(d1.id(), p.read(1));
        p.write(0, 1, 0);
        assertEquals(8, p.calls.write(faults[1], ARENA, 8));
    }

    @Test
    void idsOfAnotherKindAreUnknown() {
        int viommu = p.viommu(d1, parent);
        assertEquals(-Errno.ENOENT, p.allocVdevice(ioas, d1.id(), 1));
        assertEquals(-Errno.ENOENT, p.allocVdevice(viommu, ioas, 1));
        assertEquals(-Errno.ENOENT, p.allocVdevice(viommu, d1.mock(), 1));
        assertEquals(-Errno.ENOENT, p.allocViommu(0, VIOMMU_TYPE, ioas, parent));
    }

    @Test
    void scenario202WhatAHwQueueIsRefusedFor() {
        int viommu = p.viommu(d1, parent);
        assertEquals(-Errno.EOPNOTSUPP, p.allocHwQueue(viommu, 0, 0, IOVA, PAGE));
        assertEquals(-Errno.EOPNOTSUPP, p.allocHwQueue(viommu, 1, 0, IOVA, PAGE));
        assertEquals(-Errno.EINVAL, p.allocHwQueue(viommu, VIOMMU_TYPE, 0, IOVA, 0));
        assertEquals(-Errno.EOVERFLOW, p.allocHwQueue(viommu, VIOMMU_TYPE, 0, -1, PAGE));
        assertEquals(-Errno.ENOENT, p.allocHwQueue(viommu, VIOMMU_TYPE, 0, IOVA, PAGE));
        assertEquals(-Errno.ENOENT, p.allocHwQueue(99, VIOMMU_TYPE, 0, IOVA, PAGE));
    }

    @Test
    void scenario203IndicesFromBelow() {
        int viommu = p.viommu(d1, parent);
        assertEquals(0, p.map(ioas, ARENA, IOVA, 4 * PAGE));
        assertEquals(-Errno.EIO, p.allocHwQueue(viommu, VIOMMU_TYPE, 1, IOVA, PAGE));
        assertEquals(-Errno.EINVAL, p.allocHwQueue(viommu, VIOMMU_TYPE, 2, IOVA, PAGE));
        assertEquals(0, p.allocHwQueue(viommu, VIOMMU_TYPE, 0, IOVA, PAGE));
        assertEquals(-Errno.EEXIST, p.allocHwQueue(viommu, VIOMMU_TYPE, 0, IOVA, PAGE));
        assertEquals(0, p.allocHwQueue(viommu, VIOMMU_TYPE, 1, IOVA + PAGE + 100, 16));
    }

    @Test
    void scenario204ItsMemoryStaysMapped() {
        int viommu = p.viommu(d1, parent);
        assertEquals(0, p.map(ioas, ARENA, IOVA, PAGE));
        assertEquals(0, p.map(ioas, ARENA + PAGE, IOVA + PAGE, PAGE));
        assertEquals(0, p.allocHwQueue(viommu, VIOMMU_TYPE, 0, IOVA, PAGE));
        int queue = p.word(5);
        assertEquals(-Errno.EBUSY, p.unmap(ioas, IOVA, PAGE));
        assertEquals(0, p.unmap(ioas, IOVA + PAGE, PAGE));
        assertEquals(-Errno.EBUSY, p.destroy(viommu));
        assertEquals(-Errno.EBUSY, p.destroy(queue + 1), "the access that pins has an id, and is held");
        assertEquals(0, p.destroy(queue));
        assertEquals(-Errno.ENOENT, p.destroy(queue + 1));
        assertEquals(0, p.unmap(ioas, IOVA, PAGE));
        assertEquals(0, p.destroy(viommu));
    }

    @Test
    void scenario205AQueueHoldsTheOneBelow() {
        int viommu = p.viommu(d1, parent);
        assertEquals(0, p.map(ioas, ARENA, IOVA, 4 * PAGE));
        assertEquals(0, p.allocHwQueue(viommu, VIOMMU_TYPE, 0, IOVA, PAGE));
        int first = p.word(5);
        assertEquals(0, p.allocHwQueue(viommu, VIOMMU_TYPE, 1, IOVA, PAGE));
        int second = p.word(5);
        assertEquals(-Errno.EBUSY, p.destroy(first));
        assertEquals(0, p.destroy(second));
        assertEquals(0, p.destroy(first));
    }

    /** A vIOMMU whose driver announces two pages; where. */
    private long announced() {
        p.write(0, 0xbeef, 0, 0, 0, 0, 0);
        int low = Program.low(ARENA);
        int high = Program.high(ARENA);
        assertEquals(0, p.ioctl(0x3b90, 0, 0, VIOMMU_TYPE, d1.id(), parent, 0, 24, 0, low, high));
        assertEquals(0xbeef, p.read(1));
        assertEquals(2 * PAGE, p.read(4));
        return Integer.toUnsignedLong(p.read(2)) | (long) p.read(3) << 32;
    }

    @Test
    void scenario206OnlyTheAnnouncedPairIsMapped() {
        long offset = announced();
        assertEquals(PAGE, offset);
        int nobody = 99;
        assertEquals(-Errno.EINVAL, p.calls.mmap(nobody, offset + 1, 0, 3, 0), "the offset is looked at first");
        assertEquals(-Errno.EBADF, p.calls.mmap(nobody, offset, 0, 3, 0), "then the descriptor");
        assertEquals(-Errno.EINVAL, p.calls.mmap(p.fd, offset, 0, 3, 1));
        assertEquals(-Errno.ENOMEM, p.calls.mmap(p.fd, offset, Long.MIN_VALUE, 3, 0), "then the length");
        assertEquals(-Errno.EINVAL, p.calls.mmap(p.fd, offset, PAGE, 3, 0), "then the type");
        assertEquals(-Errno.ENXIO, p.calls.mmap(p.fd, offset + PAGE, 2 * PAGE, 3, 1));
        assertEquals(-Errno.ENXIO, p.calls.mmap(p.fd, offset + 2 * PAGE, 2 * PAGE, 3, 1));
        assertEquals(-Errno.ENXIO, p.calls.mmap(p.fd, offset, PAGE, 3, 1));
        assertEquals(-Errno.ENXIO, p.calls.mmap(p.fd, offset, 4 * PAGE, 3, 1));
        assertEquals(-Errno.EINVAL, p.calls.mmap(p.fd, offset, 2 * PAGE, 3, 2), "a private mapping");
        assertEquals(-Errno.EPERM, p.calls.mmap(p.fd, offset, 2 * PAGE, 7, 1));
    }

    @Test
    void scenario207AMappingHoldsItsOwner() {
        long offset = announced();
        int viommu = p.word(5);
        long address = p.calls.mmap(p.fd, offset, 2 * PAGE, 3, 1);
        assertEquals(0, address % PAGE);
        assertEquals(-Errno.EBUSY, p.destroy(viommu));
        assertEquals(0, p.calls.munmap(address, 2 * PAGE));
        assertEquals(0, p.destroy(viommu));
        assertEquals(-Errno.ENXIO, p.calls.mmap(p.fd, offset, 2 * PAGE, 3, 1));
    }

    @Test
    void anEventQueueOfAnyTypeHoldsItsViommu() {
        int viommu = p.viommu(d1, parent);
        int[] events = p.events(viommu, 2);
        assertEquals(-Errno.EBUSY, p.destroy(viommu));
        assertEquals(0, p.calls.close(events[1]));
        assertEquals(0, p.destroy(events[0]));
        assertEquals(-Errno.ENOENT, p.allocEvents(0, parent, EVENT_TYPE, 2, 0));
        assertEquals(0, p.destroy(viommu));
    }
}
