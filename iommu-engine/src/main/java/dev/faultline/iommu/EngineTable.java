package dev.faultline.iommu;

import dev.faultline.iommu.table.Leaf;
import dev.faultline.iommu.table.PageFormat;
import dev.faultline.iommu.table.RadixTable;
import dev.faultline.iommu.table.Taken;
import dev.faultline.iommu.table.Translation;
import dev.faultline.iommu.tlb.Iotlb;
import dev.faultline.ring.FaultQueue;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;

/**
 * A page table of the engine's: its tables in physical memory, the {@link PageTable} that devices are attached to, and what has to be
 * forgotten and waited for when it changes. Of what lies in it, areas come and go by {@link #show} and {@link #hide}; pages that a
 * handler gives, by its {@link AddressSpace}.
 *
 * <p>Threads: any. Ownership: it owns its tables.
 */
final class EngineTable implements AreaTable {
    private static final int BATCH = 256;

    /** From this many pages on it is cheaper to forget the whole table. */
    private static final int WHOLE_TABLE_PAGES = 32;

    /** From this many bytes on a range may hold whole tables. */
    static final long PRUNED_BYTES = 2L << 20;

    private final Iommu iommu;
    private final PageFormat format;
    private final RadixTable radix;
    private final PageTable table;
    private final Frames frames;
    private final DirtyMarks dirty;

    /** What is shown of an area, or was and may be used still. All but the last belongs to who shows or hides the area. */
    private static final class Shown {
        static final long NOT_HIDDEN = -1;

        final List<Long> borrowed = new ArrayList<>();
        /** How much of it, from its beginning. */
        long bytes;
        /** The epoch that devices have to obey before what was borrowed is given back; written once, which publishes the rest. */
        volatile long hiddenAt = NOT_HIDDEN;
    }

    private final Map<Area, Shown> shown = new ConcurrentHashMap<>();

    /** Shared by those that show and hide areas, alone for who closes this. */
    private final ReentrantReadWriteLock open = new ReentrantReadWriteLock();

    /** Written with the lock, read with it. */
    private boolean closed;

    EngineTable(Iommu iommu, PageFormat format, int domain, @Nullable FaultQueue queue, @Nullable AddressSpace space) {
        this.iommu = iommu;
        this.format = format;
        this.frames = iommu.frames();
        RadixTable made = RadixTable.make(format, frames.physical(), frames.allocator());
        if (made == null) {
            throw frames.none("a page table");
        }
        this.radix = made;
        this.table = PageTable.paging(iommu, domain, this, queue, space);
        this.dirty = new DirtyMarks(iommu, radix, table);
    }

    RadixTable radix() {
        return radix;
    }

    PageTable table() {
        return table;
    }

    DirtyMarks dirty() {
        return dirty;
    }

    PageFormat format() {
        return format;
    }

    // As areas see it.

    @Override
    public long pageSizes() {
        return format.sizes();
    }

    @Override
    public long firstAddress() {
        return 0;
    }

    @Override
    public long lastAddress() {
        return format.lastOfLowerHalf();
    }

    @Override
    public AreaResult show(Area area) {
        open.readLock().lock();
        try {
            return closed ? AreaResult.REFUSED : showWhileOpen(area);
        } finally {
            open.readLock().unlock();
        }
    }

    private AreaResult showWhileOpen(Area area) {
        Taken taken = new Taken();
        Shown now = new Shown();
        Shown before = shown.put(area, now);
        if (before != null) {
            now.borrowed.addAll(before.borrowed);
        }
        try {
            return show(area, now, taken);
        } finally {
            // Empty tables: nobody has to wait for who reads them still.
            freeLater(taken);
        }
    }

    private AreaResult show(Area area, Shown now, Taken taken) {
        while (now.bytes < area.bytes()) {
            long at = area.first() + now.bytes;
            long left = area.bytes() - now.bytes;
            long physical = -1;
            if (area.backing() instanceof PhysicalBacking memory && memory.isOf(frames.physical())) {
                physical = memory.origin() + area.offsetOf(at);
            } else {
                MemorySegment held = area.backing().heldAt(area.offsetOf(at));
                left = held == null ? 0 : Math.min(left, held.byteSize());
                physical = held == null ? -1 : iommu.borrowed().borrow(held.asSlice(0, left), at);
                if (physical >= 0) {
                    now.borrowed.add(physical);
                }
            }
            if (physical < 0) {
                return AreaResult.UNREACHABLE;
            }
            if (((physical | at | left) & (Frames.BYTES - 1)) != 0) {
                return AreaResult.REFUSED;
            }
            int rights = area.access() | ((area.access() & Translation.READ) != 0 ? Translation.EXECUTE : 0);
            long done = radix.mapRange(at, physical, left, rights, format.sizes(), taken);
            now.bytes += done;
            if (done < left) {
                return taken.outcome() == RadixTable.Outcome.NO_FRAME ? AreaResult.NO_MEMORY : AreaResult.TAKEN;
            }
        }
        return AreaResult.DONE;
    }

    @Override
    public void hide(Area area) {
        open.readLock().lock();
        try {
            if (!closed) {
                hideWhileOpen(area);
            }
        } finally {
            open.readLock().unlock();
        }
    }

    private void hideWhileOpen(Area area) {
        Shown now = shown.get(area);
        if (now == null || now.hiddenAt != Shown.NOT_HIDDEN) {
            return;
        }
        Taken taken = new Taken();
        long first = area.first();
        long last = first + now.bytes - 1;
        for (long next = first, done = now.bytes; done > 0; next += done) {
            done = radix.unmapRange(next, last, taken, BATCH);
            if (done == 0 && now.bytes >= PRUNED_BYTES) {
                radix.prune(first, last, taken);
            }
            freeLater(taken);
        }
        dirty.forget(first, last);
        // At least the epochs of all this.
        now.hiddenAt = iommu.log().epoch();
    }

    @Override
    public boolean letGo(Area area, boolean wait) {
        Shown now = shown.get(area);
        if (now == null || now.hiddenAt == Shown.NOT_HIDDEN) {
            return true;
        }
        if (wait) {
            iommu.await(now.hiddenAt);
        } else if (!iommu.stations().reached(now.hiddenAt)) {
            return false;
        }
        if (shown.remove(area, now)) {
            now.borrowed.forEach(iommu.borrowed()::giveBack);
        }
        iommu.reclaim();
        return true;
    }

    // What is taken out.

    /** Invalidates what was taken out, waits until no device uses it, and frees it. */
    void release(Taken taken) {
        if (taken.isEmpty()) {
            return;
        }
        long epoch = invalidate(taken);
        iommu.reclaim();
        try {
            iommu.await(epoch);
        } catch (QuiescenceTimeout e) {
            freeLater(taken, epoch);
            throw e;
        }
        free(taken);
    }

    /** What cached translations have to go for, to the epoch that says so; 0 for none. */
    long invalidate(Taken taken) {
        if (taken.tables() > 0) {
            iommu.walkCache().invalidate(table.domain(), 0, Iotlb.EVERYTHING);
        }
        if (taken.tables() > 0 || taken.pages() >= WHOLE_TABLE_PAGES) {
            return table.forget(0, Iotlb.EVERYTHING);
        }
        long epoch = 0;
        for (int i = 0; i < taken.pages(); i++) {
            epoch = table.forget(taken.address(i), taken.sizeLg2(i) - Frames.SHIFT);
        }
        return epoch;
    }

    /** No device uses it any more. */
    void free(Taken taken) {
        for (int i = 0; i < taken.pages(); i++) {
            if (taken.owned(i)) {
                frames.free(taken.page(i));
            }
        }
        radix.free(taken);
        taken.clear();
    }

    /** Invalidates what was taken out, and frees it once no device uses it. Waits for no device. */
    private void freeLater(Taken taken) {
        if (!taken.isEmpty()) {
            freeLater(taken, invalidate(taken));
        }
    }

    /** A device may use it still. */
    void freeLater(Taken taken, long epoch) {
        for (int i = 0; i < taken.pages(); i++) {
            if (taken.owned(i)) {
                iommu.reclaimLater(epoch, taken.page(i));
            }
        }
        radix.settle(taken);
        for (int i = 0; i < taken.tables(); i++) {
            iommu.reclaimLater(epoch, taken.table(i));
        }
        taken.clear();
    }

    /** Forgets everything, and frees the tables and what they own. Nobody uses it any more. */
    void close() {
        open.writeLock().lock();
        try {
            closed = true;
        } finally {
            open.writeLock().unlock();
        }
        iommu.iotlb().invalidate(table.domain(), Iotlb.ANY_PASID, 0, Iotlb.EVERYTHING);
        iommu.walkCache().invalidate(table.domain(), 0, Iotlb.EVERYTHING);
        radix.shut();
        radix.close();
        // Who takes it out gives it back: here, or in letGo.
        shown.forEach((area, now) -> {
            if (shown.remove(area, now)) {
                now.borrowed.forEach(iommu.borrowed()::giveBack);
            }
        });
    }

    // What is the same in several tables.

    /**
     * Makes a range of this table say what another says, areas aside: each page says whether it is of one.
     *
     * @param as the other
     * @param first the first address, and the last one on the same side of the gap in the input range
     * @param taken gets what this said and the other does not
     * @return false if no frame is free for a table
     */
    boolean agree(RadixTable as, long first, long last, Taken taken) {
        Leaf mine = new Leaf();
        Leaf theirs = new Leaf();
        long from = first;
        long to = last;
        long at = first;
        for (long skip; (skip = radix.nextMapped(at, last)) >= 0; ) {
            at += skip;
            long end = at;
            if (radix.look(at, mine)) {
                end = mine.last();
                boolean there = as.look(mine.address(), theirs) && !theirs.isOfRange();
                if (there) {
                    radix.asSaidHere(theirs);
                }
                if (!mine.isOfRange() && (!there || !theirs.covers(mine))) {
                    var _ = radix.unmap(mine.address(), mine.last(), taken, Integer.MAX_VALUE);
                    // What it said of pages outside of the range has to come back.
                    from = Long.compareUnsigned(mine.address(), from) < 0 ? mine.address() : from;
                    to = Long.compareUnsigned(mine.last(), to) > 0 ? mine.last() : to;
                }
            }
            if (Long.compareUnsigned(end, last) >= 0) {
                break;
            }
            at = end + 1;
        }
        at = from;
        for (long skip; (skip = as.nextMapped(at, to)) >= 0; ) {
            at += skip;
            long end = at;
            if (as.look(at, theirs)) {
                end = theirs.last();
                if (!theirs.isOfRange() && !fill(theirs, taken)) {
                    return false;
                }
            }
            if (Long.compareUnsigned(end, to) >= 0) {
                break;
            }
            at = end + 1;
        }
        return true;
    }

    /** Maps what is missing here of a page. */
    private boolean fill(Leaf page, Taken taken) {
        Leaf mine = new Leaf();
        long at = page.address();
        while (true) {
            long end;
            if (radix.look(at, mine)) {
                end = mine.last();
            } else {
                long skip = radix.nextMapped(at, page.last());
                long bytes = skip < 0 ? page.last() - at + 1 : skip;
                long physical = page.physical() + (at - page.address());
                long done = radix.mapPages(at, physical, bytes, page.rights(), format.sizes(), taken);
                if (done < bytes && taken.outcome() == RadixTable.Outcome.NO_FRAME) {
                    return false;
                }
                if (done == 0) {
                    continue;
                }
                end = at + done - 1;
            }
            // The last page of all addresses has no next one.
            if (Long.compareUnsigned(end, page.last()) >= 0) {
                return true;
            }
            at = end + 1;
        }
    }
}
