package dev.faultline.iommu.tlb;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.Seeds;
import dev.faultline.iommu.table.Translation;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class IotlbTest {
    private static final int RIGHTS = Translation.RIGHTS;
    private static final int NONE = TlbTag.NO_PASID;
    private static final int LG2_4K = 12;
    private static final int LG2_2M = 21;
    private static final int LG2_1G = 30;

    private final Iotlb iotlb = new Iotlb(16);

    private boolean insert(int domain, int pasid, long address, long physical, int sizeLg2) {
        return iotlb.insert(
                TlbTag.of(domain, pasid), address, Translation.of(physical, RIGHTS, sizeLg2), iotlb.sequence());
    }

    private long lookup(int domain, int pasid, long address) {
        return iotlb.lookup(TlbTag.of(domain, pasid), address);
    }

    @Test
    void findsWhatWasInsertedForThisDomainPasidAndPageOnly() {
        assertTrue(insert(1, NONE, 0x5000, 0x9000, LG2_4K));
        assertEquals(Translation.of(0x9000, RIGHTS, LG2_4K), lookup(1, NONE, 0x5fff));
        assertEquals(0, lookup(2, NONE, 0x5000));
        assertEquals(0, lookup(1, 0, 0x5000));
        assertEquals(0, lookup(1, NONE, 0x6000));
        assertTrue(insert(1, NONE, 0x5000, 0xa000, LG2_4K), "the newer one replaces it");
        assertEquals(0xa000, Translation.page(lookup(1, NONE, 0x5000)));
    }

    @Test
    void tellsTheWidestTagsApart() {
        int[] domains = {1, 63, 64, 65, TlbTag.MAX_DOMAINS - 64, TlbTag.MAX_DOMAINS};
        int[] pasids = {NONE, 0, 1, (1 << TlbTag.PASID_BITS) - 1};
        Iotlb wide = new Iotlb(1024);
        long physical = 0x1000;
        Map<Long, Long> kept = new HashMap<>();
        for (int domain : domains) {
            for (int pasid : pasids) {
                long tag = TlbTag.of(domain, pasid);
                assertEquals(domain, TlbTag.domain(tag));
                assertEquals(pasid, TlbTag.pasid(tag));
                long word = Translation.of(physical += 0x1000, RIGHTS, LG2_4K);
                assertTrue(wide.insert(tag, 0x0000_ffff_ffff_f000L, word, wide.sequence()));
                kept.put(tag, word);
            }
        }
        kept.forEach((tag, word) -> assertEquals(word, wide.lookup(tag, 0x0000_ffff_ffff_f123L)));
    }

    @Test
    void keepsEverySizeAndAnswersForThePageAskedFor() {
        assertTrue(insert(1, 7, 0x4000_0000, 0x8_0000_0000L, LG2_1G));
        assertTrue(insert(1, 7, 0x8020_0000L, 0x40_0000, LG2_2M));
        assertTrue(insert(1, 7, 0x8020_0000L + 0x20_0000, 0x3000, LG2_4K));
        assertTrue(insert(1, 7, 0x9001_0000L, 0x7001_0000L, 16));
        assertEquals(Translation.of(0x8_1234_5000L, RIGHTS, LG2_1G), lookup(1, 7, 0x5234_5678));
        assertEquals(Translation.of(0x5f_f000, RIGHTS, LG2_2M), lookup(1, 7, 0x803f_ffffL));
        assertEquals(Translation.of(0x3000, RIGHTS, LG2_4K), lookup(1, 7, 0x8040_0000L));
        assertEquals(0, lookup(1, 7, 0x8040_1000L));
        assertEquals(Translation.of(0x7001_f000L, RIGHTS, 16), lookup(1, 7, 0x9001_ffffL));
        assertEquals(0, lookup(1, 7, 0x9002_0000L));
    }

    @Test
    void aPageNumberIsNotTakenForThatOfAnotherSize() {
        assertTrue(insert(1, NONE, 0x20_0000, 0x9000, LG2_4K));
        assertTrue(insert(1, NONE, 0x4000_0000, 0x80_0000, LG2_2M));
        assertEquals(0, lookup(1, NONE, 0x20_1000));
        assertEquals(0, lookup(1, NONE, 0x0));
        assertEquals(0, lookup(1, NONE, 0x4020_0000));
    }

    @Test
    void invalidatesByPagePasidDomainAndAll() {
        for (int domain = 1; domain <= 2; domain++) {
            for (int pasid = NONE; pasid <= 1; pasid++) {
                assertTrue(insert(domain, pasid, 0x1000, 0x10_0000, LG2_4K));
            }
        }
        iotlb.invalidate(1, 0, 0x1000, 0);
        assertEquals(0, lookup(1, 0, 0x1000));
        assertTrue(lookup(1, 1, 0x1000) != 0 && lookup(1, NONE, 0x1000) != 0 && lookup(2, 0, 0x1000) != 0);
        iotlb.invalidate(2, 1, 0, Iotlb.EVERYTHING);
        assertEquals(0, lookup(2, 1, 0x1000));
        assertTrue(lookup(2, 0, 0x1000) != 0 && lookup(1, 1, 0x1000) != 0);
        iotlb.invalidate(1, Iotlb.ANY_PASID, 0x2000, 0);
        assertTrue(lookup(1, 1, 0x1000) != 0, "another page");
        iotlb.invalidate(1, Iotlb.ANY_PASID, 0x1000, 0);
        assertEquals(0, lookup(1, 1, 0x1000));
        assertEquals(0, lookup(1, NONE, 0x1000));
        assertTrue(lookup(2, 0, 0x1000) != 0);
        iotlb.invalidate(Iotlb.ANY_DOMAIN, Iotlb.ANY_PASID, 0, Iotlb.EVERYTHING);
        assertEquals(0, lookup(2, 0, 0x1000));
        assertEquals(0, lookup(2, NONE, 0x1000));
    }

    /** Against a map: whatever an invalidation touches is gone, whatever is found is what was put in last. */
    @Test
    void neverFindsWhatAnInvalidationTouched() {
        Random random = Seeds.random("IotlbTest.neverFindsWhatAnInvalidationTouched");
        Iotlb small = new Iotlb(64);
        record Kept(int domain, int pasid, long base, int size, long word) {
            boolean holds(int d, int p, long address) {
                return d == domain && p == pasid && address >>> (12 + size) == base >>> (12 + size);
            }
        }
        Map<String, Kept> oracle = new HashMap<>();
        int[] sizes = {0, 0, 0, 4, 9, 18};
        for (int i = 0; i < 200_000; i++) {
            int domain = 1 + random.nextInt(3);
            int pasid = random.nextInt(3) - 1;
            long address = (long) random.nextInt(1 << 20) << 12 & (random.nextBoolean() ? -1L : 0xf_f000L);
            switch (random.nextInt(8)) {
                case 0 -> {
                    int size = random.nextInt(22);
                    int whose = random.nextInt(4) == 0 ? Iotlb.ANY_PASID : pasid;
                    int of = random.nextInt(16) == 0 ? Iotlb.ANY_DOMAIN : domain;
                    small.invalidate(of, whose, address, size);
                    oracle.values()
                            .removeIf(k -> (of == Iotlb.ANY_DOMAIN || k.domain == of)
                                    && (whose == Iotlb.ANY_PASID || k.pasid == whose)
                                    && k.base >>> (12 + Math.max(size, k.size))
                                            == address >>> (12 + Math.max(size, k.size)));
                }
                case 1, 2, 3 -> {
                    int size = sizes[random.nextInt(sizes.length)];
                    long physical = ((long) random.nextInt(1 << 20) << (12 + size))
                            | (address & (1L << (12 + size)) - 1 & Translation.PAGE_MASK);
                    long word = Translation.of(physical, RIGHTS, 12 + size);
                    assertTrue(small.insert(TlbTag.of(domain, pasid), address, word, small.sequence()));
                    long base = address & -1L << (12 + size);
                    oracle.put(
                            domain + "/" + pasid + "/" + base + "/" + size, new Kept(domain, pasid, base, size, word));
                    assertTrue(small.lookup(TlbTag.of(domain, pasid), address) != 0);
                }
                default -> {
                    long word = small.lookup(TlbTag.of(domain, pasid), address);
                    if (word != 0) {
                        int size = Translation.sizeLg2(word) - 12;
                        Kept kept =
                                oracle.get(domain + "/" + pasid + "/" + (address & -1L << (12 + size)) + "/" + size);
                        if (kept == null || !kept.holds(domain, pasid, address)) {
                            throw new AssertionError("found what is gone, step " + i);
                        }
                        long inside = (1L << (12 + size)) - 1 & Translation.PAGE_MASK;
                        assertEquals((kept.word & ~inside) | (address & inside), word, "step " + i);
                    }
                }
            }
        }
    }

    @Test
    void refusesAFillThatAnInvalidationOvertook() {
        long before = iotlb.sequence();
        iotlb.invalidate(1, NONE, 0x7000, 0);
        assertFalse(iotlb.insert(TlbTag.of(1, NONE), 0x5000, Translation.of(0x9000, RIGHTS, LG2_4K), before));
        assertEquals(0, lookup(1, NONE, 0x5000));
    }

    @Test
    void staysBounded() {
        Random random = Seeds.random("IotlbTest.staysBounded");
        for (int i = 0; i < 10_000; i++) {
            long page = (long) random.nextInt(1 << 20) << 12;
            assertTrue(insert(3, NONE, page, page, LG2_4K));
            assertEquals(page, Translation.page(lookup(3, NONE, page)));
        }
        int kept = 0;
        for (long page = 0; page < 1 << 20; page++) {
            long value = lookup(3, NONE, page << 12);
            assertTrue(value == 0 || Translation.page(value) == page << 12);
            kept += value == 0 ? 0 : 1;
        }
        assertTrue(kept > 0 && kept <= 16, "kept " + kept);
    }

    /** Two threads fill while a third changes the translation and invalidates: what is gone is never found again. */
    @Test
    void neverShowsAnOldTranslationAfterAnInvalidation() throws InterruptedException {
        AtomicLong entry = new AtomicLong(Translation.of(0, RIGHTS, LG2_4K));
        AtomicBoolean stop = new AtomicBoolean();
        Iotlb one = new Iotlb(4);
        long tag = TlbTag.of(1, NONE);
        long rival = TlbTag.of(2, 5);
        Thread[] fillers = new Thread[2];
        for (int t = 0; t < fillers.length; t++) {
            boolean both = t == 1;
            fillers[t] = Thread.ofPlatform().start(() -> {
                long mine = 0;
                while (!stop.get()) {
                    long sequence = one.sequence();
                    boolean kept = one.insert(tag, 0x5000, entry.get(), sequence);
                    for (int i = 0; both && i < 4; i++) {
                        mine += kept ? 1 : 2;
                        long word = Translation.of(mine << 12, RIGHTS, i == 0 ? LG2_2M : LG2_4K);
                        var _ = one.insert(rival, (long) i << 12, word, one.sequence());
                    }
                }
            });
        }
        long found = 0;
        for (long round = 1; round <= 50_000 || found == 0; round++) {
            long now = Translation.of(round << 12, RIGHTS, LG2_4K);
            entry.set(now);
            one.invalidate(1, round % 2 == 0 ? NONE : Iotlb.ANY_PASID, 0x5000, 0);
            for (int i = 0; i < 40; i++) {
                long value = one.lookup(tag, 0x5000);
                if (value != 0 && value != now) {
                    stop.set(true);
                    assertEquals(now, value, "stale in round " + round);
                }
                found += value == 0 ? 0 : 1;
            }
        }
        stop.set(true);
        for (Thread filler : fillers) {
            filler.join();
        }
    }
}
