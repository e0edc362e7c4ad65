package dev.faultline.iommu.tlb;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class WalkCacheTest {
    private static final int SIZE = 9;
    private static final long TABLE = 0x12_3000 | 0x3f;

    private final WalkCache cache = new WalkCache(16);

    @Test
    void findsTheTableOfEveryAddressItIsForAndOfNoOther() {
        assertTrue(cache.insert(1, 0x4020_0000, SIZE, TABLE, cache.sequence()));
        assertEquals(TABLE, cache.lookup(1, 0x4020_0000, SIZE));
        assertEquals(TABLE, cache.lookup(1, 0x403f_ffff, SIZE));
        assertEquals(0, cache.lookup(1, 0x4040_0000, SIZE));
        assertEquals(0, cache.lookup(2, 0x4020_0000, SIZE));
    }

    @Test
    void forgetsTablesInARangeOfADomainAndAll() {
        assertTrue(cache.insert(1, 0x4020_0000, SIZE, TABLE, cache.sequence()));
        assertTrue(cache.insert(2, 0x4020_0000, SIZE, TABLE, cache.sequence()));
        cache.invalidate(1, 0x4000_0000, 0);
        assertEquals(TABLE, cache.lookup(1, 0x4020_0000, SIZE));
        cache.invalidate(1, 0x4030_0000, 0);
        assertEquals(0, cache.lookup(1, 0x4020_0000, SIZE));
        cache.invalidate(Iotlb.ANY_DOMAIN, 0, Iotlb.EVERYTHING);
        assertEquals(0, cache.lookup(2, 0x4020_0000, SIZE));
    }

    @Test
    void refusesAFillThatAnInvalidationOvertook() {
        long before = cache.sequence();
        cache.invalidate(1, 0, Iotlb.EVERYTHING);
        assertFalse(cache.insert(1, 0x4020_0000, SIZE, TABLE, before));
        assertEquals(0, cache.lookup(1, 0x4020_0000, SIZE));
    }
}
