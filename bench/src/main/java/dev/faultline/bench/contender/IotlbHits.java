package dev.faultline.bench.contender;

import dev.faultline.iommu.table.Translation;
import dev.faultline.iommu.tlb.Iotlb;
import dev.faultline.iommu.tlb.TlbTag;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * Hits in the IOTLB, each address found by the hit before: 256 pages of 4 KiB, linked in a random round by their physical addresses, with pages of
 * 2 MiB and another PASID's in the same IOTLB. The same scene as {@code iotlb.c}.
 */
final class IotlbHits extends OneThread {
    private static final int ENTRIES = 1024;
    private static final int PAGES = 256;
    private static final int LARGE_PAGES = 8;
    private static final int DOMAIN = 5;
    private static final int PASID = 77;
    private static final long FIRST_ADDRESS = 0x7000_0000L;
    private static final long FIRST_LARGE = 0x1_0000_0000L;
    private static final int PAGE_LG2 = 12;
    private static final int LARGE_LG2 = 21;
    private static final long TAG = TlbTag.of(DOMAIN, PASID);

    private final Iotlb iotlb = new Iotlb(ENTRIES);
    private long address = FIRST_ADDRESS;

    IotlbHits() {
        List<Integer> round = new ArrayList<>(IntStream.range(0, PAGES).boxed().toList());
        Collections.shuffle(round, new Random(1));
        for (int i = 0; i < PAGES; i++) {
            link(round.get(i), round.get((i + 1) % PAGES));
        }
        for (int page = 0; page < LARGE_PAGES; page++) {
            long at = FIRST_LARGE + ((long) page << LARGE_LG2);
            insert(TAG, at, at, LARGE_LG2);
            insert(TlbTag.of(DOMAIN, PASID + 1), at, at, PAGE_LG2);
        }
    }

    private void link(int page, int next) {
        insert(TAG, FIRST_ADDRESS + ((long) page << PAGE_LG2), FIRST_ADDRESS + ((long) next << PAGE_LG2), PAGE_LG2);
    }

    private void insert(long tag, long at, long physical, int sizeLg2) {
        if (!iotlb.insert(tag, at, Translation.of(physical, Translation.RIGHTS, sizeLg2), iotlb.sequence())) {
            throw new IllegalStateException("address=" + at + ": not kept");
        }
    }

    @Override
    public int request(int roundTrips) {
        Iotlb from = iotlb;
        long at = address;
        for (int i = 0; i < roundTrips; i++) {
            at = Translation.page(from.lookup(TAG, at));
        }
        address = at;
        return roundTrips;
    }

    @Override
    public void end() {
        if (address == 0) {
            throw new IllegalStateException("a page was not found");
        }
    }
}
