package dev.faultline.ffm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

class RegionTest {
    @Test
    void isZeroedAndAligned() {
        try (Region region = Region.allocate(1000)) {
            assertEquals(1000, region.bytes());
            assertEquals(0, region.segment().address() % CacheLine.BYTES);
            for (long i = 0; i < 1000; i += 8) {
                assertEquals(0L, SharedWords.getLong(region.segment(), i));
            }
        }
    }

    @Test
    void anAccessAfterCloseThrows() {
        Region region = Region.allocate(64);
        MemorySegment segment = region.segment();
        region.close();
        region.close();
        assertFalse(region.isOpen());
        assertThrows(IllegalStateException.class, () -> SharedWords.getLong(segment, 0));
    }

    @Test
    void closingUnderAReaderThrowsThereAndNeverTouchesFreedMemory() throws Exception {
        for (int round = 0; round < 20; round++) {
            Region region = Region.allocate(4096);
            CountDownLatch reading = new CountDownLatch(1);
            AtomicReference<Throwable> seen = new AtomicReference<>();
            Thread reader = Thread.ofPlatform().start(() -> {
                try {
                    for (long i = 0; ; i = (i + 8) & 4095) {
                        assertEquals(0L, SharedWords.getLongAcquire(region.segment(), i));
                        reading.countDown();
                    }
                } catch (Throwable t) {
                    seen.set(t);
                }
            });
            reading.await();
            region.close();
            reader.join();
            assertTrue(seen.get() instanceof IllegalStateException, () -> "" + seen.get());
        }
    }

    @Test
    void aBadSizeIsNamed() {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> Region.allocate(0));
        assertEquals("bytes=0: allowed 1 or more", e.getMessage());
    }

    @Test
    void cacheLineArithmetic() {
        assertEquals(0, CacheLine.alignUp(0));
        assertEquals(128, CacheLine.alignUp(1));
        assertEquals(128, CacheLine.alignUp(128));
        assertEquals(256, CacheLine.alignUp(129));
        assertThrows(IllegalArgumentException.class, () -> CacheLine.alignUp(-1));
        assertThrows(IllegalArgumentException.class, () -> CacheLine.alignUp(Long.MAX_VALUE));
        assertTrue(CacheLine.isPowerOfTwo(1));
        assertTrue(CacheLine.isPowerOfTwo(1L << 62));
        assertFalse(CacheLine.isPowerOfTwo(0));
        assertFalse(CacheLine.isPowerOfTwo(Long.MIN_VALUE));
        assertFalse(CacheLine.isPowerOfTwo(6));
        assertEquals(1, CacheLine.ceilingPowerOfTwo(1));
        assertEquals(2, CacheLine.ceilingPowerOfTwo(2));
        assertEquals(4, CacheLine.ceilingPowerOfTwo(3));
        assertEquals(1 << 30, CacheLine.ceilingPowerOfTwo(1 << 30));
        assertThrows(IllegalArgumentException.class, () -> CacheLine.ceilingPowerOfTwo(0));
        assertThrows(IllegalArgumentException.class, () -> CacheLine.ceilingPowerOfTwo((1 << 30) + 1));
    }

    @Test
    void countsWhatIsOpen() {
        long before = Region.openBytes();
        Region region = Region.allocate(8192);
        try (region) {
            assertEquals(8192, Region.openBytes() - before);
            assertThrows(IllegalArgumentException.class, () -> Region.allocate(0));
            assertEquals(8192, Region.openBytes() - before);
        }
        region.close();
        assertEquals(before, Region.openBytes(), "freed once");
    }
}
