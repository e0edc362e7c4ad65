package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.Translation.READ;
import static dev.faultline.iommu.table.Translation.WRITE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.Seeds;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Threads that map, unmap, take out tables and walk at once. */
class TableRaceTest {
    private static final long SMALL = 4096;
    private static final long LARGE = 2L << 20;

    private interface Work {
        void run() throws Exception;
    }

    private static void together(Work... works) throws InterruptedException {
        List<Throwable> failures = new ArrayList<>();
        List<Thread> threads = new ArrayList<>();
        for (Work work : works) {
            threads.add(Thread.ofPlatform().start(() -> {
                try {
                    work.run();
                } catch (Throwable e) {
                    synchronized (failures) {
                        failures.add(e);
                    }
                }
            }));
        }
        for (Thread thread : threads) {
            thread.join();
        }
        if (!failures.isEmpty()) {
            throw new AssertionError(failures.getFirst());
        }
    }

    @Test
    void pageTables29TheSameMissingTable() throws InterruptedException {
        try (TestMemory memory = new TestMemory(512)) {
            RadixTable table = memory.table(Formats.X86);
            AtomicInteger done = new AtomicInteger();
            CyclicBarrier start = new CyclicBarrier(3);
            Work work = () -> {
                Taken taken = new Taken();
                for (int i = 0; i < 100; i++) {
                    start.await();
                    if (table.map((long) i << 30, 0, 12, READ, false, taken) == RadixTable.Outcome.DONE) {
                        done.incrementAndGet();
                    }
                }
            };
            together(work, work, work);
            assertEquals(100, done.get());
            assertEquals(512 - 1 - 1 - 100 - 100, memory.freeCount(), "root, level 2, levels 1 and 0 of each");
            table.close();
        }
    }

    /**
     * Mappers put pages with their own numbers where they please; others unmap single pages and whole tables, and put large
     * pages over empty tables. Each page that was mapped is taken out exactly once, and every table comes back.
     */
    @ParameterizedTest
    @MethodSource("dev.faultline.iommu.table.Formats#all")
    void nothingIsLostWhenTablesComeAndGo(PageFormat format) throws InterruptedException {
        long seed = Seeds.random("TableRaceTest").nextLong();
        int frames = 1024;
        try (TestMemory memory = new TestMemory(frames)) {
            RadixTable table = memory.table(format);
            AtomicLong mapped = new AtomicLong();
            AtomicLong unmapped = new AtomicLong();
            AtomicInteger running = new AtomicInteger(2);
            AtomicInteger rounds = new AtomicInteger();
            Work mapper = () -> {
                Random random = new Random(seed + Thread.currentThread().threadId());
                Taken taken = new Taken();
                try {
                    while (rounds.get() < 1000) {
                        boolean large = random.nextInt(64) == 0;
                        long at = large
                                ? random.nextInt(4) * LARGE
                                : random.nextInt(4) * LARGE + random.nextInt(512) * SMALL;
                        if (table.map(at, 0, large ? 21 : 12, READ | WRITE, false, taken) == RadixTable.Outcome.DONE) {
                            mapped.addAndGet(large ? LARGE : SMALL);
                        }
                        table.free(taken);
                        taken.clear();
                    }
                } finally {
                    running.decrementAndGet();
                }
            };
            Work unmapper = () -> {
                Random random = new Random(seed);
                Taken taken = new Taken();
                while (running.get() > 0) {
                    long first = random.nextInt(4) * LARGE;
                    long last = first + LARGE - 1;
                    if (random.nextBoolean()) {
                        first += random.nextInt(512) * SMALL;
                        last = first + SMALL - 1;
                    }
                    assertEquals(0, table.unmap(first, last, taken, Integer.MAX_VALUE));
                    if (random.nextBoolean()) {
                        table.prune(first, last, taken);
                    }
                    for (int i = 0; i < taken.pages(); i++) {
                        assertTrue(Long.compareUnsigned(taken.address(i), first) >= 0);
                        unmapped.addAndGet(1L << taken.sizeLg2(i));
                    }
                    if (taken.pages() > 0) {
                        rounds.incrementAndGet();
                    }
                    table.free(taken);
                    taken.clear();
                }
            };
            Work walker = () -> {
                Random random = new Random(seed);
                while (running.get() > 0) {
                    long address = random.nextInt(4) * LARGE + random.nextInt(512) * SMALL;
                    long word = table.walk(address, random.nextBoolean() ? READ : WRITE);
                    if (word > 0) {
                        long page = Translation.page(word);
                        assertTrue(page == 0 || page == (address & (LARGE - 1)), "0, or within the large page");
                    } else {
                        assertEquals(WalkFault.NOT_PRESENT, Translation.reason(word));
                    }
                }
            };
            together(mapper, mapper, unmapper);
            assertTrue(unmapped.get() > 0, "something was there");
            Taken rest = new Taken();
            assertEquals(0, table.unmap(0, (1L << 30) - 1, rest, Integer.MAX_VALUE));
            table.prune(0, (1L << 30) - 1, rest);
            for (int i = 0; i < rest.pages(); i++) {
                unmapped.addAndGet(1L << rest.sizeLg2(i));
            }
            table.free(rest);
            rest.clear();
            assertEquals(mapped.get(), unmapped.get());
            // Walks are waited for by who invalidates; here the tables stay while they walk.
            running.set(1);
            together(
                    () -> {
                        Random random = new Random(seed);
                        Taken taken = new Taken();
                        for (int i = 0; i < 50_000; i++) {
                            long at = random.nextInt(4) * LARGE + random.nextInt(512) * SMALL;
                            if (table.map(at, 0, 12, READ | WRITE, false, taken) == RadixTable.Outcome.IN_USE) {
                                assertEquals(0, table.unmap(at, at + SMALL - 1, taken, 1));
                                taken.clear();
                            }
                        }
                        running.set(0);
                    },
                    walker);
            table.close();
        }
    }

    /** A page in a table that is just tried whether it is empty is found by everybody: who looks, who walks, who unmaps. */
    @ParameterizedTest
    @MethodSource("dev.faultline.iommu.table.Formats#all")
    void aPageIsThereWhileItsTableIsTried(PageFormat format) throws InterruptedException {
        try (TestMemory memory = new TestMemory(256)) {
            RadixTable table = memory.table(format);
            AtomicInteger running = new AtomicInteger(1);
            together(
                    () -> {
                        Taken taken = new Taken();
                        Leaf leaf = new Leaf();
                        try {
                            for (int i = 0; i < 20_000; i++) {
                                long at = LARGE + (i & 511) * SMALL;
                                assertEquals(RadixTable.Outcome.DONE, table.map(at, 0, 12, READ | WRITE, false, taken));
                                assertTrue(table.look(at, leaf));
                                assertEquals(12, table.mappedLg2(at));
                                assertEquals(0, table.nextMapped(at, at + SMALL - 1));
                                assertTrue(table.entry(at) != 0);
                                assertTrue(table.walk(at, READ) > 0);
                                assertEquals(0, table.unmap(at, at + SMALL - 1, taken, 1));
                                assertEquals(1, taken.pages());
                                table.free(taken);
                                taken.clear();
                            }
                        } finally {
                            running.set(0);
                        }
                    },
                    () -> {
                        Taken taken = new Taken();
                        while (running.get() > 0) {
                            table.prune(0, (1L << 30) - 1, taken);
                            assertEquals(0, taken.pages());
                            table.free(taken);
                            taken.clear();
                        }
                    });
            table.close();
        }
    }

    /** Page tables 8 and 9, many writers: what a walk marked is there, and no mark is lost to another. */
    @ParameterizedTest
    @MethodSource("dev.faultline.iommu.table.Formats#all")
    void noMarkIsLost(PageFormat format) throws InterruptedException {
        long leaf = format.leaf(0, 0, READ | WRITE, false);
        boolean marks = !format.dirty(leaf);
        if (!marks) {
            return;
        }
        try (TestMemory memory = new TestMemory(64)) {
            RadixTable table = memory.table(format);
            Taken taken = new Taken();
            int pages = 4;
            for (int i = 0; i < pages; i++) {
                assertEquals(RadixTable.Outcome.DONE, table.map(i * SMALL, 0, 12, READ | WRITE, false, taken));
            }
            AtomicLongArray granted = new AtomicLongArray(pages);
            AtomicLongArray cleaned = new AtomicLongArray(pages);
            AtomicInteger running = new AtomicInteger(2);
            Work writer = () -> {
                Random random = new Random(Thread.currentThread().threadId());
                for (int i = 0; i < 100_000; i++) {
                    int page = random.nextInt(pages);
                    long word = table.walk(page * SMALL, random.nextBoolean() ? WRITE : READ);
                    assertTrue(word > 0);
                    if (Translation.grants(word, WRITE)) {
                        granted.incrementAndGet(page);
                    }
                }
                running.decrementAndGet();
            };
            Work cleaner = () -> {
                while (running.get() > 0) {
                    for (int page = 0; page < pages; page++) {
                        long before = granted.get(page);
                        if (table.dirtyAndClear(page * SMALL)) {
                            cleaned.incrementAndGet(page);
                        } else {
                            // Clean now, so a write granted before was cleaned by somebody: by this thread alone.
                            assertTrue(before == 0 || cleaned.get(page) > 0);
                        }
                        table.accessedAndClear(page * SMALL);
                    }
                }
            };
            together(writer, writer, cleaner);
            for (int page = 0; page < pages; page++) {
                assertTrue(cleaned.get(page) + (table.dirtyAndClear(page * SMALL) ? 1 : 0) > 0);
                long word = table.walk(page * SMALL, WRITE);
                assertTrue(Translation.grants(word, WRITE));
                assertTrue(table.dirtyAndClear(page * SMALL), "what is granted is marked");
                assertTrue(table.accessedAndClear(page * SMALL));
            }
            table.close();
        }
    }
}
