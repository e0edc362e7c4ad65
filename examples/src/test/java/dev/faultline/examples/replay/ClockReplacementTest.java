package dev.faultline.examples.replay;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

class ClockReplacementTest {
    private final Memory memory = new Memory();

    @Test
    void takesTheOldestWhereNothingWasUsed() {
        ClockReplacement clock = filled(3);
        assertEquals(1, clock.evictOne(memory));
        clock.add(4);
        assertEquals(2, clock.evictOne(memory));
        clock.add(5);
        assertEquals(3, clock.evictOne(memory));
        clock.add(6);
        assertEquals(4, clock.evictOne(memory));
        assertFalse(clock.contains(4));
        assertTrue(clock.contains(6));
    }

    @Test
    void passesOverAUsedPageOnce() {
        ClockReplacement clock = filled(3);
        memory.used.add(1L);
        assertEquals(2, clock.evictOne(memory));
        clock.add(4);
        assertEquals(3, clock.evictOne(memory));
        clock.add(5);
        assertEquals(1, clock.evictOne(memory));
    }

    @Test
    void goesRoundTwiceWhenEverythingWasUsed() {
        ClockReplacement clock = filled(4);
        memory.used.addAll(Set.of(1L, 2L, 3L, 4L));
        assertEquals(1, clock.evictOne(memory));
        assertTrue(memory.used.isEmpty());
    }

    @Test
    void passesOverWhatCannotGo() {
        ClockReplacement clock = filled(3);
        memory.busy.add(1L);
        assertEquals(2, clock.evictOne(memory));
        memory.busy.add(3L);
        assertEquals(ClockReplacement.NO_VICTIM, clock.evictOne(memory));
        assertEquals(2, clock.size());
        assertFalse(clock.isFull());
    }

    @Test
    void takesWhatIsInUseWhereEverythingStaysInUse() {
        ClockReplacement clock = filled(3);
        memory.alwaysUsed.addAll(Set.of(1L, 2L, 3L));
        memory.busy.add(2L);
        assertEquals(3, clock.evictOne(memory), "2 is busy, and 1 was looked at last in the second round");
        assertFalse(clock.contains(3));
    }

    @Test
    void worksWithASingleFrame() {
        ClockReplacement clock = filled(1);
        memory.used.add(1L);
        assertEquals(1, clock.evictOne(memory));
        clock.add(2);
        assertTrue(clock.isFull());
        assertEquals(2, clock.evictOne(memory));
    }

    private static ClockReplacement filled(int frames) {
        ClockReplacement clock = new ClockReplacement(frames);
        for (int key = 1; key <= frames; key++) {
            assertFalse(clock.isFull());
            clock.add(key);
        }
        assertTrue(clock.isFull());
        return clock;
    }

    private static final class Memory implements ClockReplacement.Residents {
        private final Set<Long> used = new HashSet<>();
        private final Set<Long> alwaysUsed = new HashSet<>();
        private final Set<Long> busy = new HashSet<>();

        @Override
        public boolean usedSince(long key) {
            return used.remove(key) || alwaysUsed.contains(key);
        }

        @Override
        public boolean evict(long key) {
            return !busy.contains(key);
        }
    }
}
