package dev.faultline.iommu;

import dev.faultline.iommu.table.Leaf;
import dev.faultline.iommu.table.PageFormat;
import dev.faultline.iommu.table.RadixTable;
import dev.faultline.iommu.table.Taken;
import dev.faultline.iommu.tlb.Iotlb;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * The page tables of an address space beside its first, which has the pages that a handler gives. Each change is made in the first,
 * without a lock; then whoever made it looks here, by one volatile load, and where there are others makes them agree, under a lock, with
 * what the first says by then. So the last one to change a page leaves all tables with what the first says of it: between a change of
 * the first and a look here is the compare-and-set of the change, and between a table's coming here and its first agreement is the
 * volatile store, so that one of the two sees the other.
 *
 * <p>Whoever takes something out of another table invalidates it before the lock is released. So who finds nothing there to take, since
 * somebody else has taken it, waits for that as well by waiting for the newest epoch.
 *
 * <p>Threads: any. The lock is held while tables are changed, and not while devices are waited for.
 */
final class Siblings {
    /** What a table said and says no more. */
    record Change(EngineTable table, Taken taken) {}

    private final Iommu iommu;
    private final EngineTable own;
    private final RadixTable first;
    private final Areas areas;
    private final ReentrantLock lock = new ReentrantLock();

    /** Written under the lock; read by everybody who has changed the first. A stale value: see the class. */
    private volatile EngineTable[] others = {};

    /**
     * Memory that was written to through another table which says so no more, and that the first may have mapped still: the first address
     * and the last, none over another. Written under the lock, and before {@link #others} lacks the table; that it is empty is
     * read, after that, by everybody who has taken out of the first.
     */
    private final ConcurrentSkipListMap<Long, Long> written = new ConcurrentSkipListMap<>();

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
     * Makes the others say what was mapped in a range. Waits for no device.
     *
     * @param from the first address, and the last one on the same side of the gap in the input range
     * @return false if no frame is free for a table: then they lack pages
     * @throws IllegalArgumentException if one of them can not translate the range: then they lack it
     */
    boolean show(long from, long last) {
        if (others.length == 0) {
            return true;
        }
        List<Change> changes = new ArrayList<>();
        boolean whole = true;
        lock.lock();
        try {
            for (EngineTable other : others) {
                IovaRange there = within(other, from, last);
                if (there == null || there.first() != from || there.last() != last) {
                    throw new IllegalArgumentException("address=0x" + Long.toHexString(from) + ": allowed "
                            + other.format().canonicalRule() + ", as " + other.table() + " of the same address space");
                }
            }
            for (EngineTable other : others) {
                whole &= agree(other, from, last, changes);
            }
        } finally {
            lock.unlock();
        }
        // Whoever took out of the first what they said waits for them: see the class.
        long newest = iommu.log().epoch();
        changes.forEach(change -> change.table().freeLater(change.taken(), newest));
        return whole;
    }

    /**
     * Gives pages other rights, in the others first: where one of them has no room, the first is not changed, and they are made to agree with it
     * again, for which they have room. Under the lock, also where there are no others: one that came meanwhile might have no room for the parts
     * of a page that is split. Waits until no device uses what was changed.
     *
     * @param changed gets the pages whose rights changed in the first
     */
    RadixTable.Outcome protect(long from, long last, int rights, Taken changed) {
        List<Change> changes = new ArrayList<>();
        RadixTable.Outcome outcome = RadixTable.Outcome.DONE;
        lock.lock();
        try {
            for (EngineTable other : others) {
                IovaRange range = within(other, from, last);
                if (range != null && outcome == RadixTable.Outcome.DONE) {
                    Taken there = new Taken();
                    outcome = other.radix().protect(range.first(), range.last(), rights, there);
                    invalidate(other, there, changes);
                }
            }
            if (outcome == RadixTable.Outcome.DONE) {
                outcome = first.protect(from, last, rights, changed);
                var _ = own.invalidate(changed);
            }
            for (EngineTable other : others) {
                var _ = agree(other, from, last, changes);
            }
        } finally {
            lock.unlock();
        }
        await(changes);
        return outcome;
    }

    /**
     * Invalidates what was taken out of the first, takes it out of the others, waits, and frees it.
     *
     * @param from where it was taken out, and the last address on the same side of the gap in the input range
     */
    void release(Taken taken, long from, long last) {
        if (others.length == 0 && written.isEmpty()) {
            own.release(taken);
            return;
        }
        iommu.reclaim();
        List<Change> changes = new ArrayList<>();
        changes.add(new Change(own, taken));
        lock.lock();
        try {
            var _ = own.invalidate(taken);
            for (EngineTable other : others) {
                for (int i = 0; i < taken.pages(); i++) {
                    takeOut(other, taken.address(i), 1L << taken.sizeLg2(i), taken.page(i), changes);
                }
                var _ = agree(other, from, last, changes);
            }
            for (int i = 0; i < taken.pages(); i++) {
                forget(taken.page(i), 1L << taken.sizeLg2(i));
            }
        } finally {
            lock.unlock();
        }
        await(changes);
    }

    /**
     * Takes a page out of the others that was taken out of the first, and waits for all.
     *
     * @param physical what it was mapped to
     * @param epoch that of its invalidation in the first
     * @return whether a device may have written to it through one of them
     */
    boolean take(long at, long physical, long epoch) {
        if (others.length == 0 && written.isEmpty()) {
            iommu.await(epoch);
            return false;
        }
        boolean dirty;
        List<Change> changes = new ArrayList<>();
        lock.lock();
        try {
            for (EngineTable other : others) {
                takeOut(other, at, Frames.BYTES, physical, changes);
                var _ = agree(other, at, at + Frames.BYTES - 1, changes);
            }
            // What was taken out just now is among it.
            Map.Entry<Long, Long> covers = written.floorEntry(physical);
            dirty = covers != null && covers.getValue() >= physical;
        } finally {
            lock.unlock();
        }
        await(changes);
        return dirty;
    }

    /** A page that was taken is gone: whether it was written to is of no interest any more. */
    void forget(long physical) {
        if (!written.isEmpty()) {
            lock.lock();
            try {
                forget(physical, Frames.BYTES);
            } finally {
                lock.unlock();
            }
        }
    }

    /** Cuts a range out of those that were written to: what is left of one is put in before it goes, so that it is never missing. */
    private void forget(long physical, long bytes) {
        long last = physical + bytes - 1;
        Map.Entry<Long, Long> over = written.floorEntry(last);
        while (over != null && over.getValue() >= physical) {
            if (over.getValue() > last) {
                written.put(last + 1, over.getValue());
            }
            if (over.getKey() < physical) {
                written.put(over.getKey(), physical - 1);
            } else {
                written.remove(over.getKey());
            }
            over = written.floorEntry(last);
        }
    }

    /** What was taken out of another table was perhaps written to through it. */
    private void remember(Taken taken) {
        for (int i = 0; i < taken.pages(); i++) {
            long page = taken.page(i);
            long last = page + (1L << taken.sizeLg2(i)) - 1;
            Map.Entry<Long, Long> covers = written.floorEntry(page);
            if (taken.dirty(i) && (covers == null || covers.getValue() < last)) {
                forget(page, last - page + 1);
                written.put(page, last);
            }
        }
    }

    boolean accessedAndClear(long at) {
        boolean used = accessedAndClear(own, at);
        if (others.length > 0) {
            // One that leaves is not closed meanwhile.
            lock.lock();
            try {
                for (EngineTable other : others) {
                    used |= within(other, at, at) != null && accessedAndClear(other, at);
                }
            } finally {
                lock.unlock();
            }
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

    /** Waits until no device uses what was taken out, by whomever, and invalidated before this; and frees it. */
    private void await(List<Change> changes) {
        long newest = iommu.log().epoch();
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

    /** Takes out what leads to a page that the first has mapped no more, and nothing else: another may lie there by now. */
    private void takeOut(EngineTable other, long address, long bytes, long physical, List<Change> changes) {
        IovaRange range = within(other, address, address + bytes - 1);
        if (range == null) {
            return;
        }
        RadixTable radix = other.radix();
        Taken taken = new Taken();
        Leaf leaf = new Leaf();
        long at = range.first();
        for (long skip; (skip = radix.nextMapped(at, range.last())) >= 0; ) {
            at += skip;
            long end = at | (Frames.BYTES - 1);
            if (radix.look(at, leaf)) {
                end = leaf.last();
                if (leaf.physical() - leaf.address() == physical - address) {
                    var _ = radix.unmap(leaf.address(), leaf.last(), taken, Integer.MAX_VALUE);
                }
            }
            if (Long.compareUnsigned(end, range.last()) >= 0) {
                break;
            }
            at = end + 1;
        }
        remember(taken);
        invalidate(other, taken, changes);
    }

    private boolean agree(EngineTable other, long from, long last, List<Change> changes) {
        IovaRange range = within(other, from, last);
        if (range == null) {
            return true;
        }
        Taken taken = new Taken();
        boolean whole = other.agree(first, range.first(), range.last(), taken);
        remember(taken);
        invalidate(other, taken, changes);
        return whole;
    }

    private static void invalidate(EngineTable other, Taken taken, List<Change> changes) {
        if (!taken.isEmpty()) {
            var _ = other.invalidate(taken);
            changes.add(new Change(other, taken));
        }
    }

    /** What a table can translate of a range on one side of the gap; null for nothing. */
    private static @Nullable IovaRange within(EngineTable table, long from, long last) {
        long end = table.lastAddress();
        if (from >= 0) {
            return from > end ? null : new IovaRange(from, Math.min(last, end));
        }
        long begin = -end - 1;
        return last < begin || !table.format().canonical(-1) ? null : new IovaRange(Math.max(from, begin), last);
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
            AreaResult result = AreaResult.NO_MEMORY;
            if (add(added)) {
                // Only now: who maps something else from here on looks here, and takes it back.
                requireTranslatable(added);
                result = areas.join(added);
            }
            while (result == AreaResult.TAKEN) {
                // By a page that the first has no more: it is just being unmapped.
                var _ = agree(added);
                result = areas.join(added);
            }
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
        lock.lock();
        try {
            EngineTable[] more = Arrays.copyOf(others, others.length + 1);
            more[others.length] = added;
            others = more;
        } finally {
            lock.unlock();
        }
        return agree(added);
    }

    private boolean agree(EngineTable added) {
        List<Change> changes = new ArrayList<>();
        lock.lock();
        try {
            for (IovaRange half : halves(added)) {
                if (!agree(added, half.first(), half.last(), changes)) {
                    return false;
                }
            }
            return true;
        } finally {
            lock.unlock();
            if (!changes.isEmpty()) {
                await(changes);
            }
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

    /** Forgets a table, but for what was written to through it. */
    private boolean remove(EngineTable gone) {
        lock.lock();
        try {
            EngineTable[] left =
                    Arrays.stream(others).filter(table -> table != gone).toArray(EngineTable[]::new);
            if (left.length == others.length) {
                return false;
            }
            Taken taken = new Taken();
            for (IovaRange half : halves(gone)) {
                var _ = gone.radix().unmap(half.first(), half.last(), taken, Integer.MAX_VALUE);
            }
            remember(taken);
            // Only now: who sees no others has to see what was written through this one.
            others = left;
            return true;
        } finally {
            lock.unlock();
        }
    }

    /**
     * Ends a table to which nothing is attached.
     *
     * @throws QuiescenceTimeout if a thread has entered a device and does not step; then it is kept the same, until this is called again
     */
    void leave(EngineTable gone) {
        areas.leave(gone);
        iommu.await(gone.table().forget(0, Iotlb.EVERYTHING));
        if (remove(gone)) {
            drop(gone);
        }
    }

    private void drop(EngineTable gone) {
        gone.close();
        iommu.freeDomain(gone.table().domain());
    }
}
