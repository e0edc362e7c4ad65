package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Region;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class IotlbTest {
    private static final int RIGHTS = 7;

    private final Region words = Region.allocate(Iotlb.wordsBytes(16));
    private final Iotlb iotlb = new Iotlb(words.segment(), 16);

    @AfterEach
    void free() {
        words.close();
    }

    @Test
    void findsWhatWasInsertedForThisSpaceAndPageOnly() {
        assertTrue(iotlb.insert(TlbKey.ofSpace(1, 0x5000), 0x9000 | RIGHTS, iotlb.sequence()));
        assertEquals(0x9000 | RIGHTS, iotlb.lookup(TlbKey.ofSpace(1, 0x5fff)));
        assertEquals(0, iotlb.lookup(TlbKey.ofSpace(2, 0x5000)));
        assertEquals(0, iotlb.lookup(TlbKey.ofSpace(1, 0x6000)));
        assertTrue(iotlb.insert(TlbKey.ofSpace(1, 0x5000), 0x9000 | 1, iotlb.sequence()), "the newer one replaces it");
        assertEquals(0x9000 | 1, iotlb.lookup(TlbKey.ofSpace(1, 0x5000)));
    }

    @Test
    void forgetsAPageOrASpaceWhenPurged() {
        for (int space = 1; space <= 2; space++) {
            for (int page = 0; page < 2; page++) {
                assertTrue(iotlb.insert(TlbKey.ofSpace(space, page << 12), space << 16 | RIGHTS, iotlb.sequence()));
            }
        }
        iotlb.purge(TlbKey.ofSpace(1, 0));
        assertEquals(0, iotlb.lookup(TlbKey.ofSpace(1, 0)));
        assertEquals(1 << 16 | RIGHTS, iotlb.lookup(TlbKey.ofSpace(1, 0x1000)));
        iotlb.purgeSpace(2);
        assertEquals(0, iotlb.lookup(TlbKey.ofSpace(2, 0)));
        assertEquals(0, iotlb.lookup(TlbKey.ofSpace(2, 0x1000)));
        assertEquals(1 << 16 | RIGHTS, iotlb.lookup(TlbKey.ofSpace(1, 0x1000)));
    }

    @Test
    void refusesAFillThatAnInvalidationOvertook() {
        long before = iotlb.sequence();
        iotlb.purge(TlbKey.ofSpace(1, 0x7000));
        assertFalse(iotlb.insert(TlbKey.ofSpace(1, 0x5000), 0x9000 | RIGHTS, before));
        assertEquals(0, iotlb.lookup(TlbKey.ofSpace(1, 0x5000)));
    }

    @Test
    void staysBounded() {
        Random random = Seeds.random("IotlbTest.staysBounded");
        for (int i = 0; i < 10_000; i++) {
            long page = (long) random.nextInt(1 << 20) << 12;
            assertTrue(iotlb.insert(TlbKey.ofSpace(3, page), page | RIGHTS, iotlb.sequence()));
            assertEquals(page | RIGHTS, iotlb.lookup(TlbKey.ofSpace(3, page)));
        }
        int kept = 0;
        for (long page = 0; page < 1 << 20; page++) {
            long value = iotlb.lookup(TlbKey.ofSpace(3, page << 12));
            assertTrue(value == 0 || value == (page << 12 | RIGHTS));
            kept += value == 0 ? 0 : 1;
        }
        assertTrue(kept <= 16, "kept " + kept);
    }

    /** Two threads fill while a third changes the translation and purges: what was purged is never found again. */
    @Test
    void neverShowsAnOldTranslationAfterAPurge() throws InterruptedException {
        AtomicLong entry = new AtomicLong(RIGHTS);
        AtomicBoolean stop = new AtomicBoolean();
        long key = TlbKey.ofSpace(1, 0x5000);
        long rival = rivalOf(key);
        Thread[] fillers = new Thread[2];
        for (int t = 0; t < fillers.length; t++) {
            boolean both = t == 1;
            fillers[t] = Thread.ofPlatform().start(() -> {
                long mine = 0;
                while (!stop.get()) {
                    long sequence = iotlb.sequence();
                    long value = entry.get();
                    boolean kept = iotlb.insert(key, value, sequence);
                    if (both) {
                        mine += kept ? 1 : 2;
                        boolean ignored = iotlb.insert(rival, (mine & 0xfffff) << 12 | 1, iotlb.sequence());
                    }
                }
            });
        }
        long found = 0;
        for (long round = 1; round <= 50_000; round++) {
            long now = round << 12 | RIGHTS;
            entry.set(now);
            iotlb.purge(key);
            for (int i = 0; i < 40; i++) {
                long value = iotlb.lookup(key);
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
        System.out.println("IotlbTest found " + found + "");
    }

    /** A key of the same set, so that fills fight for the entries. */
    private static long rivalOf(long key) {
        for (long page = 1; ; page++) {
            long other = TlbKey.ofSpace(2, page << 12);
            if ((TlbKey.hash(other) & 3) == (TlbKey.hash(key) & 3)) {
                return other;
            }
        }
    }
}
