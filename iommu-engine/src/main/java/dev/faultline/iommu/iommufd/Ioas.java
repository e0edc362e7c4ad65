package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.Areas;
import dev.faultline.iommu.QuiescenceTimeout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;

/**
 * An address space of a program's: the kernel's IOAS.
 *
 * <p>Threads: any. Held by its page tables and accesses; mappings hold nothing.
 */
final class Ioas extends IommufdObject {
    /** Over making a page table of it, from its id to its being found: taken before a device's lock. */
    final ReentrantLock tables = new ReentrantLock();

    private final Areas areas = new Areas();

    /** Its page tables, the oldest first; under {@link #tables}. */
    private final List<HwptPaging> paging = new ArrayList<>();

    /** What it maps. */
    Areas areas() {
        return areas;
    }

    List<HwptPaging> paging() {
        return paging;
    }

    @Override
    void destroy() {
        try {
            var _ = areas.unmapAll();
        } catch (QuiescenceTimeout e) {
            // It is unmapped all the same. What a thread that does not step may use is not given back.
        }
    }
}
