package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class FramesTest {
    private static final int TOTAL = 32;

    private final Region memory = Region.allocate((long) TOTAL * Frames.BYTES);
    private final Region words = Region.allocate(Frames.wordsBytes(TOTAL));
    private final Frames frames = new Frames(memory.segment(), words.segment());

    @AfterEach
    void free() {
        memory.close();
        words.close();
    }

    @Test
    void handsOutEachFrameOnceAndThenNone() {
        Set<Long> taken = new HashSet<>();
        for (int i = 0; i < TOTAL; i++) {
            assertEquals(TOTAL - i, frames.freeCount());
            long address = frames.allocate();
            assertEquals(0, address % Frames.BYTES);
            assertTrue(taken.add(address));
        }
        assertEquals(-1, frames.allocate());
        assertEquals(
                "no frame for a page: 32 of 32 in use", frames.none("a page").getMessage());
        taken.forEach(frames::free);
        assertEquals(TOTAL, frames.freeCount());
    }

    @Test
    void refusesWhatIsNoAllocatedFrame() {
        long address = frames.allocate();
        frames.free(address);
        assertThrows(IllegalStateException.class, () -> frames.free(address));
        assertThrows(IllegalArgumentException.class, () -> frames.free(address + 1));
        assertThrows(IllegalArgumentException.class, () -> frames.free((long) TOTAL * Frames.BYTES));
        assertThrows(IllegalArgumentException.class, () -> frames.free(-Frames.BYTES));
        assertThrows(IllegalArgumentException.class, () -> frames.segment(-1));
        assertEquals(TOTAL, frames.freeCount());
    }

    @Test
    void neverGivesOneFrameToTwoThreads() throws InterruptedException {
        AtomicLong clashes = new AtomicLong();
        List<Thread> threads = new ArrayList<>();
        for (int t = 1; t <= 3; t++) {
            long stamp = t;
            threads.add(Thread.ofPlatform().start(() -> {
                for (int i = 0; i < 50_000; i++) {
                    long a = frames.allocate();
                    long b = frames.allocate();
                    clashes.addAndGet(used(a, stamp) + used(b, stamp));
                    release(a);
                    release(b);
                }
            }));
        }
        for (Thread thread : threads) {
            thread.join();
        }
        assertEquals(0, clashes.get());
        assertEquals(TOTAL, frames.freeCount());
    }

    private long used(long address, long stamp) {
        return address < 0 || SharedWords.compareAndSetLong(frames.memory(), address, 0, stamp) ? 0 : 1;
    }

    private void release(long address) {
        if (address >= 0) {
            SharedWords.setLongRelease(frames.memory(), address, 0);
            frames.free(address);
        }
    }
}
