package dev.faultline.iommu.iommufd;

import static dev.faultline.ffm.Errno.EBUSY;
import static dev.faultline.ffm.Errno.EINVAL;
import static dev.faultline.ffm.Errno.EPERM;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
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
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Isolation groups of several devices, and resets, by number: 79, 80, 81 and 146; and what the object model says of groups beside. */
class GroupScenariosTest {
    private static final int PAGE = 4096;
    private static final long IOVA = 0x10_0000;
    private static final int INVALID = 1;

    private final EngineDriver driver = EngineDriver.open(IommuConfig.small().withLimitNs(50_000_000));
    private final Program p = new Program(driver);
    private final List<EngineDevice> group =
            driver.isolationGroup(DeviceConfig.pri("first").withPasidBits(8), DeviceConfig.pri("second"));
    private final EngineDevice first = group.get(0);
    private final EngineDevice second = group.get(1);
    private final DeviceObject one = bind(first);
    private final DeviceObject two = bind(second);
    private final int ioas = p.ioas();
    private final int[] faults = p.faults();
    private final int plain = p.table(Program.PASID, one.id(), ioas, 0);
    private final int faulting = p.table(Program.FAULT_ID_VALID | Program.PASID, one.id(), ioas, faults[0]);

    private DeviceObject bind(EngineDevice device) {
        try {
            return device.bind(p.calls, p.fd);
        } catch (ErrnoException e) {
            throw new AssertionError(e);
        }
    }

    @AfterEach
    void close() {
        one.unbind();
        two.unbind();
        assertEquals(0, p.destroy(plain));
        assertEquals(0, p.destroy(faulting));
        p.close();
    }

    private static int refused(org.junit.jupiter.api.function.Executable call) {
        return assertThrows(ErrnoException.class, call).errno();
    }

    /** How a write of a byte ends; null if it asks for its page. */
    private static AccessResult write(EngineDevice by, long address) {
        return write(by, address, FaultProducer.NO_PASID);
    }

    private static AccessResult write(EngineDevice by, long address, int pasid) {
        Device device = by.device();
        assertTrue(device.enter());
        try {
            assertEquals(
                    Result.OK,
                    device.start(Access.WRITE, address, MemorySegment.ofArray(new byte[1]), 0, 1, pasid, address));
            var _ = device.step();
            return ended(device, address);
        } finally {
            device.leave();
        }
    }

    /** How an access that was started ended by now, or null. */
    private static AccessResult ended(Device device, long address) {
        AccessResult[] ended = new AccessResult[1];
        int _ = device.poll((tag, result) -> {
            if (tag == address) {
                ended[0] = result;
            }
        });
        return ended[0];
    }

    private static AccessResult endedNow(EngineDevice by, long address) {
        Device device = by.device();
        assertTrue(device.enter());
        try {
            var _ = device.step();
            return ended(device, address);
        } finally {
            device.leave();
        }
    }

    /** The devices that the faults name which are to be read, and their cookies. */
    private List<int[]> messages() {
        long bytes = p.calls.read(faults[1], Program.ARENA + 8 * PAGE, 100L * 40);
        List<int[]> all = new ArrayList<>();
        for (long at = 0; at < bytes; at += 40) {
            all.add(new int[] {
                p.arena.get(ValueLayout.JAVA_INT, 8 * PAGE + at + 4),
                p.arena.get(ValueLayout.JAVA_INT, 8 * PAGE + at + 36)
            });
        }
        return all;
    }

    private long answer(int cookie, int code) {
        p.write(0, cookie, code);
        return p.calls.write(faults[1], Program.ARENA, 8);
    }

    // ---- groups ----

    @Test
    void scenario80TheLastOfAGroupBlocksIt() throws Exception {
        assertEquals(0, p.map(ioas, Program.ARENA, IOVA, PAGE));
        assertEquals(AccessResult.NOT_ATTACHED, write(second, IOVA));
        assertEquals(plain, one.attach(0, plain));
        assertEquals(AccessResult.OK, write(second, IOVA), "the whole group is there with the first");
        assertEquals(plain, two.attach(0, plain));
        assertEquals(EBUSY, refused(() -> two.attach(0, plain)), "once is enough");
        one.detach(0);
        one.detach(0);
        assertEquals(AccessResult.OK, write(first, IOVA), "still there, with the second");
        assertEquals(AccessResult.OK, write(second, IOVA));
        assertEquals(-EBUSY, p.destroy(plain));
        two.detach(0);
        assertEquals(AccessResult.NOT_ATTACHED, write(first, IOVA));
        assertEquals(AccessResult.NOT_ATTACHED, write(second, IOVA));
    }

    @Test
    void scenario81AGroupIsAttachedToOneTable() throws Exception {
        assertEquals(plain, one.attach(0, plain));
        assertEquals(EINVAL, refused(() -> two.attach(0, faulting)));
        assertEquals(EINVAL, refused(() -> two.attach(0, ioas)), "an automatic one would be another");
        assertEquals(EINVAL, refused(() -> two.replace(0, faulting)), "not attached itself");
        two.detach(0);
        assertEquals(plain, two.attach(0, plain), "what is not attached is not detached");
    }

    @Test
    void scenario146TheLastOfAGroupHasItsFaultsAnswered() throws Exception {
        assertEquals(faulting, one.attach(0, faulting));
        assertEquals(faulting, two.attach(0, faulting));
        assertNull(write(first, IOVA));
        assertNull(write(second, IOVA));
        List<int[]> read = messages();
        assertEquals(one.id(), read.get(0)[0], "each by its own id");
        assertEquals(two.id(), read.get(1)[0]);
        assertNull(write(first, IOVA + PAGE));
        one.detach(0);
        assertNull(endedNow(first, IOVA), "none is answered");
        assertNull(endedNow(second, IOVA));
        assertEquals(8, answer(read.get(1)[1], INVALID));
        assertEquals(AccessResult.INVALID, endedNow(second, IOVA));
        two.detach(0);
        assertEquals(AccessResult.INVALID, endedNow(first, IOVA), "one that was read");
        assertEquals(-EINVAL, answer(read.get(0)[1], 0), "and is over");
        assertEquals(List.of(), messages(), "one that was not");
    }

    @Test
    void aFaultOfAnUnboundDeviceGoesByTheFirstOnesId() throws Exception {
        List<EngineDevice> others = driver.isolationGroup(DeviceConfig.pri("third"), DeviceConfig.pri("fourth"));
        EngineDevice third = others.get(0);
        EngineDevice fourth = others.get(1);
        DeviceObject bound = bind(third);
        assertEquals(faulting, bound.attach(0, faulting));
        assertNull(write(fourth, IOVA));
        assertEquals(bound.id(), messages().getFirst()[0]);
        int another = p.calls.open(SystemCalls.DEVICE, 2);
        assertEquals(EPERM, refused(() -> fourth.bind(p.calls, another)), "the group is the other context's");
        DeviceObject later = fourth.bind(p.calls, p.fd);
        assertEquals(faulting, later.attach(0, faulting));
        bound.detach(0);
        bound.unbind();
        assertNull(write(third, IOVA));
        assertEquals(later.id(), messages().getFirst()[0], "by the other's now");
        later.unbind();
        assertEquals(AccessResult.INVALID, endedNow(third, IOVA));
        fourth.bind(p.calls, another).unbind();
    }

    @Test
    void aGroupIsReplacedAsOne() throws Exception {
        assertEquals(faulting, one.attach(0, faulting));
        assertEquals(faulting, two.attach(0, faulting));
        assertNull(write(first, IOVA));
        assertNull(write(second, IOVA));
        assertEquals(0, p.map(ioas, Program.ARENA, IOVA + PAGE, PAGE));
        assertEquals(faulting, two.replace(0, faulting), "by itself: nothing happens");
        assertEquals(2, messages().size());
        assertEquals(plain, two.replace(0, plain));
        assertEquals(AccessResult.INVALID, endedNow(first, IOVA));
        assertEquals(AccessResult.INVALID, endedNow(second, IOVA));
        assertEquals(AccessResult.OK, write(first, IOVA + PAGE));
        assertEquals(-EBUSY, p.destroy(plain));
        one.detach(0);
        assertEquals(-EBUSY, p.destroy(plain), "held by the second");
        assertEquals(0, p.destroy(p.table(0, one.id(), ioas, 0)));
        two.detach(0);
    }

    @Test
    void anAutomaticTableGoesWithTheLastOfAGroup() throws Exception {
        int automatic = one.attach(0, ioas);
        assertEquals(automatic, two.attach(0, ioas));
        int other = p.ioas();
        int moved = one.replace(0, other);
        assertEquals(-dev.faultline.ffm.Errno.ENOENT, p.destroy(automatic), "both have left it");
        one.detach(0);
        assertEquals(-EBUSY, p.destroy(moved));
        two.detach(0);
        assertEquals(-dev.faultline.ffm.Errno.ENOENT, p.destroy(moved));
        assertEquals(0, p.destroy(other));
    }

    @Test
    void pasidsAreForThoseThatHaveThem() throws Exception {
        assertEquals(plain, one.attach(0, plain));
        assertEquals(faulting, one.attach(7, faulting));
        assertEquals(faulting, two.attach(7, faulting), "it joins, and has none itself");
        assertNull(write(first, IOVA, 7));
        one.detach(7);
        assertNull(endedNow(first, IOVA));
        two.detach(7);
        assertEquals(AccessResult.INVALID, endedNow(first, IOVA));
        assertEquals(EINVAL, refused(() -> one.attach(1 << 8, plain)));
    }

    // ---- resets ----

    @Test
    void scenario79ADeviceThatIsBeingReset() throws Exception {
        assertEquals(0, p.map(ioas, Program.ARENA, IOVA, PAGE));
        assertEquals(faulting, one.attach(0, faulting));
        assertEquals(AccessResult.OK, write(first, IOVA));
        assertNull(write(first, IOVA + PAGE));
        first.prepareReset();
        first.prepareReset();
        assertEquals(AccessResult.BLOCKED, write(first, IOVA));
        assertEquals(AccessResult.OK, write(second, IOVA), "the other is not blocked");
        assertEquals(1, messages().size(), "its open faults stay");
        assertEquals(EBUSY, refused(() -> one.replace(0, plain)));
        assertEquals(EBUSY, refused(() -> one.attach(7, plain)));
        assertEquals(EBUSY, refused(() -> two.attach(7, plain)), "nor a sibling");
        assertEquals(faulting, two.attach(0, faulting), "which may join, as that changes nothing");
        two.detach(0);
        one.detach(0);
        assertEquals(AccessResult.INVALID, endedNow(first, IOVA + PAGE), "detach works, and answers");
        assertEquals(EBUSY, refused(() -> one.attach(0, faulting)));
        first.resetDone();
        assertEquals(EBUSY, refused(() -> one.attach(0, faulting)), "resets count");
        first.resetDone();
        assertThrows(IllegalStateException.class, first::resetDone);
        assertEquals(plain, one.attach(0, plain));
        assertEquals(AccessResult.OK, write(first, IOVA));
    }

    @Test
    void afterAResetADeviceIsWhereItWas() throws Exception {
        assertEquals(0, p.map(ioas, Program.ARENA, IOVA, PAGE));
        assertEquals(faulting, one.attach(0, faulting));
        assertNull(write(first, IOVA + PAGE));
        first.prepareReset();
        first.device().reset();
        assertEquals(AccessResult.RESET, endedNow(first, IOVA + PAGE));
        first.resetDone();
        assertEquals(AccessResult.OK, write(first, IOVA));
        assertNull(write(first, IOVA + 2 * PAGE));
        assertNotNull(messages().getFirst());
    }
}
