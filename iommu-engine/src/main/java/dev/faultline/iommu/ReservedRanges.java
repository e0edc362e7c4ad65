package dev.faultline.iommu;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What nothing may be mapped in, of an address space: the reserved regions of the devices attached to it, sorted and merged.
 *
 * <p>Threads: any. A mapping costs one volatile load here while nothing is reserved. Who reserves publishes first and then looks for
 * mappings; who maps looks here again after it has mapped. So one of them sees the other.
 */
final class ReservedRanges {
    private final Map<Object, List<ReservedRegion>> byOwner = new HashMap<>();

    /** All of them. Written under the lock; read by whoever maps. */
    private volatile List<ReservedRegion> all = List.of();

    synchronized void add(Object owner, List<ReservedRegion> regions) {
        byOwner.put(owner, regions);
        publish();
    }

    synchronized void remove(Object owner) {
        if (byOwner.remove(owner) != null) {
            publish();
        }
    }

    /** A region that overlaps a range, or null. */
    @Nullable
    ReservedRegion overlapping(long first, long last) {
        List<ReservedRegion> now = all;
        for (int i = 0; i < now.size(); i++) {
            ReservedRegion region = now.get(i);
            if (Long.compareUnsigned(region.first(), last) <= 0 && Long.compareUnsigned(first, region.last()) <= 0) {
                return region;
            }
        }
        return null;
    }

    private void publish() {
        List<ReservedRegion> sum = new ArrayList<>();
        byOwner.values().forEach(sum::addAll);
        all = ReservedRegion.merged(sum);
    }
}
