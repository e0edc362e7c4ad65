package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.ReentrantLock;
import org.junit.jupiter.api.Test;

/** Devices on several threads write and read back while their pages are taken away and brought back. */
class ConcurrencyTest {
    private static final long BASE = 0x7000_0000L;
    private static final int PAGE = Frames.BYTES;

    private final AtomicReference<Throwable> failure = new AtomicReference<>();

    /** Pages that are not resident, and the handler's and the evictor's only shared state: one lock for each page. A thread that
     * has entered a device never blocks on one: the holder may be evicting, and wait for that thread.
     */
    private static final class Backing {
        final MemorySegment[] content;
        final ReentrantLock[] locks;
        final AtomicLong evictions = new AtomicLong();

        Backing(Arena arena, int pages) {
            content = new MemorySegment[pages];
            locks = new ReentrantLock[pages];
            for (int i = 0; i < pages; i++) {
                content[i] = arena.allocate(PAGE);
                locks[i] = new ReentrantLock();
            }
        }

        /** Takes a page out if it can be; true if a frame came free. */
        boolean evict(AddressSpace space, int page) {
            if (!locks[page].tryLock()) {
                return false;
            }
            try {
                Eviction how = space.evict(BASE + (long) page * PAGE, content[page]);
                if (how == Eviction.CLEAN || how == Eviction.DIRTY) {
                    evictions.incrementAndGet();
                    return true;
                }
                return false;
            } finally {
                locks[page].unlock();
            }
        }

        void bring(AddressSpace space, int page, Random random, Runnable meanwhile) {
            while (true) {
                try {
                    while (!locks[page].tryLock()) {
                        meanwhile.run();
                    }
                    try {
                        space.map(BASE + (long) page * PAGE, content[page], PERM_READ | PERM_WRITE);
                    } finally {
                        locks[page].unlock();
                    }
                    return;
                } catch (OutOfFrames e) {
                    // Under pressure any page may go; wanted ones say BUSY.
                    int tries = 0;
                    while (!evict(space, random.nextInt(content.length)) && tries++ < 1000) {
                        meanwhile.run();
                    }
                }
            }
        }
    }

    @Test
    void everyByteSurvivesEvictionUnderPressure() throws Exception {
        run(2, 24, 10, 1, 25_000, false);
    }

    @Test
    void everyByteSurvivesWithWindowsAndARandomEvictor() throws Exception {
        run(2, 48, 40, 8, 20_000, true);
    }

    /** Each thread has a device and pages of its own in one space, a window, and a model of what it wrote. */
    private void run(int threads, int pagesEach, int framesForPages, int window, int accesses, boolean evictor)
            throws Exception {
        Random seeds = Seeds.random("ConcurrencyTest");
        int pages = threads * pagesEach;
        try (Arena arena = Arena.ofShared();
                Iommu iommu = Iommu.open(
                        IommuConfig.small().withFrames(4 + framesForPages).withIotlbEntries(16));
                FaultQueue queue = FaultQueue.open(QueueConfig.of(64));
                AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, queue)) {
            Backing backing = new Backing(arena, pages);
            Random handlerRandom = new Random(seeds.nextLong());
            var worker = queue.consumer().run(group -> {
                backing.bring(space, (int) ((group.address(0) - BASE) / PAGE), handlerRandom, Thread::onSpinWait);
                return Answer.SUCCESS;
            });
            AtomicBoolean stop = new AtomicBoolean();
            List<Thread> running = new ArrayList<>();
            for (int t = 0; t < threads; t++) {
                int first = t * pagesEach;
                long seed = seeds.nextLong();
                Device device = iommu.device(
                        DeviceConfig.pri("d" + t).withWindow(window).withTlbEntries(16));
                device.attach(space);
                running.add(start("stepper-" + t, () -> drive(device, first, pagesEach, accesses, new Random(seed))));
            }
            long evictorSeed = seeds.nextLong();
            Thread evicts = start("evictor", () -> {
                Random random = new Random(evictorSeed);
                while (evictor && !stop.get()) {
                    backing.evict(space, random.nextInt(pages));
                    if (random.nextInt(4) == 0) {
                        space.accessedAndClear(BASE + (long) random.nextInt(pages) * PAGE);
                    }
                }
            });
            for (Thread thread : running) {
                thread.join();
            }
            stop.set(true);
            evicts.join();
            if (failure.get() != null) {
                throw new AssertionError("a thread failed", failure.get());
            }
            assertTrue(backing.evictions.get() > 100, "evictions " + backing.evictions);
            assertEquals(0, worker.failures());
            worker.close();
            assertTrue(queue.accounting().balanced(), () -> queue.accounting().toString());
            assertEquals(
                    0,
                    queue.accounting().outstanding(),
                    () -> queue.accounting().toString());
            assertEquals(0, queue.accounting().autoAnswered());
            System.out.println("ConcurrencyTest " + backing.evictions + " evictions, " + iommu.counters());
        }
    }

    private static void drive(Device device, int firstPage, int pages, int accesses, Random random) {
        byte[] model = new byte[pages * PAGE];
        long base = BASE + (long) firstPage * PAGE;
        int window = device.config().window();
        MemorySegment[] buffers = new MemorySegment[window];
        byte[][] expected = new byte[window][];
        List<Integer> free = new ArrayList<>();
        for (int i = 0; i < window; i++) {
            buffers[i] = MemorySegment.ofArray(new byte[64]);
            free.add(i);
        }
        if (!device.enter()) {
            throw new AssertionError("cannot enter");
        }
        AccessSink sink = (tag, result) -> {
            int slot = (int) tag;
            if (result != AccessResult.OK) {
                throw new AssertionError("access " + result);
            }
            if (expected[slot] != null && buffers[slot].mismatch(MemorySegment.ofArray(expected[slot])) != -1) {
                throw new AssertionError("read other bytes than were written");
            }
            free.add(slot);
        };
        int started = 0;
        try {
            while (started < accesses || free.size() < window) {
                while (started < accesses && !free.isEmpty()) {
                    int slot = free.removeLast();
                    // Within a page, where order is kept.
                    int at = random.nextInt(pages) * PAGE + random.nextInt(PAGE - 64);
                    boolean write = random.nextBoolean();
                    if (write) {
                        byte[] bytes = new byte[64];
                        random.nextBytes(bytes);
                        buffers[slot].copyFrom(MemorySegment.ofArray(bytes));
                        MemorySegment.copy(buffers[slot], ValueLayout.JAVA_BYTE, 0, model, at, 64);
                        expected[slot] = null;
                    } else {
                        expected[slot] = java.util.Arrays.copyOfRange(model, at, at + 64);
                    }
                    Result result = device.start(
                            write ? Access.WRITE : Access.READ,
                            base + at,
                            buffers[slot],
                            0,
                            64,
                            FaultProducer.NO_PASID,
                            slot);
                    if (result != Result.OK) {
                        throw new AssertionError("start " + result);
                    }
                    started++;
                }
                if (!device.step() && device.poll(sink) == 0) {
                    device.await(1_000_000);
                }
                device.poll(sink);
            }
        } finally {
            device.leave();
        }
    }

    /** Two threads, each stepping a device and handling faults itself, evict from each other. */
    @Test
    void handlersOnSteppingThreadsEvictFromEachOther() throws Exception {
        Random seeds = Seeds.random("ConcurrencyTest.handlers");
        try (Arena arena = Arena.ofShared();
                Iommu iommu = Iommu.open(IommuConfig.small().withFrames(64))) {
            List<Thread> running = new ArrayList<>();
            List<FaultQueue> queues = new ArrayList<>();
            List<AddressSpace> spaces = new ArrayList<>();
            List<Backing> backings = new ArrayList<>();
            for (int t = 0; t < 2; t++) {
                queues.add(FaultQueue.open(QueueConfig.of(16)));
                spaces.add(iommu.addressSpace(TableFormat.X86_4_LEVEL, queues.get(t)));
                backings.add(new Backing(arena, 16));
            }
            for (int t = 0; t < 2; t++) {
                int me = t;
                long seed = seeds.nextLong();
                Device device = iommu.device(DeviceConfig.pri("d" + t));
                device.attach(spaces.get(t));
                running.add(start("both-" + t, () -> {
                    Random random = new Random(seed);
                    var consumer = queues.get(me).consumer();
                    if (consumer.post(1, 16) != Result.OK || !device.enter()) {
                        throw new AssertionError("set-up");
                    }
                    MemorySegment value = arena.allocate(8);
                    long[] model = new long[16];
                    for (int i = 1; i <= 4000; i++) {
                        int page = random.nextInt(16);
                        boolean write = random.nextBoolean();
                        value.set(ValueLayout.JAVA_LONG, 0, write ? i : -1);
                        if (device.start(
                                        write ? Access.WRITE : Access.READ,
                                        BASE + (long) page * PAGE + 8,
                                        value,
                                        0,
                                        8,
                                        FaultProducer.NO_PASID,
                                        i)
                                != Result.OK) {
                            throw new AssertionError("start");
                        }
                        while (device.poll((tag, result) -> {
                                    if (result != AccessResult.OK) {
                                        throw new AssertionError(result.toString());
                                    }
                                })
                                == 0) {
                            device.step();
                            consumer.poll(
                                    (userData, group) -> {
                                        int missing = (int) ((group.address(0) - BASE) / PAGE);
                                        backings.get(me).evict(spaces.get(me), random.nextInt(16));
                                        backings.get(1 - me).evict(spaces.get(1 - me), random.nextInt(16));
                                        backings.get(me).bring(spaces.get(me), missing, random, device::step);
                                        if (consumer.answerAndRepost(group.cookie(), Answer.SUCCESS) != Result.OK) {
                                            throw new AssertionError("answer");
                                        }
                                    },
                                    16);
                            consumer.submit();
                        }
                        if (write) {
                            model[page] = i;
                        } else if (value.get(ValueLayout.JAVA_LONG, 0) != model[page]) {
                            throw new AssertionError("page " + page + " has " + value.get(ValueLayout.JAVA_LONG, 0)
                                    + ", written was " + model[page]);
                        }
                    }
                    device.leave();
                }));
            }
            for (Thread thread : running) {
                thread.join();
            }
            if (failure.get() != null) {
                throw new AssertionError("a thread failed", failure.get());
            }
            for (FaultQueue queue : queues) {
                assertTrue(
                        queue.accounting().balanced(), () -> queue.accounting().toString());
                assertEquals(0, queue.accounting().outstanding());
            }
            spaces.forEach(AddressSpace::close);
            queues.forEach(FaultQueue::close);
        }
    }

    @Test
    void manyThreadsShareOneDeviceWithBlockingAccesses() throws Exception {
        try (Arena arena = Arena.ofShared();
                Iommu iommu = Iommu.open(IommuConfig.small());
                FaultQueue queue = FaultQueue.open(QueueConfig.of(64));
                AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, queue);
                Device device = iommu.device(DeviceConfig.pri("shared"));
                var worker = queue.consumer().run(group -> {
                    space.zero(group.address(0));
                    return Answer.SUCCESS;
                })) {
            device.attach(space);
            List<Thread> running = new ArrayList<>();
            for (int t = 0; t < 3; t++) {
                int me = t;
                running.add(start("blocking-" + t, () -> {
                    MemorySegment out = arena.allocate(16);
                    MemorySegment back = arena.allocate(16);
                    for (int i = 0; i < 300; i++) {
                        out.fill((byte) (me * 50 + i));
                        long at = BASE + (long) (me * 64 + i % 64) * PAGE + PAGE - 8;
                        device.write(at, out);
                        device.read(at, back);
                        if (i % 64 != 63 && out.mismatch(back) != -1) {
                            throw new AssertionError("read other bytes than were written");
                        }
                    }
                }));
            }
            for (Thread thread : running) {
                thread.join();
            }
            if (failure.get() != null) {
                throw new AssertionError("a thread failed", failure.get());
            }
            assertTrue(worker.isRunning());
            assertTrue(queue.accounting().balanced());
            assertEquals(0, queue.accounting().outstanding());
            assertEquals(1800, device.counters().accesses());
        }
    }

    private Thread start(String name, Runnable body) {
        return Thread.ofPlatform().name(name).start(() -> {
            try {
                body.run();
            } catch (Throwable e) {
                failure.compareAndSet(null, e);
            }
        });
    }
}
