package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.iommufd.mock.MockDriver;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Bounds and liveness of fault queues, by number: 225 and 227 of section Q. */
class LivenessScenariosTest {
    private static final int ASKING = 4;
    private static final int ANSWERING = 4;
    private static final int WINDOW = 32;
    private static final long MOST_GROWN = 16L << 20;
    private static final int TEST = 0x3ba0;
    private static final int TRIGGER = 15;
    private static final long LATE = 0x3_0000_0000L;

    private final FaultProgram faults = new FaultProgram();

    @AfterEach
    void close() {
        faults.close();
    }

    /** The memory of one thread of the program. */
    private final class Caller {
        private static final AtomicInteger THREADS = new AtomicInteger();

        final long at = 0x4_0000_0000L + 0x10000L * THREADS.incrementAndGet();
        final MemorySegment page = MemorySegment.ofArray(new long[2048]);

        Caller() {
            faults.program.memory.map(at, page, true);
        }

        int fault(int device, int group) {
            int[] words = {72, TRIGGER, 0, 0, device, 0, group, 3, group << 12, 0, 0, 0, 0, 0, 0, 0, 0, 0};
            MemorySegment.copy(words, 0, page, ValueLayout.JAVA_INT, 0, words.length);
            return faults.calls.ioctl(faults.program.fd, TEST, at);
        }

        int word(long offset) {
            return page.get(ValueLayout.JAVA_INT, offset);
        }
    }

    @Test
    @Timeout(value = 1, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
    void scenario225AReaderInSlowMemoryHoldsUpNobodyWhoReports() throws Exception {
        CountDownLatch touched = new CountDownLatch(1);
        CountDownLatch there = new CountDownLatch(1);
        MemorySegment late = MemorySegment.ofArray(new long[512]);
        faults.program.memory.map(LATE, late, true, () -> {
            touched.countDown();
            try {
                there.await();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        });
        int table = faults.attachFaulting();
        faults.last(faults.first, 0, 1, 0x1000);
        try (ExecutorService reader = Executors.newSingleThreadExecutor()) {
            Future<Long> read = reader.submit(() -> faults.calls.read(faults.fd, LATE, FaultProgram.RECORD));
            touched.await();
            Caller reporting = new Caller();
            for (int group = 2; group <= 100; group++) {
                assertEquals(0, reporting.fault(faults.first.id(), group), "reported, while the reader waits");
            }
            assertFalse(read.isDone());
            there.countDown();
            assertEquals(FaultProgram.RECORD, read.get());
        }
        assertEquals(1, late.get(ValueLayout.JAVA_INT, 12), "the group that was being copied");
        List<FaultProgram.Message> queued = faults.messages(faults.fd, 200);
        assertEquals(99, queued.size());
        for (int i = 0; i < queued.size(); i++) {
            assertEquals(2 + i, queued.get(i).group());
        }
        assertEquals(List.of(), faults.told());
        assertEquals(0, faults.program.replace(faults.first, faults.quiet()));
        assertEquals(0, faults.program.destroy(table));
        assertEquals(100, faults.told().size(), "each answered once");
    }

    @Test
    @Timeout(value = 5, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
    void scenario227AMillionGroupsOnEightThreads() throws Exception {
        int table = faults.faulting(faults.queue);
        int[] devices = new int[ASKING];
        for (int i = 0; i < ASKING; i++) {
            Program.Device device = faults.program.device(faults.ioas, Program.DEVICE_PASID);
            assertEquals(0, faults.program.replace(device, table));
            devices[i] = device.id();
        }
        cycles(devices, 100_000);
        long before = usedBytes();
        cycles(devices, 1_000_000);
        long grown = usedBytes() - before;
        assertTrue(grown < MOST_GROWN, () -> "grew by " + grown + " bytes");
        // Every cookie is free: the next ones are the lowest.
        assertEquals(0, faults.program.replace(faults.first, table));
        faults.last(faults.first, 0, 1, 0x1000);
        faults.last(faults.first, 0, 2, 0x1000);
        List<FaultProgram.Message> last = faults.messages(faults.fd, 2);
        assertEquals(
                List.of(1, 2), last.stream().map(FaultProgram.Message::cookie).toList());
        assertEquals(16, faults.write(faults.fd, 1, 0, 2, 0));
    }

    private static long usedBytes() {
        System.gc();
        Runtime all = Runtime.getRuntime();
        return all.totalMemory() - all.freeMemory();
    }

    /** Half of the threads ask, each for a device and with a bound on what is open; the others read and answer, all from one queue. */
    private void cycles(int[] devices, int groups) throws Exception {
        AtomicInteger[] open = new AtomicInteger[ASKING];
        AtomicLong answers = new AtomicLong();
        AtomicInteger highest = new AtomicInteger();
        List<Callable<Void>> work = new ArrayList<>();
        for (int i = 0; i < ASKING; i++) {
            int asker = i;
            open[i] = new AtomicInteger();
            Caller caller = new Caller();
            work.add(() -> {
                for (int group = 0; group < groups / ASKING; group++) {
                    while (open[asker].get() >= WINDOW) {
                        Thread.onSpinWait();
                        Thread.yield();
                    }
                    open[asker].getAndIncrement();
                    assertEquals(0, caller.fault(devices[asker], group));
                }
                return null;
            });
        }
        for (int i = 0; i < ANSWERING; i++) {
            Caller caller = new Caller();
            work.add(() -> {
                while (answers.get() < groups) {
                    answer(caller, devices, open, answers, highest);
                }
                return null;
            });
        }
        AtomicLong told = new AtomicLong();
        work.add(() -> {
            while (told.get() < groups) {
                for (MockDriver.Response response : faults.driver.takeResponses()) {
                    assertEquals(FaultProgram.SUCCESS, response.code());
                    told.getAndIncrement();
                }
                Thread.sleep(1);
            }
            return null;
        });
        ExecutorService pool = Executors.newFixedThreadPool(work.size());
        try {
            for (Future<Void> done : pool.invokeAll(work)) {
                done.get();
            }
        } finally {
            pool.shutdownNow();
        }
        assertEquals(groups, answers.get(), "answers written");
        assertEquals(groups, told.get(), "answers that devices were told");
        assertEquals(List.of(), faults.told(), "none twice");
        assertEquals(0, faults.read(faults.fd, 4000), "nothing is left");
        assertTrue(highest.get() <= ASKING * WINDOW, () -> "cookies grew to " + highest);
    }

    /** Reads a few groups, and answers them together. */
    private void answer(Caller caller, int[] devices, AtomicInteger[] open, AtomicLong answers, AtomicInteger highest) {
        long bytes = faults.calls.read(faults.fd, caller.at, 16L * FaultProgram.RECORD);
        assertTrue(bytes >= 0, () -> "read: " + bytes);
        if (bytes == 0) {
            Thread.yield();
            return;
        }
        int count = (int) (bytes / FaultProgram.RECORD);
        int[] from = new int[count];
        int[] cookies = new int[count];
        for (int i = 0; i < count; i++) {
            from[i] = caller.word((long) i * FaultProgram.RECORD + 4);
            cookies[i] = caller.word((long) i * FaultProgram.RECORD + 36);
            highest.accumulateAndGet(cookies[i], Math::max);
        }
        for (int i = 0; i < count; i++) {
            caller.page.set(ValueLayout.JAVA_INT, 8L * i, cookies[i]);
            caller.page.set(ValueLayout.JAVA_INT, 8L * i + 4, FaultProgram.SUCCESS);
        }
        assertEquals(8L * count, faults.calls.write(faults.fd, caller.at, 8L * count));
        answers.getAndAdd(count);
        for (int device : from) {
            for (int i = 0; i < devices.length; i++) {
                if (devices[i] == device) {
                    open[i].getAndDecrement();
                }
            }
        }
    }
}
