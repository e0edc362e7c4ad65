package dev.faultline.ffm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

class SharedWordsTest {
    @Test
    void everyWriteIsReadBackByEveryReadAndTouchesNothingElse() {
        try (Region region = Region.allocate(64)) {
            MemorySegment s = region.segment();
            SharedWords.putInt(s, 4, -2);
            assertEquals(-2, SharedWords.getInt(s, 4));
            SharedWords.setIntOpaque(s, 4, 3);
            assertEquals(3, SharedWords.getIntOpaque(s, 4));
            SharedWords.setIntRelease(s, 4, 4);
            assertEquals(4, SharedWords.getIntAcquire(s, 4));
            SharedWords.setIntVolatile(s, 4, 5);
            assertEquals(5, SharedWords.getIntVolatile(s, 4));
            assertEquals(5, SharedWords.getAndAddInt(s, 4, 10));
            assertEquals(15, SharedWords.getAndSetInt(s, 4, 16));
            assertFalse(SharedWords.compareAndSetInt(s, 4, 15, 17));
            assertTrue(SharedWords.compareAndSetInt(s, 4, 16, 17));
            assertEquals(17, SharedWords.getInt(s, 4));
            assertEquals(0, SharedWords.getInt(s, 0));
            assertEquals(0, SharedWords.getInt(s, 8));

            SharedWords.putLong(s, 24, -2L);
            assertEquals(-2L, SharedWords.getLong(s, 24));
            SharedWords.setLongOpaque(s, 24, 3L);
            assertEquals(3L, SharedWords.getLongOpaque(s, 24));
            SharedWords.setLongRelease(s, 24, 4L);
            assertEquals(4L, SharedWords.getLongAcquire(s, 24));
            SharedWords.setLongVolatile(s, 24, 5L);
            assertEquals(5L, SharedWords.getLongVolatile(s, 24));
            assertEquals(5L, SharedWords.getAndAddLong(s, 24, 1L << 40));
            assertEquals((1L << 40) + 5, SharedWords.getAndSetLong(s, 24, 16L));
            assertFalse(SharedWords.compareAndSetLong(s, 24, 15L, 17L));
            assertTrue(SharedWords.compareAndSetLong(s, 24, 16L, Long.MIN_VALUE));
            assertEquals(Long.MIN_VALUE, SharedWords.getLong(s, 24));
            assertEquals(0L, SharedWords.getLong(s, 16));
            assertEquals(0L, SharedWords.getLong(s, 32));
            SharedWords.fullFence();
        }
    }

    @Test
    void aWordBeyondTheSegmentOrOffItsAlignmentIsRefused() {
        try (Region region = Region.allocate(64)) {
            MemorySegment s = region.segment();
            assertThrows(IndexOutOfBoundsException.class, () -> SharedWords.getLong(s, 64));
            assertThrows(IndexOutOfBoundsException.class, () -> SharedWords.getLong(s, -8));
            assertThrows(IndexOutOfBoundsException.class, () -> SharedWords.setIntRelease(s, 64, 1));
            assertThrows(IllegalArgumentException.class, () -> SharedWords.getLongAcquire(s, 4));
            assertThrows(IllegalArgumentException.class, () -> SharedWords.compareAndSetInt(s, 2, 0, 1));
        }
    }
}
