package dev.faultline.iommu.iommufd;

import static dev.faultline.iommu.iommufd.Program.ARENA;
import static dev.faultline.iommu.iommufd.Program.FAULT_ID_VALID;
import static dev.faultline.iommu.iommufd.Program.NEST_PARENT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Access;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.ReservedRegion;
import dev.faultline.iommu.iommufd.vtd.Vtd;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The engine's own devices behind {@code /dev/iommu}: what is mapped is what they read and write. */
class EngineDriverTest {
    private static final int PAGE = 4096;
    private static final int TYPE = EngineDriver.VIOMMU_TYPE;
    private static final int ENTRY = Vtd.GUESTS.invalidationBytes();
    private static final int EVENT = 8 + Vtd.GUESTS.eventBytes();
    private static final int VTD_ENTRY = 24;
    private static final long IOVA = 0x40_0000_0000L;

    private final EngineDriver driver = EngineDriver.open(IommuConfig.small());
    private final Program p = new Program(driver);
    private final int ioas = p.ioas();

    @AfterEach
    void close() {
        p.close();
    }

    private EngineDevice device(String name) {
        return driver.device(DeviceConfig.pri(name));
    }

    private DeviceObject bind(EngineDevice device) throws ErrnoException {
        return device.bind(p.calls, p.fd);
    }

    private void map(long iova, int page, int pages) {
        assertEquals(0, p.map(ioas, ARENA + (long) page * PAGE, iova, (long) pages * PAGE));
    }

    /** A long in a page of the arena. */
    private long at(int page) {
        return p.arena.get(ValueLayout.JAVA_LONG, (long) page * PAGE);
    }

    private void put(int page, int index, long value) {
        p.arena.set(ValueLayout.JAVA_LONG, (long) page * PAGE + (long) index * Long.BYTES, value);
    }

    private static void write(Device device, long address, long value) {
        device.write(address, MemorySegment.ofArray(new long[] {value}));
    }

    private static long read(Device device, long address) {
        long[] value = new long[1];
        device.read(address, MemorySegment.ofArray(value));
        return value[0];
    }

    @Test
    void whatIsMappedIsWhatADeviceUses() throws Exception {
        EngineDevice engine = device("nic");
        DeviceObject bound = bind(engine);
        var _ = bound.attach(0, ioas);
        map(IOVA, 2, 4);
        write(engine.device(), IOVA + PAGE, 0x1234);
        assertEquals(0x1234, at(3));
        put(5, 0, 77);
        assertEquals(77, read(engine.device(), IOVA + 3 * PAGE));
        assertEquals(0, p.unmap(ioas, IOVA, 4 * PAGE));
        assertThrows(RuntimeException.class, () -> read(engine.device(), IOVA), "nothing is left in a TLB");
        bound.detach(0);
        bound.unbind();
    }

    @Test
    void twoTablesShowTheSame() throws Exception {
        EngineDevice first = device("first");
        EngineDevice second = device("second");
        DeviceObject one = bind(first);
        DeviceObject two = bind(second);
        map(IOVA, 0, 2);
        var _ = one.attach(0, p.table(0, one.id(), ioas, 0));
        var _ = two.attach(0, p.table(0, two.id(), ioas, 0));
        map(IOVA + 2 * PAGE, 2, 1);
        write(first.device(), IOVA + PAGE, 5);
        assertEquals(5, read(second.device(), IOVA + PAGE), "mapped before");
        write(second.device(), IOVA + 2 * PAGE, 6);
        assertEquals(6, read(first.device(), IOVA + 2 * PAGE), "mapped since");
        assertEquals(0, p.unmap(ioas, IOVA, 2 * PAGE));
        assertThrows(RuntimeException.class, () -> read(first.device(), IOVA));
        assertThrows(RuntimeException.class, () -> read(second.device(), IOVA));
        unbind(one, two);
    }

    private static void unbind(DeviceObject... all) {
        for (DeviceObject each : all) {
            each.unbind();
        }
    }

    /** An access, whose faults are handled as they come. */
    private AccessResult access(Device device, Access access, long address, long[] value, Runnable whenStuck) {
        assertEquals(
                Result.OK,
                device.start(access, address, MemorySegment.ofArray(value), 0, Long.BYTES, FaultProducer.NO_PASID, 1));
        AccessResult[] ended = new AccessResult[1];
        while (device.poll((tag, result) -> ended[0] = result) == 0) {
            if (!device.step()) {
                whenStuck.run();
            }
        }
        return ended[0];
    }

    @Test
    void aFaultComesOutOfItsDescriptorAndIsAnsweredThere() throws Exception {
        EngineDevice engine = device("nic");
        DeviceObject bound = bind(engine);
        int[] faults = p.faults();
        var _ = bound.attach(0, p.table(FAULT_ID_VALID, bound.id(), ioas, faults[0]));
        assertEquals(true, engine.device().enter());
        AccessResult result = access(engine.device(), Access.WRITE, IOVA + 16, new long[] {99}, () -> {
            assertEquals(40, p.calls.read(faults[1], ARENA + 15 * PAGE, 40));
            int words = 15 * PAGE / 4;
            assertEquals(bound.id(), p.read(words + 1));
            assertEquals(IOVA, Integer.toUnsignedLong(p.read(words + 6)) | (long) p.read(words + 7) << 32);
            map(IOVA, 1, 1);
            p.write(words, p.read(words + 9), 0);
            assertEquals(8, p.calls.write(faults[1], ARENA + 15 * PAGE, 8));
        });
        engine.device().leave();
        assertEquals(AccessResult.OK, result);
        assertEquals(99, p.arena.get(ValueLayout.JAVA_LONG, PAGE + 16));
        unbind(bound);
    }

    @Test
    void memoryThatTablesCannotBeReadInIsABadAddress() throws Exception {
        EngineDevice engine = device("nic");
        DeviceObject bound = bind(engine);
        p.memory.map(0x5_0000_0000L, MemorySegment.ofArray(new byte[PAGE]), true);
        var _ = bound.attach(0, ioas);
        assertEquals(-Errno.EFAULT, p.map(ioas, 0x5_0000_0000L, IOVA, PAGE));
        assertEquals(-Errno.EFAULT, p.map(ioas, 0x6_0000_0000L, IOVA, PAGE));
        assertEquals(-Errno.EINVAL, p.map(ioas, ARENA + 2048, IOVA, PAGE));
        assertEquals(-Errno.EINVAL, p.map(ioas, ARENA, 1L << 48, PAGE), "beyond the input of the table");
        unbind(bound);
    }

    @Test
    void aDevicesReservedRegionsAreNotForMappings() throws Exception {
        var window = new ReservedRegion(IOVA, IOVA + 2 * PAGE - 1, ReservedRegion.Kind.RESERVED);
        DeviceObject bound = bind(driver.device(DeviceConfig.pri("nic").withReserved(window)));
        map(IOVA + PAGE, 0, 1);
        assertEquals(
                Errno.EADDRINUSE,
                assertThrows(ErrnoException.class, () -> bound.attach(0, ioas)).errno());
        assertEquals(0, p.unmap(ioas, IOVA + PAGE, PAGE));
        var _ = bound.attach(0, ioas);
        assertEquals(-Errno.EINVAL, p.map(ioas, ARENA, IOVA + PAGE, PAGE));
        assertEquals(0, p.map(ioas, ARENA, IOVA + 2 * PAGE, PAGE), "beside it");
        int other = p.ioas();
        int table = p.table(0, bound.id(), other, 0);
        assertEquals(0, p.map(other, ARENA, IOVA, PAGE));
        assertEquals(
                Errno.EADDRINUSE,
                assertThrows(ErrnoException.class, () -> bound.replace(0, table))
                        .errno());
        assertEquals(0, p.unmap(other, IOVA, PAGE));
        var _ = bound.replace(0, table);
        assertEquals(0, p.map(ioas, ARENA, IOVA, PAGE), "it has left");
        unbind(bound);
        assertEquals(0, p.map(other, ARENA, IOVA, PAGE));
        var direct = new ReservedRegion(IOVA, IOVA + PAGE - 1, ReservedRegion.Kind.DIRECT);
        EngineDevice boot = driver.device(DeviceConfig.pri("boot").withReserved(direct));
        assertEquals(
                Errno.EINVAL,
                assertThrows(ErrnoException.class, () -> bind(boot)).errno());
    }

    /** The descriptor may be closed by another thread: then it was open long enough, or is a bad one. */
    @Test
    void aDeviceIsBoundToWhatIsOpen() throws Exception {
        for (int i = 0; i < 300; i++) {
            int fd = p.calls.open(SystemCalls.DEVICE, 2);
            EngineDevice device = device("d" + i);
            Thread closer = Thread.ofPlatform().start(() -> {
                int _ = p.calls.close(fd);
            });
            try {
                device.bind(p.calls, fd).unbind();
            } catch (ErrnoException e) {
                assertEquals(Errno.EBADF, e.errno());
            }
            closer.join();
            device.device().close();
        }
    }

    @Test
    void scenario78WithoutPageRequestsThereIsNoFaultQueue() throws Exception {
        DeviceObject bound = bind(driver.device(DeviceConfig.plain("disk")));
        int table = p.table(FAULT_ID_VALID, bound.id(), ioas, p.faults()[0]);
        assertEquals(
                Errno.ENODEV,
                assertThrows(ErrnoException.class, () -> bound.attach(0, table)).errno());
        var _ = bound.attach(0, ioas);
        unbind(bound);
    }

    // ---- a guest ----

    /** A guest: 16 pages of the arena from its first on, and a device that translates through its table. */
    private final class Guest {
        final EngineDevice engine;
        final DeviceObject bound;
        final int parent;
        final int viommu;

        Guest(String name, long virtualId) throws ErrnoException {
            engine = device(name);
            bound = bind(engine);
            parent = p.table(NEST_PARENT, bound.id(), ioas, 0);
            viommu = p.made(p.allocViommu(0, TYPE, bound.id(), parent), 5);
            assertEquals(0, p.allocVdevice(viommu, bound.id(), virtualId));
        }

        /** Its table has four levels in the arena from a page on; what its address 0 is follows. */
        void attach(int tables, int page) throws ErrnoException {
            for (int level = 0; level < 3; level++) {
                put(tables + level, 0, (IOVA + (tables + level + 1L) * PAGE) | 7);
            }
            shows(tables, page);
            var _ = bound.attach(0, p.made(allocNested(viommu, 0, tables, 48), 4));
        }

        int allocNested(int over, int flags, int tables, int width) {
            long root = IOVA + (long) tables * PAGE;
            return p.allocNested(
                    0,
                    bound.id(),
                    over,
                    0,
                    EngineDriver.VTD_S1,
                    flags,
                    0,
                    Program.low(root),
                    Program.high(root),
                    width,
                    0);
        }

        void shows(int tables, int page) {
            put(tables + 3, 0, (IOVA + (long) page * PAGE) | 7);
        }

        int invalidate(int... words) {
            p.write(15 * PAGE / 4, words);
            long at = ARENA + 15 * PAGE;
            return p.ioctl(0x3b8d, 0, viommu, Program.low(at), Program.high(at), TYPE, ENTRY, words.length / 8, 0);
        }
    }

    private static int[] entries(int... idAndPage) {
        int[] words = new int[idAndPage.length / 2 * 8];
        for (int i = 0; i < idAndPage.length / 2; i++) {
            words[8 * i + 2] = idAndPage[2 * i];
            words[8 * i + 4] = idAndPage[2 * i + 1] * PAGE;
            words[8 * i + 6] = 1;
        }
        return words;
    }

    @Test
    void aGuestReachesNoDeviceButItsOwn() throws Exception {
        map(IOVA, 0, 15);
        Guest a = new Guest("a", 0x99);
        Guest b = new Guest("b", 0x99);
        a.attach(0, 8);
        b.attach(4, 9);
        put(8, 0, 800);
        put(9, 0, 900);
        put(10, 0, 1000);
        assertEquals(800, read(a.engine.device(), 0));
        assertEquals(900, read(b.engine.device(), 0));
        a.shows(0, 10);
        b.shows(4, 10);
        assertEquals(-Errno.EIO, a.invalidate(entries(0x98, 0)));
        assertEquals(0, p.done());
        assertEquals(800, read(a.engine.device(), 0), "still in the TLB");
        assertEquals(0, a.invalidate(entries(0x99, 0)));
        assertEquals(1, p.done());
        assertEquals(1000, read(a.engine.device(), 0));
        assertEquals(900, read(b.engine.device(), 0), "the other guest's 0x99 is another device");
        assertEquals(0, b.invalidate(4, 0, 0x99, 0, 0, 0, 0, 0));
        assertEquals(1000, read(b.engine.device(), 0));
        unbind(a.bound, b.bound);
    }

    @Test
    void anEntryThatIsRefusedEndsIt() throws Exception {
        map(IOVA, 0, 15);
        Guest guest = new Guest("a", 0x99);
        guest.attach(0, 8);
        put(8, 0, 800);
        put(9, 0, 900);
        assertEquals(800, read(guest.engine.device(), 0));
        guest.shows(0, 9);
        assertEquals(-Errno.EIO, guest.invalidate(entries(0x99, 5, 0x9, 0, 0x99, 0)));
        assertEquals(1, p.done());
        assertEquals(800, read(guest.engine.device(), 0), "the third was not done");
        assertEquals(-Errno.EOPNOTSUPP, guest.invalidate(8, 0, 0x99, 0, 0, 0, 1, 0));
        assertEquals(-Errno.EINVAL, guest.invalidate(0, 1, 0x99, 0, 0, 0, 1, 0));
        assertEquals(-Errno.EINVAL, guest.invalidate(0, 0, 0x99, 0, 1, 0, 1, 0));
        assertEquals(-Errno.EINVAL, guest.invalidate(0, 0, 0x99, 0, 0, 0, 0, 0));
        assertEquals(0, guest.invalidate(entries(0x99, 5, 0x99, 0)));
        assertEquals(2, p.done());
        assertEquals(900, read(guest.engine.device(), 0));
        unbind(guest.bound);
    }

    @Test
    void scenario196VtdEntries() throws Exception {
        map(IOVA, 0, 15);
        Guest guest = new Guest("a", 0x99);
        guest.attach(0, 8);
        guest.bound.detach(0);
        int nested = p.made(guest.allocNested(guest.parent, 0, 0, 48), 4);
        var _ = guest.bound.attach(0, nested);
        put(8, 0, 800);
        put(9, 0, 900);
        assertEquals(800, read(guest.engine.device(), 0));
        guest.shows(0, 9);
        assertEquals(-Errno.EINVAL, vtd(nested, 0x1001, 0, 1, 0, 0, 0));
        assertEquals(-Errno.EINVAL, vtd(nested, 0x1000, 0, -1, -1, 0, 0));
        assertEquals(-Errno.EOPNOTSUPP, vtd(nested, 0x1000, 0, 1, 0, 0, 1));
        assertEquals(-Errno.EOPNOTSUPP, vtd(nested, 0x1000, 0, 1, 0, 2, 0));
        assertEquals(800, read(guest.engine.device(), 0));
        assertEquals(0, vtd(nested, 0, 0, 1, 0, 1, 0));
        assertEquals(900, read(guest.engine.device(), 0));
        guest.shows(0, 8);
        assertEquals(0, vtd(nested, 0, 0, -1, -1, 0, 0));
        assertEquals(800, read(guest.engine.device(), 0));
        unbind(guest.bound);
    }

    private int vtd(int nested, int... words) {
        p.write(15 * PAGE / 4, words);
        long at = ARENA + 15 * PAGE;
        return p.ioctl(0x3b8d, 0, nested, Program.low(at), Program.high(at), 0, VTD_ENTRY, 1, 0);
    }

    @Test
    void scenario166ADeviceBehindAnotherIommu() throws Exception {
        Guest guest = new Guest("a", 0x99);
        try (EngineDriver elsewhere = EngineDriver.open(IommuConfig.small())) {
            DeviceObject other = elsewhere.device(DeviceConfig.pri("b")).bind(p.calls, p.fd);
            assertEquals(-Errno.EINVAL, p.allocVdevice(guest.viommu, other.id(), 0x98));
            assertEquals(
                    -Errno.EINVAL,
                    p.allocNested(0, other.id(), guest.viommu, 0, EngineDriver.VTD_S1, 0, 0, 0, 0, 48, 0));
            assertEquals(
                    -Errno.EINVAL,
                    p.allocNested(0, other.id(), guest.parent, 0, EngineDriver.VTD_S1, 0, 0, 0, 0, 48, 0));
            other.unbind();
        }
        unbind(guest.bound);
    }

    @Test
    void whatVtdWouldNotTakeIsRefusedAtTheAttach() throws Exception {
        map(IOVA, 0, 15);
        Guest guest = new Guest("a", 0x99);
        int width = p.made(guest.allocNested(guest.viommu, 0, 0, 57), 4);
        int supervisor = p.made(guest.allocNested(guest.viommu, 1, 0, 48), 4);
        for (int table : new int[] {width, supervisor}) {
            assertEquals(
                    Errno.EINVAL,
                    assertThrows(ErrnoException.class, () -> guest.bound.attach(0, table))
                            .errno());
        }
        unbind(guest.bound);
    }

    @Test
    void anAccessThatFailsIsAnEventWithTheVirtualId() throws Exception {
        map(IOVA, 0, 15);
        Guest guest = new Guest("a", 0x1_0000_0099L);
        guest.attach(0, 8);
        assertEquals(0, p.allocEvents(0, guest.viommu, TYPE, 1, 0));
        int fd = p.word(6);
        assertThrows(RuntimeException.class, () -> read(guest.engine.device(), 0x5008));
        assertThrows(RuntimeException.class, () -> read(guest.engine.device(), 0x6000));
        assertEquals(EVENT + 8, p.calls.read(fd, ARENA, 256));
        assertEquals(AccessResult.NO_FAULT_QUEUE.ordinal(), p.read(2));
        assertEquals(-1, p.read(3));
        assertEquals(0x99, p.read(4));
        assertEquals(1, p.read(5));
        assertEquals(0x5008, p.read(6));
        assertEquals(1, p.read(8), "a read");
        assertEquals(1, p.read(EVENT / 4), "the second one is lost");
        unbind(guest.bound);
    }
}
