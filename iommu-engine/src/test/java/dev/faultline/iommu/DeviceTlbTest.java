package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.faultline.ring.FaultProducer;
import org.junit.jupiter.api.Test;

class DeviceTlbTest {
    private final DeviceTlb tlb = new DeviceTlb(16);

    @Test
    void keepsPasidsApart() {
        tlb.insert(TlbKey.ofPasid(FaultProducer.NO_PASID, 0), 0x1000 | 1);
        tlb.insert(TlbKey.ofPasid(0, 0), 0x2000 | 1);
        tlb.insert(TlbKey.ofPasid((1 << 20) - 1, 0), 0x3000 | 1);
        assertEquals(0x1000 | 1, tlb.lookup(TlbKey.ofPasid(FaultProducer.NO_PASID, 0xfff)));
        assertEquals(0x2000 | 1, tlb.lookup(TlbKey.ofPasid(0, 0)));
        assertEquals(0x3000 | 1, tlb.lookup(TlbKey.ofPasid((1 << 20) - 1, 0)));
        assertEquals(0, tlb.lookup(TlbKey.ofPasid(1, 0)));
        tlb.removePasid(0);
        assertEquals(0, tlb.lookup(TlbKey.ofPasid(0, 0)));
        assertEquals(0x1000 | 1, tlb.lookup(TlbKey.ofPasid(FaultProducer.NO_PASID, 0)));
        tlb.clear();
        assertEquals(0, tlb.lookup(TlbKey.ofPasid(FaultProducer.NO_PASID, 0)));
    }

    @Test
    void replacesWhenASetIsFullAndNeverAnswersForAnother() {
        for (long page = 0; page < 1000; page++) {
            tlb.insert(TlbKey.ofPasid(5, page << 12), page << 12 | 1);
            assertEquals(page << 12 | 1, tlb.lookup(TlbKey.ofPasid(5, page << 12)));
        }
        int kept = 0;
        for (long page = 0; page < 1000; page++) {
            long value = tlb.lookup(TlbKey.ofPasid(5, page << 12));
            if (value != 0) {
                assertEquals(page << 12 | 1, value);
                kept++;
            }
        }
        assertEquals(16, kept);
    }
}
