package dev.faultline.iommu;

import java.lang.foreign.MemorySegment;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.Set;

/**
 * All memory of a process that is held, so that one can ask how often a page is.
 *
 * <p>Threads: any. Asking costs a look at every {@link Backing} that has held pages.
 */
public final class HeldPages {
    private final Set<Backing> all = Collections.newSetFromMap(new IdentityHashMap<>());

    /** Nothing held. */
    public HeldPages() {}

    synchronized void add(Backing backing) {
        all.add(backing);
    }

    synchronized void remove(Backing backing) {
        all.remove(backing);
    }

    /**
     * How often a page is held: once by each {@link Backing} that needs it.
     *
     * @param memory its first byte
     * @return a count
     */
    public int count(MemorySegment memory) {
        Backing[] now;
        synchronized (this) {
            now = all.toArray(Backing[]::new);
        }
        int count = 0;
        for (Backing backing : now) {
            count += backing.holds(memory) ? 1 : 0;
        }
        return count;
    }
}
