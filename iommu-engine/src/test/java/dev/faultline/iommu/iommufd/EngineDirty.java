package dev.faultline.iommu.iommufd;

import static dev.faultline.iommu.iommufd.Program.ARENA;
import static dev.faultline.iommu.iommufd.Program.high;
import static dev.faultline.iommu.iommufd.Program.low;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.IommuConfig;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.BitSet;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Dirty tracking of the engine's page tables, with writes of devices that have TLBs, behind both IOMMUs that it shows. */
abstract class EngineDirty {
    static final IommuConfig CONFIG = IommuConfig.small().withLimitNs(500_000_000);

    private static final int DIRTY_TRACKING = 2;
    private static final int NO_CLEAR = 1;
    private static final int PAGE = 4096;
    private static final int LARGE = 2 << 20;
    private static final long IOVA = 0x40_0000_0000L;
    private static final long PROGRAM = 0x3_0000_0000L;

    /** Where the bitmaps are: behind what is mapped. */
    private static final int BITS = 0xf000;

    private final Program p;
    private final int ioas;
    private final Device device;
    private final DeviceObject bound;
    private final int table;

    EngineDirty(EngineDriver driver) throws ErrnoException {
        p = new Program(driver);
        ioas = p.ioas();
        EngineDevice engine = driver.device(DeviceConfig.pri("nic"));
        device = engine.device();
        bound = engine.bind(p.calls, p.fd);
        table = p.table(DIRTY_TRACKING, bound.id(), ioas, 0);
        var _ = bound.attach(0, table);
    }

    @AfterEach
    void close() throws ErrnoException {
        bound.detach(0);
        bound.unbind();
        p.close();
    }

    private int track(int of, int flags) {
        return p.ioctl(0x3b8b, 0, flags, of, 0);
    }

    private int get(int of, int flags, long length) {
        return get(of, flags, IOVA, length);
    }

    private int get(int of, int flags, long iova, long length) {
        p.arena.asSlice(BITS, PAGE).fill((byte) 0);
        long bits = ARENA + BITS;
        return p.ioctl(
                0x3b8c,
                0,
                of,
                flags,
                0,
                low(iova),
                high(iova),
                low(length),
                high(length),
                PAGE,
                0,
                low(bits),
                high(bits));
    }

    /** The pages of a range that were written to. */
    private BitSet dirty(int flags, long iova, long length) {
        assertEquals(0, get(table, flags, iova, length));
        return BitSet.valueOf(p.arena.asSlice(BITS, (length / PAGE + 7) / 8).toArray(ValueLayout.JAVA_BYTE));
    }

    private BitSet dirty(int flags, int pages) {
        return dirty(flags, IOVA, (long) pages * PAGE);
    }

    private static BitSet pages(int... which) {
        BitSet set = new BitSet();
        for (int each : which) {
            set.set(each);
        }
        return set;
    }

    private static BitSet from(int first, int end) {
        BitSet set = new BitSet();
        set.set(first, end);
        return set;
    }

    private void write(long address) {
        device.write(address, MemorySegment.ofArray(new long[] {address}));
    }

    @Test
    void whatADeviceWritesIsTold() throws Exception {
        assertEquals(0, p.map(ioas, ARENA, IOVA, 8 * PAGE));
        write(IOVA);
        assertEquals(pages(), dirty(0, 8), "not tracked");
        assertEquals(0, track(table, 1));
        assertEquals(pages(), dirty(0, 8), "before");
        write(IOVA + PAGE);
        write(IOVA + 3 * PAGE + 8);
        device.read(IOVA + 5 * PAGE, MemorySegment.ofArray(new long[1]));
        assertEquals(pages(1, 3), dirty(NO_CLEAR, 8));
        write(IOVA + PAGE);
        assertEquals(pages(1, 3), dirty(NO_CLEAR, 8));
        assertEquals(pages(1), dirty(0, IOVA + 2 * PAGE, 2 * PAGE), "the second of two");
        assertEquals(pages(1), dirty(0, 8));
        assertEquals(pages(), dirty(0, 8));
        write(IOVA + PAGE);
        assertEquals(pages(1), dirty(0, 8), "its translation was cached, writable");
        write(IOVA);
        assertEquals(0, p.unmap(ioas, IOVA, 8 * PAGE));
        assertEquals(0, p.map(ioas, ARENA, IOVA, 8 * PAGE));
        assertEquals(pages(), dirty(0, 8), "what was mapped before is gone");
        write(IOVA);
        assertEquals(0, track(table, 0));
        assertEquals(pages(), dirty(0, 8));
        assertEquals(0, track(table, 1));
        assertEquals(pages(), dirty(0, 8));
    }

    @Test
    void whoTracksSaysSo() throws Exception {
        int plain = p.table(0, bound.id(), ioas, 0);
        assertEquals(-Errno.EOPNOTSUPP, track(plain, 1));
        assertEquals(-Errno.EOPNOTSUPP, get(plain, 0, PAGE));
        assertEquals(0, p.destroy(plain));
        assertEquals(0, p.ioctl(0x3b8a, 0, 0, bound.id(), 0, 0, 0, 0, 0, 0, 0));
        assertEquals(1, p.word(8) & 1, "capabilities");
    }

    @Test
    void aLargePageIsWrittenToAsAWhole() throws Exception {
        try (Arena arena = Arena.ofShared()) {
            MemorySegment memory = arena.allocate(2L * LARGE, LARGE);
            p.memory.map(PROGRAM, memory, true);
            assertEquals(0, p.map(ioas, PROGRAM, IOVA, 2L * LARGE));
            assertEquals(0, track(table, 1));
            write(IOVA + LARGE + 5 * PAGE);
            int per = LARGE / PAGE;
            assertEquals(from(per, 2 * per), dirty(NO_CLEAR, 2 * per));
            assertEquals(from(0, per / 2), dirty(0, IOVA + LARGE, LARGE / 2), "a half of it");
            assertEquals(from(per / 2, per), dirty(NO_CLEAR, IOVA + LARGE, LARGE), "the other");
            assertEquals(from(0, 1), dirty(0, IOVA + LARGE + LARGE / 2, PAGE), "a page of that");
            assertEquals(from(3 * per / 2 + 1, 2 * per), dirty(0, 2 * per));
            assertEquals(pages(), dirty(0, 2 * per));
            write(IOVA + LARGE);
            assertEquals(from(per, 2 * per), dirty(0, 2 * per));
            assertEquals(0, p.unmap(ioas, IOVA, 2L * LARGE));
            p.memory.unmap(PROGRAM);
        }
    }

    @Test
    void whatCouldNotBeWaitedForIsToldAgain() throws Exception {
        assertEquals(0, p.map(ioas, ARENA, IOVA, 8 * PAGE));
        assertEquals(0, track(table, 1));
        write(IOVA + PAGE);
        CountDownLatch in = new CountDownLatch(1);
        CountDownLatch out = new CountDownLatch(1);
        Thread sleeper = Thread.ofPlatform().start(() -> {
            assertTrue(device.enter());
            in.countDown();
            try {
                out.await();
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            } finally {
                device.leave();
            }
        });
        in.await();
        try {
            assertEquals(-Errno.EBUSY, get(table, 0, 8 * PAGE));
            assertEquals(pages(1), dirty(NO_CLEAR, 8));
            assertEquals(-Errno.EBUSY, get(table, 0, 8 * PAGE));
        } finally {
            out.countDown();
            sleeper.join();
        }
        assertEquals(pages(1), dirty(0, 8));
        assertEquals(pages(), dirty(0, 8));
    }

    /** As a machine is moved: what is dirty is copied while the device goes on writing, and at the end the copy is the memory. */
    @Test
    void noMarkIsLostWhileADeviceWrites() throws Exception {
        int pages = 8;
        assertEquals(0, p.map(ioas, ARENA, IOVA, (long) pages * PAGE));
        assertEquals(0, track(table, 1));
        byte[] copy = p.arena.asSlice(0, (long) pages * PAGE).toArray(ValueLayout.JAVA_BYTE);
        long seed = new Random().nextLong();
        AtomicReference<@Nullable Throwable> failed = new AtomicReference<>();
        Thread writer = Thread.ofPlatform().start(() -> {
            Random random = new Random(seed);
            try {
                assertTrue(device.enter());
                for (int i = 0; i < 200_000; i++) {
                    long offset = (long) Long.BYTES * random.nextInt(pages * PAGE / Long.BYTES);
                    device.write(IOVA + offset, MemorySegment.ofArray(new long[] {random.nextLong()}));
                }
            } catch (Throwable e) {
                failed.set(e);
            } finally {
                device.leave();
            }
        });
        int rounds = 0;
        long told = 0;
        boolean last = false;
        while (!last) {
            last = !writer.isAlive();
            int result = get(table, 0, (long) pages * PAGE);
            if (result == -Errno.EBUSY) {
                // Its thread was not let run: what it was told of is told again.
                last = false;
                continue;
            }
            assertEquals(0, result);
            BitSet written = BitSet.valueOf(p.arena.asSlice(BITS, 1).toArray(ValueLayout.JAVA_BYTE));
            for (int page = written.nextSetBit(0); page >= 0; page = written.nextSetBit(page + 1)) {
                MemorySegment.copy(p.arena, ValueLayout.JAVA_BYTE, (long) page * PAGE, copy, page * PAGE, PAGE);
                told++;
            }
            rounds++;
        }
        assertEquals(null, failed.get(), "seed " + seed);
        assertTrue(told >= pages && rounds > 1, rounds + " rounds, " + told + " pages, seed " + seed);
        assertEquals(
                -1,
                MemorySegment.ofArray(copy).mismatch(p.arena.asSlice(0, (long) pages * PAGE)),
                rounds + " rounds, " + told + " pages, seed " + seed);
    }
}
