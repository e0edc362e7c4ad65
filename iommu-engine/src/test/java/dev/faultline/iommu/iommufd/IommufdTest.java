package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.iommufd.mock.MockDriver;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultWorker;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.OptionalLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The typed face of {@code /dev/iommu}. */
class IommufdTest {
    private static final int PAGE = 4096;

    private final Iommufd iommufd = Iommufd.open();

    @AfterEach
    void close() {
        iommufd.close();
    }

    private static MemorySegment pages(int count) {
        return Arena.ofAuto().allocate((long) count * PAGE, PAGE);
    }

    @Test
    void whatIsMappedIsWhatADeviceSees() {
        Iommufd.AddressSpace space = iommufd.addressSpace();
        Iommufd.Device nic = iommufd.device(DeviceConfig.pri("nic"));
        MemorySegment ram = pages(2);
        long at = space.map(ram);
        try (Iommufd.Attachment attached = nic.attach(space)) {
            nic.engine().write(at + PAGE - 2, MemorySegment.ofArray(new byte[] {1, 2, 3, 4}));
            byte[] read = new byte[4];
            nic.engine().read(at + PAGE - 2, MemorySegment.ofArray(read));
            assertArrayEquals(new byte[] {1, 2, 3, 4}, read);
            assertArrayEquals(read, ram.asSlice(PAGE - 2, 4).toArray(ValueLayout.JAVA_BYTE));
            assertEquals(2L * PAGE, space.unmap(at, 2L * PAGE));
            assertEquals("Attachment", attached.getClass().getSimpleName());
        }
    }

    @Test
    void aRefusalSaysWhichFieldHeldWhatAndWhatIsAllowed() {
        Iommufd.AddressSpace space = iommufd.addressSpace();
        Iommufd.Device nic = iommufd.device(DeviceConfig.pri("nic"));
        Iommufd.FaultQueue faults = iommufd.faultQueue();
        IommufdException refused = assertThrows(
                IommufdException.class,
                () -> space.pageTable(nic).nestParent().faults(faults).make());
        assertEquals(Errno.EOPNOTSUPP, refused.errno());
        assertEquals("EOPNOTSUPP", refused.errnoName());
        assertEquals("IOMMU_HWPT_ALLOC", refused.command());
        assertEquals("flags", refused.field());
        assertEquals(
                "IOMMU_HWPT_ALLOC: EOPNOTSUPP: flags=5: allowed NEST_PARENT without FAULT_ID_VALID",
                refused.getMessage());
        IommufdException nowhere = assertThrows(IommufdException.class, () -> space.unmap(0x10_0000, PAGE));
        assertEquals("ENOENT", nowhere.errnoName());
    }

    @Test
    void whatIsHeldCannotBeClosed() {
        Iommufd.AddressSpace space = iommufd.addressSpace();
        Iommufd.Device nic = iommufd.device(DeviceConfig.pri("nic"));
        Iommufd.PageTable table = space.pageTable(nic).make();
        IommufdException held = assertThrows(IommufdException.class, space::close);
        assertEquals(
                "IOMMU_DESTROY: EBUSY: id=" + space.id() + ": allowed an object that nothing holds", held.getMessage());
        Iommufd.Attachment attached = nic.attach(table);
        assertEquals("EBUSY", assertThrows(IommufdException.class, table::close).errnoName());
        attached.close();
        table.close();
        space.close();
    }

    @Test
    void aGuestsPasidTablesAreReplacedUnderAFault() {
        Iommufd.AddressSpace space = iommufd.addressSpace();
        MemorySegment ram = pages(16);
        space.map(0, ram);
        Iommufd.Device nic = iommufd.device(DeviceConfig.pri("nic"));
        Iommufd.PageTable parent = space.pageTable(nic).nestParent().make();
        Iommufd.GuestIommu guest = parent.guestIommu(nic);
        Iommufd.GuestDevice known = guest.device(nic, 0x99);
        Iommufd.FaultQueue faults = iommufd.faultQueue();
        int[] devices = new int[1];
        FaultWorker worker = faults.run(group -> {
            devices[0] = group.device();
            return Answer.INVALID;
        });
        Iommufd.PageTable empty =
                guest.nested(nic).firstStage(0).pasids().faults(faults).make();
        Iommufd.PageTable other = guest.nested(nic).firstStage(PAGE).pasids().make();
        try (Iommufd.Attachment attached = nic.attach(empty, 5)) {
            assertThrows(
                    RuntimeException.class, () -> nic.engine().read(0x1000, MemorySegment.ofArray(new byte[8]), 5));
            assertEquals(nic.id(), devices[0], "the id it is bound under");
            assertEquals(OptionalLong.of(0x99), guest.virtualId(devices[0]), "the id the guest knows it by");
            assertEquals(OptionalLong.empty(), guest.virtualId(devices[0] + 1), "no device of the guest");
            attached.replace(other);
            assertTrue(worker.isRunning());
        }
        worker.close();
        known.close();
        assertEquals(OptionalLong.empty(), guest.virtualId(devices[0]), "the guest has it no more");
        empty.close();
        other.close();
        guest.close();
    }

    @Test
    void onlyTheEngineMakesDevices() {
        try (MockDriver mock = MockDriver.open();
                Iommufd overMock = Iommufd.open(mock)) {
            assertThrows(IllegalStateException.class, () -> overMock.device(DeviceConfig.pri("nic")));
        }
    }

    @Test
    void aQueueHasOneDoor() {
        Iommufd.FaultQueue faults = iommufd.faultQueue();
        var _ = faults.consumer();
        assertEquals(-Errno.EBADFD, iommufd.calls().read(faults.fd(), 0x1_0000L, 40));
        IommufdException taken = assertThrows(IommufdException.class, faults::consumer);
        assertEquals("EBUSY", taken.errnoName());
    }
}
