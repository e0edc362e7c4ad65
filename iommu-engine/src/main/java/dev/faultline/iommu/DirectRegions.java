package dev.faultline.iommu;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.iommu.HiddenAreas.Hidden;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Regions that devices have to reach at their physical addresses, in an address space: mapped one to one, in all of its tables, while a
 * device that has them is attached. They are areas that nobody else can unmap.
 *
 * <p>Threads: any; a lock, held while a region is mapped or hidden and not while devices are waited for. So a region that goes is free to be
 * mapped again as soon as tables show it no more.
 */
final class DirectRegions {
    private static final Logger log = LoggerFactory.getLogger(DirectRegions.class);

    private static final int BOTH = PageFaultLayout.PERM_READ | PageFaultLayout.PERM_WRITE;

    private final Iommu iommu;
    private final Areas areas;
    private final SoftwareAccess locking;

    // Under the lock.
    private final Map<ReservedRegion, Set<Object>> owners = new HashMap<>();

    DirectRegions(Iommu iommu, Areas areas) {
        this.iommu = iommu;
        this.areas = areas;
        this.locking = new SoftwareAccess(areas, true);
    }

    /**
     * Maps a region for one more owner.
     *
     * @return false if something else is mapped there
     * @throws IllegalArgumentException if there is no memory
     * @throws OutOfFrames if no frame is free for a table
     */
    synchronized boolean map(Object owner, ReservedRegion region) {
        Set<Object> known = owners.get(region);
        if (known == null) {
            long bytes = bytesOf(region);
            AreaResult result = areas.map(iommu.memory(region.first(), bytes), 0, bytes, BOTH, region.first())
                    .result();
            if (result == AreaResult.NO_MEMORY) {
                throw iommu.frames().none("a page table");
            }
            if (result != AreaResult.DONE) {
                return false;
            }
            AreaResult pinned = locking.pin(region.first(), bytes, true);
            if (pinned != AreaResult.DONE) {
                throw new IllegalStateException(region + " can not be pinned: " + pinned);
            }
            known = new HashSet<>();
            owners.put(region, known);
        }
        known.add(owner);
        return true;
    }

    /**
     * Unmaps what only this owner had, and waits until no device uses it. One that does not let go in time may use it still, for it is
     * nobody's memory that is given back.
     */
    void unmap(Object owner) {
        Map<ReservedRegion, List<Hidden>> gone = new HashMap<>();
        synchronized (this) {
            for (Iterator<Map.Entry<ReservedRegion, Set<Object>>> i =
                            owners.entrySet().iterator();
                    i.hasNext(); ) {
                Map.Entry<ReservedRegion, Set<Object>> each = i.next();
                if (each.getValue().remove(owner) && each.getValue().isEmpty()) {
                    ReservedRegion region = each.getKey();
                    locking.unpin(region.first(), bytesOf(region));
                    List<Hidden> hidden = new ArrayList<>();
                    AreaResult result =
                            areas.hide(region.first(), region.last(), hidden).result();
                    if (result == AreaResult.DONE) {
                        i.remove();
                        gone.put(region, hidden);
                    } else {
                        // Somebody else has pinned it: it stays, for the next owner.
                        log.warn("{} stays mapped: {}", region, result);
                        var _ = locking.pin(region.first(), bytesOf(region), true);
                    }
                }
            }
        }
        gone.forEach((region, hidden) -> {
            try {
                areas.letGo(region.first(), region.last(), hidden);
            } catch (QuiescenceTimeout e) {
                log.warn("{} may be used still: {}", region, e.getMessage());
            }
        });
    }

    private static long bytesOf(ReservedRegion region) {
        return region.last() - region.first() + 1;
    }
}
