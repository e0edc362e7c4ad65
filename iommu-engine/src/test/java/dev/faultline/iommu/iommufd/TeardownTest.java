package dev.faultline.iommu.iommufd;

import static dev.faultline.ffm.Errno.EBUSY;
import static dev.faultline.ffm.Errno.ENOENT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Detaching, destroying and ending while a thread has entered a device and does not step it: an error number or success, never more. */
@Timeout(60)
class TeardownTest {
    private static final int TEST = 0x3ba0;
    private static final int MAKE = 1;
    private static final int DETACH = 2;
    private static final int ATTACH_PASID = 3;

    private final Machine machine = new Machine();
    private final Program p = new Program(machine);
    private final long frames = machine.iommu().frames().freeCount();
    private final int ioas = p.ioas();

    @AfterEach
    void close() {
        p.calls.close();
        assertEquals(frames, machine.iommu().frames().freeCount(), "nothing is left");
        p.close();
    }

    /** The engine's devices as a driver makes them that has a command of its own: an object each, gone with the program's DESTROY. */
    private static final class Machine implements Driver {
        final EngineDriver engine = EngineDriver.open(IommuConfig.small().withLimitNs(50_000_000));
        final EngineDevice device = engine.device(DeviceConfig.pri("nic").withPasidBits(8));

        private static final class Made extends DriverObject {
            final DeviceObject bound;

            Made(DeviceObject bound) {
                this.bound = bound;
            }

            @Override
            protected void destroy() {
                bound.unbind();
            }
        }

        @Override
        public Iommu iommu() {
            return engine.iommu();
        }

        @Override
        public Optional<DriverCommand> testCommand() {
            return Optional.of(call -> {
                switch (call.u32(4)) {
                    case MAKE -> {
                        DeviceObject bound = call.context().bind(device, false);
                        call.context().create(new Made(bound), made -> {
                            call.put32(12, bound.attach(0, call.u32(8)));
                            call.put32(16, made.id());
                            call.put32(20, bound.id());
                            call.respond();
                        });
                    }
                    case DETACH -> call.get(8, "id", Made.class).bound.detach(call.u32(12));
                    case ATTACH_PASID -> {
                        int _ = call.get(8, "id", Made.class).bound.attach(call.u32(12), call.u32(16));
                    }
                    default -> throw new IllegalArgumentException("op=" + call.u32(4));
                }
                return 0;
            });
        }

        @Override
        public void close() {
            engine.close();
        }
    }

    private int test(int op, int id, int... words) {
        int[] all = new int[18];
        all[1] = op;
        all[2] = id;
        System.arraycopy(words, 0, all, 3, words.length);
        return p.ioctl(TEST, all);
    }

    /** A device on an automatic table: its object, then its table. */
    private int[] make() {
        assertEquals(0, test(MAKE, ioas));
        return new int[] {p.word(4), p.word(3), p.word(5)};
    }

    @Test
    void aDetachThatADeviceHoldsUpIsRefused() throws Exception {
        int[] made = make();
        try (Sleeper _ = new Sleeper(machine.device)) {
            assertEquals(-EBUSY, test(DETACH, made[0], 0));
            assertEquals(-EBUSY, p.destroy(made[1]), "attached as before");
        }
        assertEquals(0, test(DETACH, made[0], 0));
        assertEquals(-ENOENT, p.destroy(made[1]));
        assertEquals(0, p.destroy(made[0]));
    }

    @Test
    void aDestroyedDeviceLetsGoOfItsTablesOnceItIsStepped() throws Exception {
        int[] made = make();
        int table = p.table(Program.PASID, made[2], ioas, 0);
        assertEquals(0, test(DETACH, made[0], 0));
        assertEquals(0, test(ATTACH_PASID, made[0], 7, table));
        assertEquals(0, p.map(ioas, Program.ARENA, 0x10_0000, 4096));
        try (Sleeper _ = new Sleeper(machine.device)) {
            assertEquals(0, p.destroy(made[0]));
            assertEquals(-ENOENT, p.destroy(made[0]));
            assertEquals(-ENOENT, p.destroy(made[2]), "the device is nobody's");
            assertEquals(-EBUSY, p.destroy(table), "the thread may use it");
        }
        assertEquals(0, p.destroy(table));
        int[] again = make();
        assertEquals(0, p.destroy(again[0]));
    }

    @Test
    void anEndIsFinishedOnceTheDeviceIsStepped() throws Exception {
        int[] made = make();
        assertEquals(0, p.map(ioas, Program.ARENA, 0x10_0000, 4096));
        Context context = p.calls.context(p.fd);
        try (Sleeper _ = new Sleeper(machine.device)) {
            assertEquals(0, p.calls.close(p.fd));
            assertFalse(context.objects().isEmpty(), "table " + made[1] + " is left");
        }
        assertTrue(context.objects().isEmpty(), () -> context.objects().toString());
    }

    @Test
    void aDeviceThatItsDriverTakesAwayGoesAlsoWithoutASteppingThread() throws Exception {
        EngineDevice engine = machine.engine.device(DeviceConfig.pri("other"));
        DeviceObject bound = engine.bind(p.calls, p.fd);
        int table = bound.attach(0, ioas);
        try (Sleeper _ = new Sleeper(engine)) {
            assertEquals(
                    EBUSY,
                    assertThrows(ErrnoException.class, () -> bound.detach(0)).errno());
            assertEquals(
                    EBUSY, assertThrows(ErrnoException.class, bound::detachAll).errno());
            bound.unbind();
            assertEquals(0, p.calls.close(p.fd));
        }
        assertTrue(table > 0);
    }

    @Test
    void aGroupIsMovedWhole() throws Exception {
        List<EngineDevice> group = machine.engine.isolationGroup(DeviceConfig.pri("a"), DeviceConfig.pri("b"));
        DeviceObject one = group.get(0).bind(p.calls, p.fd);
        DeviceObject two = group.get(1).bind(p.calls, p.fd);
        int from = p.table(0, one.id(), ioas, 0);
        int to = p.table(0, one.id(), ioas, 0);
        assertEquals(from, one.attach(0, from));
        for (int stuck = 0; stuck < 2; stuck++) {
            try (Sleeper _ = new Sleeper(group.get(stuck))) {
                assertEquals(
                        EBUSY,
                        assertThrows(ErrnoException.class, () -> one.replace(0, to))
                                .errno());
                assertEquals(0, p.destroy(p.table(0, two.id(), ioas, 0)));
            }
            assertEquals(-EBUSY, p.destroy(from), "as before");
        }
        assertEquals(to, one.replace(0, to));
        assertEquals(0, p.destroy(from));
        try (Sleeper _ = new Sleeper(group.get(1))) {
            one.detach(0);
            assertEquals(-EBUSY, p.destroy(to), "the second one's thread may use it");
        }
        assertEquals(0, p.destroy(to));
        try (Sleeper _ = new Sleeper(group.get(1))) {
            int busy = p.table(0, one.id(), ioas, 0);
            assertEquals(
                    EBUSY,
                    assertThrows(ErrnoException.class, () -> one.attach(0, busy))
                            .errno());
            assertEquals(0, p.destroy(busy), "nothing was attached");
        }
        assertEquals(0, p.destroy(p.table(0, one.id(), ioas, 0)), "with it goes what was left");
        one.unbind();
        two.unbind();
    }
}
