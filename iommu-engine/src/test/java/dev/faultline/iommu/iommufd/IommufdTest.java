package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.AccessFault;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.iommufd.mock.MockDriver;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultWorker;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
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
        UserAddressSpace space = iommufd.addressSpace();
        UserDevice nic = iommufd.device(DeviceConfig.pri("nic"));
        MemorySegment ram = pages(2);
        long at = space.map(ram);
        try (UserAttachment _ = nic.attach(space)) {
            nic.engine().write(at + PAGE - 2, MemorySegment.ofArray(new byte[] {1, 2, 3, 4}));
            byte[] read = new byte[4];
            nic.engine().read(at + PAGE - 2, MemorySegment.ofArray(read));
            assertArrayEquals(new byte[] {1, 2, 3, 4}, read);
            assertArrayEquals(read, ram.asSlice(PAGE - 2, 4).toArray(ValueLayout.JAVA_BYTE));
            assertEquals(2L * PAGE, space.unmap(at, 2L * PAGE));
            assertThrows(
                    AccessFault.class,
                    () -> nic.engine().read(at, MemorySegment.ofArray(new byte[1])),
                    "nothing is there");
        }
    }

    @Test
    void aRefusalSaysWhichFieldHeldWhatAndWhatIsAllowed() {
        UserAddressSpace space = iommufd.addressSpace();
        UserDevice nic = iommufd.device(DeviceConfig.pri("nic"));
        UserFaultQueue faults = iommufd.faultQueue();
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
        UserAddressSpace space = iommufd.addressSpace();
        UserDevice nic = iommufd.device(DeviceConfig.pri("nic"));
        UserPageTable table = space.pageTable(nic).make();
        IommufdException held = assertThrows(IommufdException.class, space::close);
        assertEquals(
                "IOMMU_DESTROY: EBUSY: id=" + space.id() + ": allowed an object that nothing holds", held.getMessage());
        UserAttachment attached = nic.attach(table);
        assertEquals("EBUSY", assertThrows(IommufdException.class, table::close).errnoName());
        attached.close();
        table.close();
        space.close();
    }

    @Test
    void aGuestsPasidTablesAreReplacedUnderAFault() {
        UserAddressSpace space = iommufd.addressSpace();
        MemorySegment ram = pages(16);
        space.map(0, ram);
        UserDevice nic = iommufd.device(DeviceConfig.pri("nic"));
        UserPageTable parent = space.pageTable(nic).nestParent().make();
        GuestIommu guest = parent.guestIommu(nic);
        GuestDevice known = guest.device(nic, 0x99);
        UserFaultQueue faults = iommufd.faultQueue();
        int[] devices = new int[1];
        FaultWorker worker = faults.run(group -> {
            devices[0] = group.device();
            return Answer.INVALID;
        });
        UserPageTable empty =
                guest.nested(nic).firstStage(0).pasids().faults(faults).make();
        UserPageTable other = guest.nested(nic).firstStage(PAGE).pasids().make();
        try (UserAttachment attached = nic.attach(empty, 5)) {
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
        UserFaultQueue faults = iommufd.faultQueue();
        var _ = faults.consumer();
        assertEquals(-Errno.EBADFD, iommufd.calls().read(faults.fd(), 0x1_0000L, 40));
        IommufdException taken = assertThrows(IommufdException.class, faults::consumer);
        assertEquals("EBUSY", taken.errnoName());
    }

    @Test
    void anAttachmentThatEndedLeavesTheNextOneAlone() {
        UserAddressSpace space = iommufd.addressSpace();
        MemorySegment ram = pages(1);
        long at = space.map(ram);
        UserDevice nic = iommufd.device(DeviceConfig.pri("nic"));
        UserPageTable table = space.pageTable(nic).make();
        UserAttachment old = nic.attach(table);
        old.close();
        UserAttachment next = nic.attach(table);
        old.close();
        assertEquals(
                "EINVAL",
                assertThrows(IommufdException.class, () -> old.replace(table)).errnoName());
        nic.engine().write(at, MemorySegment.ofArray(new byte[] {7}));
        assertEquals(7, ram.get(ValueLayout.JAVA_BYTE, 0), "the next one holds");
        next.close();
        table.close();
    }

    @Test
    void whatIsClosedTwiceLeavesAloneWhatHasItsIdNow() {
        UserAddressSpace space = iommufd.addressSpace();
        space.close();
        UserAddressSpace nextSpace = iommufd.addressSpace();
        assertEquals(space.id(), nextSpace.id(), "the id is used again");
        space.close();
        UserDevice nic = iommufd.device(DeviceConfig.pri("nic"));
        UserPageTable table = nextSpace.pageTable(nic).nestParent().make();
        table.close();
        UserPageTable nextTable = nextSpace.pageTable(nic).nestParent().make();
        assertEquals(table.id(), nextTable.id(), "the id is used again");
        table.close();
        GuestIommu guest = nextTable.guestIommu(nic);
        guest.close();
        GuestIommu nextGuest = nextTable.guestIommu(nic);
        assertEquals(guest.id(), nextGuest.id(), "the id is used again");
        guest.close();
        GuestDevice known = nextGuest.device(nic, 1);
        known.close();
        GuestDevice nextKnown = nextGuest.device(nic, 2);
        assertEquals(known.id(), nextKnown.id(), "the id is used again");
        known.close();
        assertEquals(OptionalLong.of(2), nextGuest.virtualId(nic.id()));
        nextKnown.close();
        nextGuest.close();
        nextTable.close();
        nextSpace.close();
    }

    @Test
    void aFaultQueueThatIsHeldIsClosedLater() {
        UserAddressSpace space = iommufd.addressSpace();
        UserDevice nic = iommufd.device(DeviceConfig.pri("nic"));
        UserFaultQueue faults = iommufd.faultQueue();
        UserPageTable table = space.pageTable(nic).faults(faults).make();
        assertEquals(
                "EBUSY", assertThrows(IommufdException.class, faults::close).errnoName());
        UserFaultQueue next = iommufd.faultQueue();
        assertEquals(faults.fd(), next.fd(), "the number is used again");
        assertEquals(
                "EBUSY", assertThrows(IommufdException.class, faults::close).errnoName());
        assertEquals(
                "EBADF", assertThrows(IommufdException.class, faults::consumer).errnoName());
        table.close();
        faults.close();
        UserFaultQueue third = iommufd.faultQueue();
        assertEquals(faults.id(), third.id(), "the id is used again");
        faults.close();
        var _ = next.consumer();
        next.close();
        third.close();
    }

    /** How many segments lie in the program's memory. */
    private int segments() {
        return iommufd.calls().memory().toString().split(" to ", -1).length - 1;
    }

    @Test
    void whatIsUnmappedIsLetGo() {
        UserAddressSpace space = iommufd.addressSpace();
        int before = segments();
        space.map(0, pages(1));
        space.map(2 * PAGE, pages(1));
        assertEquals(before + 2, segments());
        assertEquals(2L * PAGE, space.unmap(0, -1));
        assertEquals(before, segments(), "everything");
        space.map(0, pages(1));
        space.map(0xffff_ffff_ffff_0000L, pages(2));
        assertEquals(2L * PAGE, space.unmap(0xffff_ffff_fff0_0000L, 0xf_f000));
        assertEquals(before + 1, segments(), "the upper half");
        space.map(PAGE, pages(2));
        assertEquals(
                "ENOENT",
                assertThrows(IommufdException.class, () -> space.unmap(0, 2 * PAGE))
                        .errnoName());
        assertEquals(before + 1, segments(), "the first is gone, the one that would be cut stays");
        assertEquals(2L * PAGE, space.unmap(PAGE, 2 * PAGE));
        assertEquals(before, segments());
        space.map(0, pages(1));
        UserDevice nic = iommufd.device(DeviceConfig.pri("nic"));
        UserPageTable table = space.pageTable(nic).make();
        assertEquals("EBUSY", assertThrows(IommufdException.class, space::close).errnoName());
        assertEquals(before + 1, segments());
        table.close();
        space.close();
        assertEquals(before, segments(), "closed");
    }

    @Test
    void memoryThatIsOnlyReadIsMappedForReadingOnly() {
        UserAddressSpace space = iommufd.addressSpace();
        MemorySegment ram = pages(1);
        ram.set(ValueLayout.JAVA_BYTE, 3, (byte) 9);
        space.mapReadOnly(0, ram);
        UserDevice nic = iommufd.device(DeviceConfig.pri("nic"));
        UserAttachment attached = nic.attach(space);
        byte[] read = new byte[4];
        nic.engine().read(0, MemorySegment.ofArray(read));
        assertArrayEquals(new byte[] {0, 0, 0, 9}, read);
        assertThrows(AccessFault.class, () -> nic.engine().write(0, MemorySegment.ofArray(read)));
        attached.close();
        space.mapReadOnly(PAGE, ram.asReadOnly());
        assertEquals(
                "EFAULT",
                assertThrows(IommufdException.class, () -> nic.attach(space)).errnoName());
        assertEquals(PAGE, space.unmap(PAGE, PAGE));
        assertThrows(IllegalArgumentException.class, () -> space.map(PAGE, ram.asReadOnly()), "for writing too");
    }

    @Test
    void aDeviceThatIsNotSteppedIsClosedLater() throws InterruptedException {
        IommuConfig usual = IommuConfig.small();
        IommuConfig impatient = new IommuConfig(
                usual.memoryBytes(),
                usual.iotlbEntries(),
                usual.stations(),
                usual.logEntries(),
                usual.pageRequestEntries(),
                TimeUnit.MILLISECONDS.toNanos(50),
                usual.clock());
        CountDownLatch entered = new CountDownLatch(1);
        CountDownLatch leaves = new CountDownLatch(1);
        try (EngineDriver driver = EngineDriver.open(impatient);
                Iommufd program = Iommufd.open(driver)) {
            UserAddressSpace space = program.addressSpace();
            UserDevice stuck = program.device(DeviceConfig.pri("stuck"));
            UserDevice other = program.device(DeviceConfig.pri("other"));
            UserAttachment attached = stuck.attach(space);
            var _ = other.attach(space);
            Thread thread = Thread.ofPlatform().start(() -> {
                assertTrue(stuck.engine().enter());
                entered.countDown();
                try {
                    leaves.await();
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
                stuck.engine().leave();
            });
            try {
                entered.await();
                for (AutoCloseable refuses : List.of(attached, stuck, stuck)) {
                    IommufdException refused = assertThrows(IommufdException.class, refuses::close);
                    assertEquals("detach: EBUSY: device: allowed one that is stepped or left", refused.getMessage());
                }
                assertEquals(
                        "EBUSY",
                        assertThrows(IommufdException.class, program::close).errnoName());
                assertEquals(
                        "EBUSY",
                        assertThrows(IommufdException.class, space::close).errnoName());
                assertEquals(
                        "ENODEV",
                        assertThrows(IommufdException.class, () -> other.attach(space))
                                .errnoName(),
                        "was closed nevertheless");
            } finally {
                leaves.countDown();
                thread.join();
            }
            stuck.close();
            attached.close();
            space.close();
        }
    }
}
