package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/**
 * A checker of invalidation. Each page is full of words that say which page and which mapping of it they belong to; each frame that is freed, of a page or of a
 * table, is full of poison. Threads map and unmap, others read through devices, one invalidates at random. A read that ends well must have words of the
 * right page, all of one mapping, and of none whose unmapping had returned before the read began.
 */
class UseAfterUnmapTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGE = Frames.BYTES;
    /** Two pages a table, so that tables come and go. */
    private static final long STRIDE = 1L << 20;

    private static final int PAGES = 24;
    private static final int MAPPERS = 2;
    /** Few, for with more threads than cores an unmapping waits for one that does not run. */
    private static final int ROUNDS = 500;

    private static final int READ_BYTES = 64;
    private static final int WINDOW = 8;
    private static final int MAPPING_SHIFT = 32;

    private final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
    private final AtomicBoolean stop = new AtomicBoolean();
    /** The newest mapping of each page whose unmapping has returned: written by its mapper after that, read before a read begins. */
    private final AtomicLongArray gone = new AtomicLongArray(PAGES);

    private final AtomicLong readsThatEndedWell = new AtomicLong();
    private final AtomicLong readsOfNothing = new AtomicLong();

    private static long address(int page) {
        return BASE + page * STRIDE;
    }

    private Thread start(String name, Runnable loop) {
        return Thread.ofPlatform().name(name).start(() -> {
            try {
                loop.run();
            } catch (Throwable e) {
                failure.compareAndSet(null, e);
                stop.set(true);
            }
        });
    }

    private void mapAndUnmap(AddressSpace space, int mapper, Random random, int rounds) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment content = arena.allocate(PAGE, Long.BYTES);
            long[] mapping = new long[PAGES];
            boolean[] mapped = new boolean[PAGES];
            for (int i = 0; i < rounds && !stop.get(); i++) {
                int page = random.nextInt(PAGES / MAPPERS) * MAPPERS + mapper;
                if (mapped[page]) {
                    assertTrue(space.unmap(address(page), PAGE));
                    gone.set(page, mapping[page]);
                } else {
                    mapping[page]++;
                    for (int at = 0; at < PAGE; at += Long.BYTES) {
                        content.set(ValueLayout.JAVA_LONG, at, mapping[page] << MAPPING_SHIFT | page);
                    }
                    assertTrue(space.map(address(page), content, 3));
                }
                mapped[page] = !mapped[page];
            }
        }
    }

    private void read(Device device, Random random, int firstPasid, int pasids) {
        try (Arena arena = Arena.ofShared()) {
            MemorySegment[] buffers = new MemorySegment[WINDOW];
            int[] page = new int[WINDOW];
            long[] goneBefore = new long[WINDOW];
            for (int i = 0; i < WINDOW; i++) {
                buffers[i] = arena.allocate(READ_BYTES, Long.BYTES);
            }
            AccessSink sink = (tag, result) -> {
                int slot = (int) tag;
                if (result == AccessResult.OK) {
                    check(buffers[slot], page[slot], goneBefore[slot]);
                } else if (result == AccessResult.NO_FAULT_QUEUE) {
                    readsOfNothing.incrementAndGet();
                } else {
                    throw new AssertionError("page " + page[slot] + ": " + result);
                }
            };
            enter(device);
            while (!stop.get()) {
                for (int slot = 0; slot < WINDOW; slot++) {
                    page[slot] = random.nextInt(PAGES);
                    goneBefore[slot] = gone.get(page[slot]);
                    long at =
                            address(page[slot]) + random.nextInt((PAGE - READ_BYTES) / Long.BYTES) * (long) Long.BYTES;
                    int pasid = firstPasid + random.nextInt(pasids);
                    assertEquals(Result.OK, device.start(Access.READ, at, buffers[slot], 0, READ_BYTES, pasid, slot));
                }
                for (int polled = 0; polled < WINDOW; ) {
                    var _ = device.step();
                    polled += device.poll(sink);
                }
                if (random.nextInt(64) == 0) {
                    device.leave();
                    enter(device);
                }
            }
            device.leave();
        }
    }

    /** Who invalidates may be inside for a moment. */
    private static void enter(Device device) {
        while (!device.enter()) {
            Thread.onSpinWait();
        }
    }

    private void check(MemorySegment buffer, int page, long goneBefore) {
        long first = buffer.get(ValueLayout.JAVA_LONG, 0);
        for (int at = 0; at < READ_BYTES; at += Long.BYTES) {
            long word = buffer.get(ValueLayout.JAVA_LONG, at);
            if (word != first || (int) word != page || word >>> MAPPING_SHIFT <= goneBefore) {
                throw new AssertionError(
                        "page " + page + ", mapping " + goneBefore + " was gone when the read began, and it read 0x"
                                + Long.toHexString(word) + " after 0x" + Long.toHexString(first));
            }
        }
        readsThatEndedWell.incrementAndGet();
    }

    @Test
    void noAccessUsesAPageOrATableThatIsGone() throws InterruptedException {
        Random seeds = Seeds.random("UseAfterUnmapTest");
        try (Iommu iommu = Iommu.open(
                        IommuConfig.small().withFrames(256).withIotlbEntries(64).withLogEntries(64));
                AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, null);
                Device plain = iommu.device(DeviceConfig.plain("plain").withTlbEntries(16));
                Device pasids = iommu.device(DeviceConfig.plain("pasids").withTlbEntries(16))) {
            iommu.frames().poisonFreed(true);
            plain.attach(space);
            pasids.attach(space, 0);
            pasids.attach(space, 1);
            List<Thread> mappers = new ArrayList<>();
            List<Thread> others = new ArrayList<>();
            Random plainRandom = new Random(seeds.nextLong());
            Random pasidRandom = new Random(seeds.nextLong());
            Random anyRandom = new Random(seeds.nextLong());
            others.add(start("plain", () -> read(plain, plainRandom, FaultProducer.NO_PASID, 1)));
            others.add(start("pasids", () -> read(pasids, pasidRandom, 0, 2)));
            others.add(start("invalidator", () -> {
                while (!stop.get()) {
                    long at = address(anyRandom.nextInt(PAGES));
                    switch (anyRandom.nextInt(4)) {
                        case 0 -> iommu.invalidations().range(space.table(), at, PAGE);
                        case 1 -> iommu.invalidations().pasid(space.table(), anyRandom.nextInt(2));
                        case 2 -> iommu.invalidations().table(space.table());
                        default -> {
                            InvalidateRequest sent = pasids.ats().invalidate(anyRandom.nextInt(2), at, false);
                            assertTrue(sent != null && pasids.ats().await(sent) == InvalidateRequest.State.COMPLETED);
                        }
                    }
                }
            }));
            for (int mapper = 0; mapper < MAPPERS; mapper++) {
                int number = mapper;
                Random random = new Random(seeds.nextLong());
                mappers.add(start("mapper-" + mapper, () -> mapAndUnmap(space, number, random, ROUNDS)));
            }
            for (Thread mapper : mappers) {
                mapper.join();
            }
            stop.set(true);
            for (Thread other : others) {
                other.join();
            }
            if (failure.get() != null) {
                throw new AssertionError("a thread failed", failure.get());
            }
            System.out.println("UseAfterUnmapTest " + readsThatEndedWell + " reads, " + readsOfNothing + " of nothing, "
                    + iommu.counters());
            assertTrue(readsThatEndedWell.get() > 0 && readsOfNothing.get() > 0);
            assertTrue(iommu.counters().iotlbHits() > 0 && iommu.counters().deviceTlbHits() > 0);
        }
    }

    /** The checker finds what it is there for: an unmapping that tells nobody. */
    @Test
    void theCheckerSeesAMissingInvalidation() {
        try (Iommu iommu = Iommu.open(IommuConfig.small());
                Arena arena = Arena.ofConfined();
                AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, null);
                Device device = iommu.device(DeviceConfig.plain("d"))) {
            iommu.frames().poisonFreed(true);
            device.attach(space);
            MemorySegment content = arena.allocate(PAGE, Long.BYTES);
            for (int at = 0; at < PAGE; at += Long.BYTES) {
                content.set(ValueLayout.JAVA_LONG, at, 1L << MAPPING_SHIFT);
            }
            assertTrue(space.map(BASE, content, 3));
            MemorySegment buffer = arena.allocate(READ_BYTES, Long.BYTES);
            device.read(BASE, buffer);
            check(buffer, 0, 0);
            long entry = space.radix().entry(BASE);
            assertTrue(space.radix().remove(BASE, entry));
            iommu.frames().free(space.radix().page(entry));
            device.read(BASE, buffer);
            assertThrows(AssertionError.class, () -> check(buffer, 0, 1));
        }
    }
}
