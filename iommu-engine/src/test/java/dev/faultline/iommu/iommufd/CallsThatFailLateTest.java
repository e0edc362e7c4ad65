package dev.faultline.iommu.iommufd;

import static dev.faultline.iommu.iommufd.Program.ARENA;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.IommuConfig;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Calls that fail when much is done already: an error number, and nothing left behind. */
class CallsThatFailLateTest {
    private static final int PAGE = 4096;
    private static final long IOVA = 0x40_0000_0000L;

    /** Where the process's own mappings begin. */
    private static final long FIRST_MAPPING = 0x7f00_0000_0000L;

    private final EngineDriver driver = EngineDriver.open(IommuConfig.small().withLimitNs(50_000_000));
    private final Program p = new Program(driver);

    @AfterEach
    void close() {
        p.close();
    }

    @Test
    void aThreadThatDoesNotStepMakesUnmapBusyAndDestroyComplete() throws Exception {
        EngineDevice engine = driver.device(DeviceConfig.pri("nic"));
        DeviceObject bound = engine.bind(p.calls, p.fd);
        int ioas = p.ioas();
        assertEquals(0, p.map(ioas, ARENA, IOVA, PAGE));
        assertEquals(0, p.map(ioas, ARENA + PAGE, IOVA + 2 * PAGE, PAGE));
        int table = p.table(0, bound.id(), ioas, 0);
        try (Sleeper _ = new Sleeper(engine)) {
            assertEquals(-Errno.EBUSY, p.unmap(ioas, IOVA, PAGE));
            assertEquals(-Errno.EBUSY, p.unmap(ioas, IOVA, PAGE), "the thread may use it still");
            assertEquals(0, p.destroy(table));
            assertEquals(-Errno.ENOENT, p.destroy(table));
            assertEquals(0, p.map(ioas, ARENA, IOVA, PAGE));
            assertEquals(0, p.destroy(ioas), "nothing holds it");
        }
        bound.unbind();
    }

    @Test
    void aDeviceThatIsNotSteppedIsNotBound() throws Exception {
        EngineDevice engine = driver.device(DeviceConfig.pri("nic"));
        try (Sleeper _ = new Sleeper(engine)) {
            assertEquals(
                    Errno.EBUSY,
                    assertThrows(ErrnoException.class, () -> engine.bind(p.calls, p.fd))
                            .errno());
        }
        DeviceObject bound = engine.bind(p.calls, p.fd);
        assertEquals(1, bound.id(), "the id is free again");
        bound.unbind();
    }

    @Test
    void whatFailsUncheckedLeavesNoId() throws Exception {
        Context context = p.calls.context(p.fd);
        assertThrows(
                UnsupportedOperationException.class,
                () -> context.create(new Ioas(), made -> {
                    throw new UnsupportedOperationException();
                }));
        assertTrue(context.objects().isEmpty());
    }

    @Test
    void anInterruptedRemovalWaitsAndStaysInterrupted() throws Exception {
        Context context = p.calls.context(p.fd);
        EngineDevice engine = driver.device(DeviceConfig.pri("nic"));
        DeviceObject bound = engine.bind(p.calls, p.fd);
        ObjectTable objects = context.objects();
        assertEquals(bound, objects.hold(bound.id(), DeviceObject.class));
        boolean[] interrupted = new boolean[1];
        Thread remover = Thread.ofPlatform().start(() -> {
            Thread.currentThread().interrupt();
            bound.unbind();
            interrupted[0] = Thread.currentThread().isInterrupted();
        });
        while (remover.getState() != Thread.State.TIMED_WAITING && remover.isAlive()) {
            Thread.onSpinWait();
        }
        assertTrue(remover.isAlive(), "a command is still using it");
        objects.letGo(bound);
        remover.join();
        assertTrue(interrupted[0]);
        assertTrue(objects.isEmpty());
    }

    @Test
    void mappingsGoWhereNothingIs() {
        int file = p.calls.memfdCreate(0);
        assertEquals(0, p.calls.ftruncate(file, 2 * PAGE));
        MemorySegment own = MemorySegment.ofArray(new byte[100]);
        p.memory.map(FIRST_MAPPING + PAGE, own, true);
        assertEquals(FIRST_MAPPING + 2 * PAGE, p.calls.mmap(file, 0, 2 * PAGE, 3, 1));
        assertEquals(FIRST_MAPPING, p.calls.mmap(file, 0, PAGE, 3, 1));
        assertEquals(FIRST_MAPPING + 4 * PAGE, p.calls.mmap(file, 0, PAGE, 3, 1));
        assertEquals(0, p.calls.munmap(FIRST_MAPPING + 2 * PAGE, 2 * PAGE));
        assertEquals(FIRST_MAPPING + 2 * PAGE, p.calls.mmap(file, PAGE, PAGE, 3, 1));
        p.memory.unmap(FIRST_MAPPING + PAGE);
        assertEquals(FIRST_MAPPING + PAGE, p.calls.mmap(file, 0, PAGE, 3, 1));
    }

    @Test
    void anAutomaticTableThatNobodyIsAttachedToGoes() throws Exception {
        Context context = p.calls.context(p.fd);
        DeviceObject bound = driver.device(DeviceConfig.pri("nic")).bind(p.calls, p.fd);
        int ioas = p.ioas();
        int table = bound.attach(0, ioas);
        assertThrows(ErrnoException.class, () -> bound.attach(0, ioas));
        assertEquals(table, bound.replace(0, ioas));
        assertEquals(3, context.objects().count());
        bound.detach(0);
        assertEquals(2, context.objects().count());
        assertThrows(ErrnoException.class, () -> bound.attach(0, 99));
        bound.unbind();
        assertEquals(1, context.objects().count(), "a refusal leaves no use");
    }

    @Test
    void manyEntriesOfARing() throws Exception {
        try (Program mock = new Program()) {
            int ioas = mock.ioas();
            Program.Device device = mock.device(ioas, 0);
            int viommu = mock.viommu(device, mock.table(Program.NEST_PARENT, device, ioas));
            int count = 349_526;
            long entries = 0x10_0000_0000L;
            long errors = 0x11_0000_0000L;
            MemorySegment told = MemorySegment.ofArray(new int[count]);
            mock.memory.map(entries, MemorySegment.ofArray(new int[count * 3]), true);
            mock.memory.map(errors, told, true);
            MemorySegment payload = MemorySegment.ofArray(new int[] {
                32,
                viommu,
                Program.low(entries),
                Program.high(entries),
                Program.VIOMMU_TYPE,
                12,
                count,
                0,
                Program.low(errors),
                Program.high(errors)
            });
            RingCommands commands = new RingCommands(mock.calls.context(mock.fd));
            assertEquals(0, commands.command(RingCommands.INVALIDATE, payload, 40), "no device has the virtual id 0");
            assertEquals(Errno.EINVAL, told.get(ValueLayout.JAVA_INT, 4L * (count - 1)));
            int value = commands.command(RingCommands.INVALIDATE, payload, 32);
            assertEquals(0, RingCommands.done(value));
            assertEquals(Errno.ENOMEM, RingCommands.errno(value));
        }
    }
}
