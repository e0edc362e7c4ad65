package dev.faultline.iommu.tlb;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class AtsRangeTest {
    @Test
    void readsTheTableOfSizes() {
        assertRange(0x4000, 0x4000, 0);
        assertRange(0x4000 | AtsRange.S, 0x4000, 1);
        assertRange(0x5000 | AtsRange.S, 0x4000, 2);
        assertRange(0xb000 | AtsRange.S, 0x8000, 3);
        assertRange(0x10_7000 | AtsRange.S, 0x10_0000, 4);
        assertRange(0xf_f000 | AtsRange.S, 0, 9);
        assertRange(0x4f_f000 | AtsRange.S, 0x40_0000, 9);
        assertRange(0x7fff_ffff_ffff_f000L | AtsRange.S, 0, AtsRange.EVERYTHING);
        assertRange(0xffff_ffff_ffff_f000L | AtsRange.S, 0, AtsRange.EVERYTHING);
        assertRange(0x3fff_ffff_ffff_f000L | AtsRange.S, 0, 51);
        assertRange(0xbfff_ffff_ffff_f000L | AtsRange.S, 1L << 63, 51);
    }

    @Test
    void readsWhatItWrites() {
        for (int size = 0; size <= AtsRange.EVERYTHING; size++) {
            for (long address : new long[] {0, 0x1234_5678_9abc_d000L, -1L, 1L << 63}) {
                long word = AtsRange.encode(address, size);
                assertEquals(size, AtsRange.size(word));
                assertEquals(size >= AtsRange.EVERYTHING ? 0 : address & -1L << (12 + size), AtsRange.base(word));
                assertEquals(0, word & AtsRange.S - 1);
            }
        }
        assertEquals(0x7fff_ffff_ffff_f000L | AtsRange.S, AtsRange.encode(0x5000, AtsRange.EVERYTHING));
    }

    @Test
    void findsTheSmallestRangeThatHoldsSomeBytes() {
        assertEquals(0, AtsRange.covering(0x4000, 0x4fff));
        assertEquals(1, AtsRange.covering(0x4000, 0x5fff));
        assertEquals(2, AtsRange.covering(0x5000, 0x6fff));
        assertEquals(AtsRange.EVERYTHING, AtsRange.covering(0, -1L));
        assertTrue(AtsRange.covering(0x7fff_ffff_ffffL, 0x8000_0000_0000L) == 36);
        assertThrows(IllegalArgumentException.class, () -> AtsRange.encode(0, 53));
    }

    private static void assertRange(long word, long base, int size) {
        assertEquals(size, AtsRange.size(word));
        assertEquals(base, AtsRange.base(word));
    }
}
