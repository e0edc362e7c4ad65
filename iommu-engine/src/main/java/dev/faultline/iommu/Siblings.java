package dev.faultline.iommu;

import dev.faultline.iommu.table.RadixTable;
import dev.faultline.iommu.table.Taken;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The page tables of an address space beside its first, which has the pages that a handler gives. Each change is made in the first,
 * without a lock; then whoever made it looks here, by one volatile load, and where there are others makes them agree, under a lock, with
 * what the first says by then. So the last one to change a page leaves all tables with what the first says of it: between a change of
 * the first and a look here is the compare-and-set of the change, and between a table's coming here and its first agreement is the
 * volatile store, so that one of the two sees the other.
 *
 * <p>Threads: any. The lock is held while tables are changed, and not while devices are waited for.
 */
final class Siblings {
    /** What a table said and says no more. */
    record Change(EngineTable table, Taken taken) {}

    private final RadixTable first;
    private final Areas areas;
    private final ReentrantLock lock = new ReentrantLock();

    /** Written under the lock; read by everybody who has changed the first. A stale value: see the class. */
    private volatile EngineTable[] others = {};

    Siblings(RadixTable first, Areas areas) {
        this.first = first;
        this.areas = areas;
    }

    boolean areNone() {
        return others.length == 0;
    }

    EngineTable[] all() {
        return others;
    }

    /**
     * Makes the others agree in a range.
     *
     * @param from the first address, and the last one on the same side of the gap in the input range
     * @param changes gets what they said and say no more
     * @return false if no frame is free for a table: then they lack pages
     */
    boolean agree(long from, long last, List<Change> changes) {
        lock.lock();
        try {
            boolean whole = true;
            for (EngineTable other : others) {
                whole &= agree(other, from, last, changes);
            }
            return whole;
        } finally {
            lock.unlock();
        }
    }

    private boolean agree(EngineTable other, long from, long last, List<Change> changes) {
        Taken taken = new Taken();
        boolean whole = other.agree(first, areas, from, last, taken);
        if (!taken.isEmpty()) {
            changes.add(new Change(other, taken));
        }
        return whole;
    }

    /** Takes a table in, and makes it agree in whole; if that fails it is in no more. */
    boolean add(EngineTable added, List<Change> changes) {
        lock.lock();
        try {
            EngineTable[] more = Arrays.copyOf(others, others.length + 1);
            more[others.length] = added;
            others = more;
            boolean whole = true;
            for (IovaRange half : halves(added)) {
                whole = whole && agree(added, half.first(), half.last(), changes);
            }
            if (!whole) {
                remove(added);
            }
            return whole;
        } finally {
            lock.unlock();
        }
    }

    /** The input range of the first, in the one or two parts that it has. */
    private List<IovaRange> halves(EngineTable of) {
        List<IovaRange> halves = new ArrayList<>();
        long end = first.format().lastOfLowerHalf();
        halves.add(new IovaRange(0, Math.min(end, of.lastAddress())));
        if (first.format().canonical(-1)) {
            halves.add(new IovaRange(-end - 1, -1));
        }
        return halves;
    }

    boolean remove(EngineTable gone) {
        lock.lock();
        try {
            EngineTable[] now = others;
            others = Arrays.stream(now).filter(table -> table != gone).toArray(EngineTable[]::new);
            return others.length < now.length;
        } finally {
            lock.unlock();
        }
    }
}
