package dev.faultline.iommu.tlb;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.Seeds;
import dev.faultline.iommu.table.Translation;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Scenarios of ATS that end at the device TLB. */
class DeviceTlbTest {
    private static final int NONE = TlbTag.NO_PASID;
    private static final int RIGHTS = Translation.RIGHTS;

    private final DeviceTlb tlb = new DeviceTlb(64);

    @BeforeEach
    void threePasidsAtOnePage() {
        for (int pasid = NONE; pasid <= 2; pasid++) {
            if (pasid != 0) {
                insert(pasid, 0x4000);
            }
        }
    }

    private void insert(int pasid, long address) {
        tlb.insert(pasid, address, Translation.of(address + 0x100_0000, RIGHTS, 12), false);
    }

    private boolean has(int pasid, long address) {
        long word = tlb.lookup(pasid, address);
        assertTrue(word == 0 || Translation.page(word) == (address & -4096L) + 0x100_0000);
        return word != 0;
    }

    private void invalidate(int pasid, long word) {
        tlb.invalidate(pasid, AtsRange.base(word), AtsRange.size(word));
    }

    @Test
    void pcieAtsPri18EightKilobytes() {
        insert(1, 0x5000);
        insert(1, 0x6000);
        invalidate(1, 0x4000 | AtsRange.S);
        assertTrue(!has(1, 0x4000) && !has(1, 0x5fff));
        assertTrue(has(1, 0x6000));
    }

    @Test
    void pcieAtsPri19SixtyFourKilobytes() {
        for (long page = 0xff000; page <= 0x11_0000; page += 4096) {
            insert(NONE, page);
        }
        invalidate(NONE, 0x10_7000 | AtsRange.S);
        for (long page = 0x10_0000; page < 0x11_0000; page += 4096) {
            assertTrue(!has(NONE, page));
        }
        assertTrue(has(NONE, 0xff000) && has(NONE, 0x11_0000));
    }

    @Test
    void pcieAtsPri20Everything() {
        for (long everything : new long[] {0x7fff_ffff_ffff_f000L, 0xffff_ffff_ffff_f000L}) {
            insert(1, 0xffff_8000_0000_0000L);
            insert(NONE, 0xffff_ffff_ffff_f000L);
            tlb.insert(1, 0x4000_0000, Translation.of(0x4000_0000, RIGHTS, 30), false);
            long word = everything | AtsRange.S;
            tlb.invalidateEveryPasid(AtsRange.base(word), AtsRange.size(word), true);
            assertTrue(!has(NONE, 0x4000) && !has(1, 0x4000) && !has(2, 0x4000));
            assertTrue(!has(1, 0xffff_8000_0000_0000L) && !has(NONE, 0xffff_ffff_ffff_f000L));
            assertEquals(0, tlb.lookup(1, 0x4000_0000));
        }
    }

    @Test
    void pcieAtsPri21WithoutPasidAllGo() {
        tlb.invalidateEveryPasid(0x4000, 0, true);
        assertTrue(!has(NONE, 0x4000) && !has(1, 0x4000) && !has(2, 0x4000));
    }

    @Test
    void pcieAtsPri22WithPasidOneOrWithGlobalAllPasids() {
        invalidate(1, 0x4000);
        assertTrue(!has(1, 0x4000) && has(2, 0x4000) && has(NONE, 0x4000));
        insert(1, 0x4000);
        tlb.invalidateEveryPasid(0x4000, 0, false);
        assertTrue(!has(1, 0x4000) && !has(2, 0x4000) && has(NONE, 0x4000));
    }

    @Test
    void aGlobalEntryHoldsForEveryPasidAndGoesWithAny() {
        tlb.insert(7, 0x9000, Translation.of(0x100_9000, RIGHTS, 12), true);
        assertTrue(has(7, 0x9000) && has(8, 0x9000) && !has(NONE, 0x9000));
        tlb.invalidate(NONE, 0x9000, 0);
        assertTrue(has(8, 0x9000), "an invalidation of the entries without PASID");
        tlb.invalidate(3, 0x8000, 1);
        assertTrue(!has(7, 0x9000) && !has(8, 0x9000));
        tlb.insert(7, 0x20_0000, Translation.of(0x120_0000, RIGHTS, 21), true);
        assertTrue(has(1, 0x3f_f000));
        tlb.invalidate(1, 0x30_0000, 0);
        assertTrue(!has(2, 0x20_0000));
    }

    @Test
    void anInvalidationTakesTheLargerEntryItReachesInto() {
        tlb.insert(1, 0x20_0000, Translation.of(0x120_0000, RIGHTS, 21), false);
        assertTrue(has(1, 0x2f_f000));
        invalidate(1, 0x3f_f000);
        assertTrue(!has(1, 0x20_0000));
    }

    @Test
    void stayingUsableIsRightUntilInvalidated() {
        for (int i = 0; i < 1000; i++) {
            assertTrue(has(1, 0x4000));
        }
    }

    /** Against a map of all that was ever granted: what an invalidation reached is gone, what is found is the newest. */
    @Test
    void neverFindsWhatAnInvalidationReached() {
        Random random = Seeds.random("DeviceTlbTest.neverFindsWhatAnInvalidationReached");
        tlb.clear();
        record Key(int pasid, long base, int size, boolean global) {}
        Map<Key, Long> oracle = new HashMap<>();
        int[] sizes = {0, 0, 1, 4, 9, 18, AtsRange.EVERYTHING};
        for (int i = 0; i < 200_000; i++) {
            int pasid = random.nextInt(4) - 1;
            long address = ((long) random.nextInt(1 << 10) << 12) + (random.nextInt(4) == 0 ? -1L << 40 : 0);
            if (random.nextInt(64) == 0) {
                tlb.clear();
                oracle.clear();
            }
            switch (random.nextInt(8)) {
                case 0 -> {
                    int size = random.nextInt(AtsRange.EVERYTHING + 1);
                    int how = random.nextInt(4);
                    if (how == 0) {
                        tlb.invalidateEveryPasid(address, size, true);
                    } else if (how == 1) {
                        tlb.invalidateEveryPasid(address, size, false);
                    } else {
                        tlb.invalidate(pasid, address, size);
                    }
                    oracle.keySet()
                            .removeIf(k -> common(k.base, address, Math.max(size, k.size))
                                    && (how == 0
                                            || (how == 1 && k.pasid != NONE)
                                            || (how > 1 && (k.pasid == pasid || (k.global && pasid != NONE)))));
                }
                case 1, 2, 3 -> {
                    int size = sizes[random.nextInt(sizes.length - (random.nextInt(50) == 0 ? 0 : 1))];
                    boolean global = random.nextInt(16) == 0 && pasid != NONE;
                    long word = Translation.of(i, RIGHTS, 12 + size) | ((long) i << 12 & Translation.PAGE_MASK);
                    tlb.insert(pasid, address, word, global);
                    oracle.put(new Key(global ? -2 : pasid, base(address, size), size, global), word);
                }
                default -> {
                    long word = tlb.lookup(pasid, address);
                    if (word != 0) {
                        int size = Translation.sizeLg2(word) - 12;
                        Long own = oracle.get(new Key(pasid, base(address, size), size, false));
                        Long global = oracle.get(new Key(-2, base(address, size), size, true));
                        assertTrue(
                                matches(own, word, size) || (pasid != NONE && matches(global, word, size)),
                                "step " + i);
                    }
                }
            }
        }
    }

    private static boolean matches(@Nullable Long kept, long word, int size) {
        long inside = size == AtsRange.EVERYTHING ? -1L : (1L << (12 + size)) - 1;
        return kept != null && ((kept ^ word) & ~inside & Translation.PAGE_MASK) == 0;
    }

    private static boolean common(long a, long b, int size) {
        return base(a, size) == base(b, size);
    }

    private static long base(long address, int size) {
        return size >= AtsRange.EVERYTHING ? 0 : address & -1L << (12 + size);
    }
}
