package dev.faultline.iommu.iommufd;

import static dev.faultline.ffm.Errno.EBUSY;
import static dev.faultline.ffm.Errno.ENOENT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.Access;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What becomes of a change where devices of a group are closed, are not stepped, or are nobody's. */
@Timeout(60)
class GroupChangesTest {
    private static final int PAGE = 4096;
    private static final long IOVA = 0x10_0000;
    private static final long LATE = 0x5_0000_0000L;

    private final EngineDriver driver = EngineDriver.open(IommuConfig.small().withLimitNs(50_000_000));
    private final Program p = new Program(driver);
    private final long frames = driver.iommu().frames().freeCount();
    private final int ioas = p.ioas();

    @AfterEach
    void close() {
        p.calls.close();
        assertEquals(frames, driver.iommu().frames().freeCount(), "nothing is left");
        p.close();
    }

    private DeviceObject bind(EngineDevice device) throws ErrnoException {
        return device.bind(p.calls, p.fd);
    }

    private static void ask(EngineDevice by, long address) {
        Device device = by.device();
        assertTrue(device.enter());
        try {
            assertNull(start(device, address));
        } finally {
            device.leave();
        }
    }

    /** How a write of a byte ends; null if it asks for its page. */
    private static AccessResult start(Device device, long address) {
        assertEquals(
                Result.OK,
                device.start(
                        Access.WRITE,
                        address,
                        MemorySegment.ofArray(new byte[1]),
                        0,
                        1,
                        FaultProducer.NO_PASID,
                        address));
        var _ = device.step();
        AccessResult[] ended = new AccessResult[1];
        var _ = device.poll((tag, result) -> ended[0] = tag == address ? result : ended[0]);
        return ended[0];
    }

    /** The device that the next fault names. */
    private int named(int fault) {
        assertEquals(40, p.calls.read(fault, Program.ARENA, 40));
        return p.read(1);
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static boolean awaitShort(CountDownLatch latch) {
        try {
            return latch.await(5, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }

    /** A thread that has entered a device, and does something there once told to. */
    private static final class Inside {
        private final CountDownLatch go = new CountDownLatch(1);
        private final Thread thread;

        Inside(EngineDevice device, Runnable then) throws InterruptedException {
            CountDownLatch entered = new CountDownLatch(1);
            thread = Thread.ofPlatform().start(() -> {
                assertTrue(device.device().enter());
                entered.countDown();
                await(go);
                then.run();
            });
            entered.await();
        }

        void finish() throws InterruptedException {
            go.countDown();
            thread.join();
        }
    }

    @Test
    void whatIsLeftToAThreadIsDoneWhereItClosesTheDevice() throws Exception {
        EngineDevice device = driver.device(DeviceConfig.pri("nic"));
        DeviceObject bound = bind(device);
        int automatic = bound.attach(0, ioas);
        Inside inside = new Inside(device, device.device()::close);
        bound.unbind();
        inside.finish();
        assertEquals(-ENOENT, p.destroy(automatic));
        assertEquals(0, p.destroy(ioas));
    }

    @Test
    void aSiblingWhoseAttachIsTakenBackLateDestroysItsTable() throws Exception {
        List<EngineDevice> group = driver.isolationGroup(DeviceConfig.pri("first"), DeviceConfig.pri("second"));
        EngineDevice first = group.getFirst();
        DeviceObject one = bind(first);
        DeviceObject two = bind(group.getLast());
        DeviceObject alone = bind(driver.device(DeviceConfig.pri("alone")));
        int automatic = alone.attach(0, ioas);
        CountDownLatch entered = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        Thread thread = Thread.ofPlatform().start(() -> {
            assertTrue(first.device().enter());
            entered.countDown();
            // It is attached in one of these, and blocked in none.
            while (!first.device().step()) {
                Thread.onSpinWait();
            }
            await(go);
            first.device().leave();
        });
        entered.await();
        try (Sleeper _ = new Sleeper(group.getLast())) {
            assertEquals(
                    EBUSY,
                    assertThrows(ErrnoException.class, () -> one.attach(0, ioas))
                            .errno());
        }
        alone.detach(0);
        go.countDown();
        thread.join();
        assertEquals(-ENOENT, p.destroy(automatic));
        assertEquals(0, p.destroy(ioas));
        one.unbind();
        two.unbind();
        alone.unbind();
    }

    @Test
    void aStepWaitsForNobodyWhoWaitsForMemory() throws Exception {
        EngineDevice device = driver.device(DeviceConfig.pri("nic"));
        DeviceObject bound = bind(device);
        DeviceObject other = bind(driver.device(DeviceConfig.pri("other")));
        int automatic = bound.attach(0, ioas);
        CountDownLatch stepped = new CountDownLatch(1);
        Inside inside = new Inside(device, () -> {
            var _ = device.device().step();
            stepped.countDown();
            device.device().leave();
        });
        bound.unbind();
        MemorySegment struct = MemorySegment.ofArray(new long[512]);
        int[] words = {48, 0, other.id(), ioas, 0, 0, 0, 0, 0, 0, 0, 0};
        MemorySegment.copy(words, 0, struct, ValueLayout.JAVA_INT, 0, words.length);
        boolean[] before = new boolean[1];
        p.memory.map(LATE, struct, true, () -> {
            // The answer, which is all that a call writes: its memory comes with the step.
            if (StackWalker.getInstance()
                    .walk(all -> all.anyMatch(frame -> frame.getMethodName().equals("respond")))) {
                inside.go.countDown();
                before[0] = awaitShort(stepped);
            }
        });
        assertEquals(0, p.calls.ioctl(p.fd, 0x3b89, LATE));
        inside.finish();
        assertTrue(before[0], "the step did not wait for the answer");
        assertEquals(-ENOENT, p.destroy(automatic), "done by who held the lock");
        assertEquals(0, p.destroy(struct.get(ValueLayout.JAVA_INT, 16)));
        assertEquals(0, p.destroy(ioas));
        other.unbind();
    }

    @Test
    void aClosedDeviceThatIsNobodysHasLeftItsGroup() throws Exception {
        List<EngineDevice> group = driver.isolationGroup(DeviceConfig.pri("first"), DeviceConfig.pri("second"));
        DeviceObject bound = bind(group.getFirst());
        int here = p.table(0, bound.id(), ioas, 0);
        int there = p.table(0, bound.id(), ioas, 0);
        assertEquals(here, bound.attach(0, here));
        group.getLast().device().close();
        assertEquals(there, bound.replace(0, there));
        bound.detach(0);
        assertEquals(here, bound.attach(0, here));
        bound.unbind();
    }

    @Test
    void anUnboundDeviceIsNamedAfterWhoAttachedTheGroupAsAWhole() throws Exception {
        List<EngineDevice> group = driver.isolationGroup(
                DeviceConfig.pri("first").withPasidBits(8),
                DeviceConfig.pri("second").withPasidBits(8),
                DeviceConfig.pri("third"));
        DeviceObject one = bind(group.get(0));
        DeviceObject two = bind(group.get(1));
        int[] fault = p.faults();
        int table = p.table(Program.FAULT_ID_VALID | Program.PASID, one.id(), ioas, fault[0]);
        assertEquals(table, one.attach(0, table));
        assertEquals(table, two.attach(7, table));
        ask(group.get(2), IOVA);
        assertEquals(one.id(), named(fault[1]), "not after the PASID's");
        one.detach(0);
        assertEquals(table, two.attach(0, table));
        ask(group.get(2), IOVA + PAGE);
        assertEquals(two.id(), named(fault[1]));
        one.unbind();
        two.unbind();
    }

    @Test
    void theFirstOfAGroupIsNotBoundDuringAReset() throws Exception {
        List<EngineDevice> group = driver.isolationGroup(DeviceConfig.pri("first"), DeviceConfig.pri("second"));
        group.getLast().prepareReset();
        assertEquals(
                EBUSY,
                assertThrows(ErrnoException.class, () -> bind(group.getFirst())).errno());
        group.getLast().resetDone();
        DeviceObject bound = bind(group.getFirst());
        group.getFirst().prepareReset();
        bind(group.getLast()).unbind();
        group.getFirst().resetDone();
        bound.unbind();
    }
}
