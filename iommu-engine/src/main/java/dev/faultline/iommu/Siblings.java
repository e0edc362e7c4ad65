package dev.faultline.iommu;

import dev.faultline.iommu.table.Leaf;
import dev.faultline.iommu.table.PageFormat;
import dev.faultline.iommu.table.RadixTable;
import dev.faultline.iommu.table.Taken;
import dev.faultline.iommu.table.Translation;
import dev.faultline.iommu.tlb.Iotlb;
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

    /** Filled by nobody. */
    private static final Leaf NONE = new Leaf();

    private final Iommu iommu;
    private final EngineTable own;
    private final RadixTable first;
    private final Areas areas;
    private final ReentrantLock lock = new ReentrantLock();

    /** Written under the lock; read by everybody who has changed the first. A stale value: see the class. */
    private volatile EngineTable[] others = {};

    Siblings(Iommu iommu, EngineTable own, Areas areas) {
        this.iommu = iommu;
        this.own = own;
        this.first = own.radix();
        this.areas = areas;
    }

    EngineTable[] all() {
        return others;
    }

    /**
     * Makes the others agree in a range, and waits until no device uses what they said and say no more, nor what is older than an epoch.
     *
     * @param from the first address, and the last one on the same side of the gap in the input range
     * @param epoch what has to be waited for in any case; 0 for nothing
     * @return false if no frame is free for a table: then they lack pages
     */
    boolean agree(long from, long last, long epoch) {
        if (others.length == 0) {
            if (epoch != 0) {
                iommu.await(epoch);
            }
            return true;
        }
        List<Change> changes = new ArrayList<>();
        boolean whole = agree(from, last, changes);
        await(changes, epoch);
        return whole;
    }

    /**
     * Gives pages other rights, in the others first: where one of them has no room, the first is not changed, and they are made to agree with it
     * again, for which they have room. Waits until no device uses what was changed.
     *
     * @param changed gets the pages whose rights changed in the first
     */
    RadixTable.Outcome protect(long from, long last, int rights, Taken changed) {
        if (others.length == 0) {
            RadixTable.Outcome alone = first.protect(from, last, rights, changed);
            var _ = agree(from, last, changed.isEmpty() ? 0 : own.invalidate(changed));
            return alone;
        }
        List<Change> changes = new ArrayList<>();
        RadixTable.Outcome outcome = RadixTable.Outcome.DONE;
        lock.lock();
        try {
            for (EngineTable other : others) {
                Taken there = new Taken();
                if (outcome == RadixTable.Outcome.DONE) {
                    outcome = other.radix().protect(from, last, rights, there);
                }
                if (!there.isEmpty()) {
                    changes.add(new Change(other, there));
                }
            }
            if (outcome == RadixTable.Outcome.DONE) {
                outcome = first.protect(from, last, rights, changed);
            }
            var _ = agree(from, last, changes);
        } finally {
            lock.unlock();
        }
        await(changes, changed.isEmpty() ? 0 : own.invalidate(changed));
        return outcome;
    }

    /** Invalidates what was taken out of a range, of the first and then of the others, waits, and frees it. */
    void release(Taken taken, long from, long last) {
        if (others.length == 0) {
            own.release(taken);
            return;
        }
        iommu.reclaim();
        List<Change> changes = new ArrayList<>();
        var _ = agree(from, last, changes);
        changes.addFirst(new Change(own, taken));
        await(changes, 0);
    }

    /** Takes a page out of the others that the first lacks, and waits for all; whether a device may have written through one of them. */
    boolean take(long at, long epoch) {
        boolean dirty = false;
        EngineTable[] now = others;
        Leaf leaf = now.length == 0 ? NONE : new Leaf();
        for (EngineTable other : now) {
            // A mark may be set after it was looked at: what may be written to counts as written to.
            dirty |= other.radix().look(at, leaf) && (leaf.rights() & Translation.WRITE) != 0;
        }
        var _ = agree(at, at + Frames.BYTES - 1, epoch);
        return dirty;
    }

    boolean accessedAndClear(long at) {
        boolean used = accessedAndClear(own, at);
        for (EngineTable other : others) {
            used |= accessedAndClear(other, at);
        }
        return used;
    }

    private static boolean accessedAndClear(EngineTable in, long at) {
        if (!in.radix().accessedAndClear(at)) {
            return false;
        }
        var _ = in.table().forget(at, 0);
        return true;
    }

    /** Whether a device has asked for a page, of any of the tables, and not got it yet. */
    boolean want(long at) {
        boolean wanted = wants(own.table(), at);
        for (EngineTable other : others) {
            wanted |= wants(other.table(), at);
        }
        return wanted;
    }

    private static boolean wants(PageTable table, long at) {
        return table.wants(Window.wanted(table.domain(), at));
    }

    /** Waits until no device uses what was taken out of other tables, nor what is older than an epoch, and frees it. */
    private void await(List<Change> changes, long epoch) {
        long newest = epoch;
        for (Change change : changes) {
            newest = change.table().invalidate(change.taken());
        }
        if (newest == 0) {
            return;
        }
        try {
            iommu.await(newest);
        } catch (QuiescenceTimeout e) {
            for (Change change : changes) {
                change.table().freeLater(change.taken(), newest);
            }
            throw e;
        }
        changes.forEach(change -> change.table().free(change.taken()));
    }

    private boolean agree(long from, long last, List<Change> changes) {
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

    /**
     * Takes a table in, and makes it say what the first says.
     *
     * @throws OutOfFrames if no frame is free; it is closed
     * @throws IllegalArgumentException if something is mapped that it can not translate; it is closed
     */
    void join(EngineTable added) {
        boolean joined = false;
        try {
            requireTranslatable(added);
            AreaResult result = add(added) ? areas.join(added) : AreaResult.NO_MEMORY;
            joined = result == AreaResult.DONE;
            if (result == AreaResult.NO_MEMORY) {
                throw iommu.frames().none("a page table");
            }
            if (!joined) {
                throw new IllegalArgumentException("format=" + added.format().title()
                        + ": allowed one that can translate what is mapped: " + result);
            }
        } finally {
            if (!joined) {
                var _ = remove(added);
                drop(added);
            }
        }
    }

    private void requireTranslatable(EngineTable added) {
        PageFormat format = first.format();
        long last = added.lastAddress();
        boolean above = format.canonical(last + 1) && first.nextMapped(last + 1, format.lastOfLowerHalf()) >= 0;
        boolean upper = format.canonical(-1)
                && !added.format().canonical(-1)
                && first.nextMapped(-format.lastOfLowerHalf() - 1, -1) >= 0;
        if (above || upper) {
            throw new IllegalArgumentException(
                    "format=" + added.format().title() + ": something is mapped that it can not"
                            + " translate, allowed " + added.format().canonicalRule());
        }
    }

    private boolean add(EngineTable added) {
        List<Change> changes = new ArrayList<>();
        lock.lock();
        try {
            EngineTable[] more = Arrays.copyOf(others, others.length + 1);
            more[others.length] = added;
            others = more;
            for (IovaRange half : halves(added)) {
                if (!agree(added, half.first(), half.last(), changes)) {
                    return false;
                }
            }
            return true;
        } finally {
            lock.unlock();
            await(changes, 0);
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

    private boolean remove(EngineTable gone) {
        lock.lock();
        try {
            EngineTable[] now = others;
            others = Arrays.stream(now).filter(table -> table != gone).toArray(EngineTable[]::new);
            return others.length < now.length;
        } finally {
            lock.unlock();
        }
    }

    /** Ends a table to which nothing is attached. */
    void leave(EngineTable gone) {
        if (remove(gone)) {
            areas.leave(gone);
            iommu.await(gone.table().forget(0, Iotlb.EVERYTHING));
            drop(gone);
        }
    }

    private void drop(EngineTable gone) {
        gone.close();
        iommu.freeDomain(gone.table().domain());
    }
}
