package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.iommu.iommufd.mock.MockDriver;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Two devices ask, two threads read, two answer, and two more replace, attach, detach, make and destroy, all at once: every group gets
 * one answer, and only one.
 */
class CallsOfManyThreadsTest {
    private static final long SEED = 20_251_121;
    private static final int GROUPS = 4_000;
    private static final int TEST = 0x3ba0;
    private static final int HWPT_ALLOC = 0x3b89;
    private static final int REPLACE = 10;
    private static final int DEVICE = 12;
    private static final int TRIGGER = 15;
    private static final int PASID_ATTACH = 18;
    private static final int PASID_REPLACE = 19;
    private static final int PASID_DETACH = 20;
    private static final long NESTED_DATA = 0x1_0000_0000L;

    private final UserMemory memory = new UserMemory();
    private final MockDriver driver = MockDriver.open();
    private final SystemCalls calls = SystemCalls.open(memory, driver);
    private final AtomicInteger threads = new AtomicInteger();
    private final AtomicInteger asking = new AtomicInteger();
    private final AtomicInteger lateAnswers = new AtomicInteger();

    /** The memory of one thread of the program. */
    private final class Caller {
        final long at = 0x2_0000_0000L + 0x10000L * threads.incrementAndGet();
        final MemorySegment page = MemorySegment.ofArray(new long[2048]);
        final SplittableRandom random = new SplittableRandom(SEED + at);

        Caller() {
            memory.map(at, page, true);
        }

        int ioctl(int request, int... words) {
            MemorySegment.copy(words, 0, page, ValueLayout.JAVA_INT, 0, words.length);
            return calls.ioctl(3, request, at);
        }

        int test(int... words) {
            page.asSlice(0, 72).fill((byte) 0);
            page.set(ValueLayout.JAVA_INT, 0, 72);
            MemorySegment.copy(words, 0, page, ValueLayout.JAVA_INT, 4, words.length);
            return calls.ioctl(3, TEST, at);
        }

        int word(int i) {
            return page.get(ValueLayout.JAVA_INT, 4L * i);
        }

        int made(int word, int request, int... words) {
            assertEquals(0, ioctl(request, words));
            return word(word);
        }

        int nested(int device, int parent, int queue) {
            return made(4, HWPT_ALLOC, 48, 12, device, parent, 0, 0, 0xdead, 8, 0, 1, queue, 0);
        }
    }

    private record Told(String device, int pasid, int group) {}

    @Test
    @Timeout(value = 2, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
    void everyGroupIsAnsweredOnce() throws Exception {
        memory.map(NESTED_DATA, MemorySegment.ofArray(new long[] {0xbadbeef}), true);
        Caller main = new Caller();
        assertEquals(3, calls.open(SystemCalls.DEVICE, 2));
        int space = main.made(2, 0x3b81, 12, 0, 0);
        int[] mocks = new int[2];
        int[] devices = new int[2];
        for (int i = 0; i < 2; i++) {
            assertEquals(0, main.test(DEVICE, space, 0, 0, 0, 0, 4));
            mocks[i] = main.word(4);
            devices[i] = main.word(6);
        }
        int parent = main.made(4, HWPT_ALLOC, 48, 9, devices[0], space, 0, 0, 0, 0, 0, 0, 0, 0);
        int[] queues = new int[2];
        int[] files = new int[2];
        int[] tables = new int[3];
        for (int i = 0; i < 2; i++) {
            queues[i] = main.made(2, 0x3b8e, 16, 0, 0, 0);
            files[i] = main.word(3);
            tables[i] = main.nested(devices[0], parent, queues[i]);
        }
        tables[2] = main.made(4, HWPT_ALLOC, 48, 8, devices[0], space, 0, 0, 0, 0, 0, 0, 0, 0);
        for (int mock : mocks) {
            assertEquals(0, main.test(REPLACE, mock, 0, tables[0]));
        }
        ConcurrentLinkedQueue<long[]> read = new ConcurrentLinkedQueue<>();
        asking.set(2);
        List<Callable<Void>> work = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            int one = i;
            Caller asker = new Caller();
            Caller reader = new Caller();
            Caller writer = new Caller();
            work.add(() -> {
                ask(asker, devices[one]);
                return null;
            });
            work.add(() -> {
                read(reader, files[one], read);
                return null;
            });
            work.add(() -> {
                write(writer, read);
                return null;
            });
        }
        Caller attacher = new Caller();
        work.add(() -> {
            attach(attacher, mocks, tables);
            return null;
        });
        Caller maker = new Caller();
        work.add(() -> {
            make(maker, devices[0], parent, queues);
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
        for (int mock : mocks) {
            for (int pasid = 1; pasid < 3; pasid++) {
                var _ = main.test(PASID_DETACH, mock, 0, pasid);
            }
            assertEquals(0, main.test(REPLACE, mock, 0, tables[2]));
        }
        for (int file : files) {
            assertEquals(0, calls.read(file, main.at, 4000), "nothing is left");
        }
        Map<Told, Integer> answers = new HashMap<>();
        for (MockDriver.Response told : driver.takeResponses()) {
            answers.merge(new Told(told.device(), told.pasid(), told.group()), 1, Integer::sum);
        }
        answers.forEach((group, count) -> assertEquals(1, count, () -> group + ", seed " + SEED));
        assertEquals(2 * GROUPS, answers.size(), () -> "answers, seed " + SEED);
        assertTrue(lateAnswers.get() >= 0);
        calls.close();
        driver.close();
    }

    /** Raises groups, each with a number of its own. */
    private void ask(Caller caller, int device) {
        try {
            for (int group = 0; group < GROUPS; group++) {
                assertEquals(0, caller.test(TRIGGER, 0, 0, device, group % 3, group, 3, group << 12, 0));
            }
        } finally {
            asking.decrementAndGet();
        }
    }

    private void read(Caller caller, int file, ConcurrentLinkedQueue<long[]> read) {
        for (boolean last = false; ; ) {
            long bytes = calls.read(file, caller.at, (long) PageFaultLayout.SIZE * caller.random.nextInt(1, 20));
            assertTrue(bytes >= 0);
            for (long at = PageFaultLayout.COOKIE_OFFSET; at < bytes; at += PageFaultLayout.SIZE) {
                read.add(new long[] {file, caller.page.get(ValueLayout.JAVA_INT, at)});
            }
            if (bytes == 0) {
                if (last) {
                    return;
                }
                last = asking.get() == 0;
                var _ = calls.poll(file, 1, 1);
            }
        }
    }

    private void write(Caller caller, ConcurrentLinkedQueue<long[]> read) {
        while (asking.get() > 0 || !read.isEmpty()) {
            long[] next = read.poll();
            if (next == null) {
                Thread.onSpinWait();
                continue;
            }
            caller.page.set(ValueLayout.JAVA_INT, 0, (int) next[1]);
            caller.page.set(ValueLayout.JAVA_INT, 4, caller.random.nextInt(2));
            if (calls.write((int) next[0], caller.at, 8) != 8) {
                lateAnswers.incrementAndGet();
            }
        }
    }

    private void attach(Caller caller, int[] mocks, int[] tables) {
        while (asking.get() > 0) {
            int mock = mocks[caller.random.nextInt(2)];
            int table = tables[caller.random.nextInt(3)];
            int pasid = caller.random.nextInt(1, 3);
            switch (caller.random.nextInt(4)) {
                case 0 -> {
                    var _ = caller.test(PASID_ATTACH, mock, 0, pasid, table);
                }
                case 1 -> {
                    var _ = caller.test(PASID_REPLACE, mock, 0, pasid, table);
                }
                case 2 -> assertEquals(0, caller.test(PASID_DETACH, mock, 0, pasid));
                default -> assertEquals(0, caller.test(REPLACE, mock, 0, table));
            }
        }
    }

    private void make(Caller caller, int device, int parent, int[] queues) {
        while (asking.get() > 0) {
            int table = caller.nested(device, parent, queues[caller.random.nextInt(2)]);
            assertTrue(caller.ioctl(0x3b80, 8, queues[0]) < 0, "held by its descriptor");
            assertEquals(0, caller.ioctl(0x3b80, 8, table));
        }
    }
}
