package dev.faultline.iommu.iommufd;

import static dev.faultline.iommu.iommufd.Program.ARENA;
import static dev.faultline.iommu.iommufd.Program.FAULT_ID_VALID;
import static dev.faultline.iommu.iommufd.Program.NEST_PARENT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Access;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.iommufd.vtd.Vtd;
import dev.faultline.ring.Accounting;
import dev.faultline.ring.Answer;
import dev.faultline.ring.CompletionHandler;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A fault queue read through its ring, with maps, unmaps and invalidations beside the answers. */
class RingCommandsTest {
    private static final int PAGE = 4096;
    private static final int TYPE = EngineDriver.VIOMMU_TYPE;
    private static final int CARD = 0x99;
    private static final int ENTRY = Vtd.GUESTS.invalidationBytes();

    /** Where the guest's memory is, as the second stage's input, and the pages of the arena that are in it. */
    private static final long IOVA = 0x40_0000_0000L;

    private static final int GUEST_PAGES = 12;
    private static final int TABLES = 0;
    private static final int LEAVES = 3;
    private static final int ENTRIES = 13;

    private final EngineDriver driver = EngineDriver.open(IommuConfig.small());
    private final Program p = new Program(driver);
    private final int ioas = p.ioas();
    private final EngineDevice engine = driver.device(DeviceConfig.pri("card"));
    private final Device device = engine.device();
    private final DeviceObject bound;
    private final FaultConsumer consumer;
    private final int faultQueue;
    private final int viommu;
    private final List<Integer> values = new ArrayList<>();
    private final int[] cookie = new int[1];

    RingCommandsTest() throws ErrnoException {
        assertEquals(0, p.map(ioas, ARENA, IOVA, GUEST_PAGES * PAGE));
        bound = engine.bind(p.calls, p.fd);
        int parent = p.table(NEST_PARENT, bound.id(), ioas, 0);
        viommu = p.made(p.allocViommu(0, TYPE, bound.id(), parent), 5);
        assertEquals(0, p.allocVdevice(viommu, bound.id(), CARD));
        int[] faults = p.faults();
        faultQueue = faults[0];
        consumer = p.calls.ring(faults[1]);
        assertEquals(-Errno.EBADFD, p.calls.read(faults[1], ARENA, 40), "one door");
        assertEquals(
                Errno.EBUSY,
                assertThrows(ErrnoException.class, () -> p.calls.ring(faults[1]))
                        .errno());
        for (int level = 0; level < LEAVES; level++) {
            put(TABLES + level, 0, (IOVA + (TABLES + level + 1L) * PAGE) | 7);
        }
        long root = IOVA + (long) TABLES * PAGE;
        int nested = p.made(
                p.allocNested(
                        FAULT_ID_VALID,
                        bound.id(),
                        viommu,
                        faultQueue,
                        EngineDriver.VTD_S1,
                        0,
                        0,
                        Program.low(root),
                        Program.high(root),
                        48,
                        0),
                4);
        var _ = bound.attach(0, nested);
        assertEquals(Result.OK, consumer.post(1, 4));
        assertTrue(device.enter());
    }

    @AfterEach
    void close() {
        device.leave();
        Accounting faults = consumer.accounting();
        assertEquals(
                faults.raised(), faults.answered() + faults.autoAnswered() + faults.dropped() + faults.outstanding());
        bound.unbind();
        consumer.close();
        p.close();
    }

    private void put(int page, int index, long value) {
        p.arena.set(ValueLayout.JAVA_LONG, (long) page * PAGE + (long) index * Long.BYTES, value);
    }

    /** The guest says what its page of that number is: a page of the arena, or none. */
    private void shows(int number, int page) {
        put(TABLES + LEAVES, number, page < 0 ? 0 : (IOVA + (long) page * PAGE) | 7);
    }

    private Result send(int opcode, int... words) {
        return consumer.command(cookie[0], opcode, opcode, MemorySegment.ofArray(words));
    }

    private Result invalidate(int entries, int... more) {
        long at = ARENA + ENTRIES * PAGE;
        int[] words = new int[8 + more.length];
        int[] first = {32, viommu, Program.low(at), Program.high(at), TYPE, ENTRY, entries, 0};
        System.arraycopy(first, 0, words, 0, 8);
        System.arraycopy(more, 0, words, 8, more.length);
        return send(RingCommands.INVALIDATE, words);
    }

    /** An array of invalidations: virtual ids and page numbers. */
    private void entries(int... idsAndPages) {
        for (int i = 0; i < idsAndPages.length / 2; i++) {
            int at = ENTRIES * PAGE / 4 + 8 * i;
            p.write(at, 0, 0, idsAndPages[2 * i], 0, idsAndPages[2 * i + 1] * PAGE, 0, 1, 0);
        }
    }

    private interface Handler {
        void handle(FaultGroup group);
    }

    private AccessResult access(Access access, long address, long[] value, Handler handler) {
        assertEquals(
                Result.OK,
                device.start(access, address, MemorySegment.ofArray(value), 0, Long.BYTES, FaultProducer.NO_PASID, 1));
        AccessResult[] ended = new AccessResult[1];
        while (device.poll((tag, result) -> ended[0] = result) == 0) {
            boolean moved = device.step();
            moved |= poll(handler) > 0;
            if (!moved) {
                boolean _ = device.await(1_000_000);
            }
        }
        return ended[0];
    }

    private int poll(Handler handler) {
        return consumer.poll(
                new CompletionHandler() {
                    @Override
                    public void group(long userData, FaultGroup group) {
                        cookie[0] = group.cookie();
                        handler.handle(group);
                    }

                    @Override
                    public void ended(long userData, Result why, int value) {
                        assertEquals(Result.OK, why);
                        values.add(value);
                    }
                },
                16);
    }

    /** Goes on until so many commands are completed. */
    private void settle(int commands) {
        while (values.size() < commands) {
            boolean _ = device.step();
            var _ = poll(group -> {
                throw new AssertionError("no fault is due");
            });
            // A device that nothing moves looks at every lane after it has waited.
            boolean _ = device.await(1_000);
        }
    }

    private void bring(FaultGroup group, int page) {
        shows((int) (group.address(0) / PAGE), page);
        assertEquals(Result.OK, consumer.answerAndRepost(group.cookie(), Answer.SUCCESS));
    }

    @Test
    void aMapAnInvalidationAndAnAnswerGoInOneSubmit() {
        assertEquals(AccessResult.OK, access(Access.WRITE, 0, new long[] {5}, group -> bring(group, 8)));
        // The guest moves its page 0, and its page 1 comes to lie in memory that its second stage does not show yet.
        long[] read = new long[1];
        entries(CARD, 0);
        AccessResult result = access(Access.READ, PAGE, read, group -> {
            assertEquals(bound.id(), group.device());
            shows(0, 9);
            shows(1, 20);
            put(9, 0, 9000);
            put(12, 0, 12000);
            long at = ARENA + 12 * PAGE;
            long iova = IOVA + 20 * PAGE;
            assertEquals(
                    Result.OK,
                    send(
                            RingCommands.MAP,
                            40,
                            7,
                            ioas,
                            0,
                            Program.low(at),
                            Program.high(at),
                            PAGE,
                            0,
                            Program.low(iova),
                            Program.high(iova)));
            assertEquals(Result.OK, invalidate(1));
            assertEquals(Result.OK, consumer.answerAndRepost(group.cookie(), Answer.SUCCESS));
        });
        assertEquals(AccessResult.OK, result);
        assertEquals(12000, read[0]);
        settle(2);
        assertEquals(List.of(0, 1), values, "mapped, and one entry done");
        assertEquals(AccessResult.OK, access(Access.READ, 0, read, group -> {
            throw new AssertionError("page 0 is there");
        }));
        assertEquals(9000, read[0], "the old translation is gone");
    }

    @Test
    void anInvalidationSaysHowFarItCameAndWhy() {
        assertEquals(AccessResult.OK, access(Access.WRITE, 0, new long[] {5}, group -> bring(group, 8)));
        entries(CARD, 3, CARD, 4, 0x9, 0, CARD, 0);
        assertEquals(Result.OK, invalidate(4));
        settle(1);
        int value = values.getFirst();
        assertEquals(2, RingCommands.done(value));
        assertEquals(Errno.EIO, RingCommands.errno(value));
        assertEquals(4, RingCommands.done(4));
        assertEquals(0, RingCommands.errno(4));
    }

    @Test
    void anInvalidationThatGoesOnHasAnErrorForEachEntry() {
        assertEquals(AccessResult.OK, access(Access.WRITE, 0, new long[] {5}, group -> bring(group, 8)));
        shows(0, 9);
        put(9, 0, 9000);
        entries(0x9, 0, CARD, 3, 0x8, 0, CARD, 0);
        long errors = ARENA + 14 * PAGE;
        p.write(14 * PAGE / 4, -1, -1, -1, -1, -1);
        assertEquals(Result.OK, invalidate(4, Program.low(errors), Program.high(errors)));
        settle(1);
        assertEquals(List.of(2), values);
        int at = 14 * PAGE / 4;
        assertEquals(
                List.of(Errno.EIO, 0, Errno.EIO, 0, -1),
                List.of(p.read(at), p.read(at + 1), p.read(at + 2), p.read(at + 3), p.read(at + 4)));
        long[] read = new long[1];
        assertEquals(AccessResult.OK, access(Access.READ, 0, read, group -> bring(group, 9)));
        assertEquals(9000, read[0]);
    }

    @Test
    void anUnmapSaysHowMuchWentAndErrorsAreNegative() {
        assertEquals(0, p.map(ioas, ARENA + 14 * PAGE, IOVA + 30 * PAGE, 2 * PAGE));
        assertEquals(AccessResult.OK, access(Access.WRITE, 0, new long[] {5}, group -> bring(group, 8)));
        long iova = IOVA + 30 * PAGE;
        int[] unmap = {24, ioas, Program.low(iova), Program.high(iova), 2 * PAGE, 0};
        assertEquals(Result.OK, send(RingCommands.UNMAP, unmap));
        assertEquals(Result.OK, send(RingCommands.UNMAP, unmap));
        assertEquals(Result.OK, send(RingCommands.MAP, 40, 6, ioas, 0, 0, 1, PAGE, 0, 0, 0));
        assertEquals(Result.OK, send(RingCommands.MAP, 40, 7));
        assertEquals(Result.OK, send(FaultConsumer.FIRST_COMMAND, 8, ioas));
        assertEquals(Result.OK, invalidate(1 << 20));
        settle(6);
        assertEquals(List.of(2, -Errno.ENOENT, -Errno.EINVAL, -Errno.EINVAL, -Errno.EOPNOTSUPP, -Errno.EINVAL), values);
    }
}
