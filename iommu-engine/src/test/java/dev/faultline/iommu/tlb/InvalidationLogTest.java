package dev.faultline.iommu.tlb;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.faultline.ffm.Region;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class InvalidationLogTest {
    private final Region words = Region.allocate(InvalidationLog.wordsBytes(16));
    private final InvalidationLog log = new InvalidationLog(words.segment(), 16);
    private final List<String> told = new ArrayList<>();
    private final InvalidationLog.Reader reader = new InvalidationLog.Reader() {
        @Override
        public void forget(int domain, int pasid, long address, int size) {
            told.add(domain + " " + pasid + " " + Long.toHexString(address) + " " + size);
        }

        @Override
        public void forgetEverything() {
            told.add("everything");
        }
    };

    @AfterEach
    void free() {
        words.close();
    }

    @Test
    void tellsWhatWasAppendedInOrder() {
        assertEquals(1, log.append(1, TlbTag.NO_PASID, 0x5000, 0));
        assertEquals(2, log.append(TlbTag.MAX_DOMAINS, (1 << 20) - 1, 0xffff_8000_0000_0000L, 9));
        assertEquals(3, log.append(Iotlb.ANY_DOMAIN, Iotlb.ANY_PASID, 0x123_4000, Iotlb.EVERYTHING));
        assertEquals(3, log.epoch());
        log.read(0, 3, reader);
        assertEquals(List.of("1 -1 5000 0", "262143 1048575 ffff800000000000 9", "0 -2 0 52"), told);
        told.clear();
        log.read(3, 3, reader);
        assertEquals(List.of(), told);
    }

    @Test
    void whoLagsTooFarForgetsEverything() {
        for (int i = 0; i < 17; i++) {
            long _ = log.append(1, 2, (long) i << 12, 0);
        }
        log.read(0, 17, reader);
        assertEquals(List.of("everything"), told);
        told.clear();
        log.read(1, 17, reader);
        assertEquals(16, told.size());
        assertEquals("1 2 1000 0", told.getFirst());
    }

    @Test
    void anEntryThatWasOverwrittenIsNotTakenForAnother() {
        long _ = log.append(1, 2, 0x1000, 0);
        for (int i = 0; i < 16; i++) {
            long _ = log.append(3, 4, 0x2000, 0);
        }
        log.read(0, 1, reader);
        assertEquals(List.of("everything"), told);
    }
}
