package dev.faultline.iommu;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;

/**
 * Areas that tables have shown and show no more, until no device uses them: here, and nowhere else, what tables borrowed for an area
 * and the pages that it held are given back. Where a device is not stepped in time they stay here, and whoever changes the
 * {@link Areas} next looks again.
 *
 * <p>Threads: any. Its lock is not held while devices are waited for.
 */
final class HiddenAreas {
    /** An area that was hidden. It goes from the list once, and then its pages are given back. */
    static final class Hidden {
        private final Area area;
        private final List<AreaTable> by;

        // Under the lock of the list.
        /** How often the area's pages are given back with it. */
        private int holds;

        /** Nobody waits for it, or somebody who can do without. */
        private boolean left;
        /** What an unmap that gave up waiting owes to the next one. */
        private long owed;

        private Hidden(Area area, List<AreaTable> by, boolean holds, boolean left) {
            this.area = area;
            this.by = by;
            this.holds = holds ? 1 : 0;
            this.left = left;
        }
    }

    // Under the lock.
    private final List<Hidden> all = new ArrayList<>();

    /**
     * An area that tables have just hidden.
     *
     * @param by the tables
     * @param holds whether its pages are held for them
     * @param left whether nobody is going to wait for it
     */
    synchronized Hidden add(Area area, List<AreaTable> by, boolean holds, boolean left) {
        Hidden hidden = new Hidden(area, by, holds, left);
        all.add(hidden);
        return hidden;
    }

    /** Gives back what nobody waits for and no device uses any more. Waits for nobody. */
    void sweep() {
        for (Hidden hidden : those(each -> each.left)) {
            var _ = letGo(hidden, false);
        }
    }

    /**
     * Waits for what was unmapped in a range, by the caller or by others, and gives it back.
     *
     * @param own what the caller hid
     * @return how many bytes of it others have given up waiting for
     * @throws QuiescenceTimeout if a thread has entered a device and does not step; then it is for the next one to wait
     */
    long letGo(long first, long last, List<Hidden> own) {
        boolean whole = false;
        try {
            long owed = 0;
            for (Hidden hidden : those(each -> within(each.area, first, last))) {
                owed += letGo(hidden, true);
            }
            whole = true;
            return owed;
        } finally {
            if (!whole) {
                leave(own);
            }
        }
    }

    /** Who hid something does not wait for it. */
    synchronized void leave(List<Hidden> own) {
        for (Hidden hidden : own) {
            hidden.owed = hidden.area.bytes();
            hidden.left = true;
        }
    }

    private static boolean within(Area area, long first, long last) {
        return Long.compareUnsigned(area.first(), first) >= 0 && Long.compareUnsigned(area.last(), last) <= 0;
    }

    /** Waits for what a table has hidden, and gives it back. */
    void letGo(AreaTable by) {
        for (Hidden hidden : those(each -> each.by.contains(by))) {
            var _ = letGo(hidden, true);
        }
    }

    /** Waits for everything, and gives it back. */
    void letGo() {
        for (Hidden hidden : those(_ -> true)) {
            var _ = letGo(hidden, true);
        }
    }

    /** Gives an area back once no device uses it; what was owed of it. */
    private long letGo(Hidden hidden, boolean wait) {
        for (AreaTable table : hidden.by) {
            if (!table.letGo(hidden.area, wait)) {
                return 0;
            }
        }
        synchronized (this) {
            if (!all.remove(hidden)) {
                return 0;
            }
            if (handedOn(hidden)) {
                return hidden.owed;
            }
        }
        for (int i = 0; i < hidden.holds; i++) {
            hidden.area.backing().release(hidden.area.firstPage(), hidden.area.lastPage());
        }
        return hidden.owed;
    }

    /** Whether a table still has to let go of the same area: then the last of them gives its pages back. */
    private boolean handedOn(Hidden gone) {
        for (Hidden other : all) {
            if (other.area.equals(gone.area)) {
                other.holds += gone.holds;
                return true;
            }
        }
        return false;
    }

    private synchronized List<Hidden> those(Predicate<Hidden> which) {
        return all.isEmpty() ? List.of() : all.stream().filter(which).toList();
    }
}
