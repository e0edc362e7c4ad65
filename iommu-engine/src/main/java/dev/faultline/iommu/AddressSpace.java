package dev.faultline.iommu;

import dev.faultline.iommu.table.PageFormat;
import dev.faultline.iommu.table.RadixTable;
import dev.faultline.iommu.table.Taken;
import dev.faultline.iommu.table.Translation;
import dev.faultline.iommu.table.Walk;
import dev.faultline.iommu.tlb.Stations;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.PageMapper;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * What devices see as memory: pages at addresses, in a page table, perhaps with a fault queue for those that are missing.
 *
 * <p>Threads: any; a handler may map, unmap and evict, also on a thread that steps devices, even the device it answers, but
 * not inside {@link Device#step}. Ownership: who makes it closes it; its frames go back to {@link Frames}. Progress: mapping
 * is lock-free; {@link #unmap} and {@link #evict} wait until every thread that has entered a device is between two accesses,
 * a bounded time; so their caller may hold no lock that such a thread waits for without stepping, awaiting or leaving. Units: bytes; pages are 4 KiB; an address names the page it lies in.
 *
 * <p>A page goes in this order: its entry is taken out of the table; the IOTLB is purged; the device TLBs are told, through
 * the invalidation log; every stepping thread has obeyed; the frame is used for something else.
 */
public final class AddressSpace implements PageMapper, AutoCloseable {
    private static final int BATCH = 256;
    private static final long CLOSED = Long.MIN_VALUE;

    private final Iommu iommu;
    private final PageFormat format;
    private final EngineTable engine;
    private final RadixTable table;
    private final PageTable pageTable;
    private final Areas areas = new Areas();
    private final Siblings siblings;
    private final DirectRegions direct;
    private final Frames frames;
    private final Stations stations;
    private final int number;
    /** Pages mapped, without those that were mapped alone: the table counts these, where no two threads meet. */
    private final AtomicLong mapped = new AtomicLong();

    /** The regions of devices: what {@link #areas} keeps of them has no kinds. */
    private final ReservedRanges reserved = new ReservedRanges();

    /** Calls inside, plus {@link #CLOSED}: keeps the tables from going while somebody changes them. */
    private final AtomicLong inside = new AtomicLong();

    AddressSpace(Iommu iommu, PageFormat format, int number, @Nullable FaultQueue queue) {
        this.iommu = iommu;
        this.format = format;
        this.number = number;
        this.frames = iommu.frames();
        this.stations = iommu.stations();
        this.engine = new EngineTable(iommu, format, number, queue, this);
        this.table = engine.radix();
        this.pageTable = engine.table();
        this.siblings = new Siblings(iommu, engine, areas);
        this.direct = new DirectRegions(iommu, areas);
        AreaResult joined = areas.join(engine);
        if (joined != AreaResult.DONE) {
            throw new IllegalStateException("an empty map refuses a page table: " + joined);
        }
    }

    /**
     * {@inheritDoc}
     *
     * @throws IllegalArgumentException if the address is not canonical, the content is less than a page, or {@code access}
     *     asks for neither read nor write, or for more than these and execute
     * @throws OutOfFrames if no frame is free; nothing is changed
     */
    @Override
    public boolean map(long address, MemorySegment page, int access) {
        long at = pageOf(address);
        if (page.byteSize() < Frames.BYTES) {
            throw new IllegalArgumentException("page.byteSize()=" + page.byteSize() + ": allowed 4096 or more");
        }
        requireAccess(access);
        return install(at, page, access);
    }

    /**
     * {@inheritDoc}
     *
     * @throws IllegalArgumentException if the address is not canonical
     * @throws OutOfFrames if no frame is free; nothing is changed
     */
    @Override
    public boolean zero(long address) {
        return install(pageOf(address), null, Translation.RIGHTS);
    }

    /**
     * Maps physical memory that stays the caller's: frames it allocated, or memory that was added. The largest pages that fit are
     * used; empty tables in their place are taken out. When it returns with nothing mapped, no device uses any of it.
     *
     * @param address where, a multiple of 4096
     * @param physical what, a multiple of 4096
     * @param bytes how much, a positive multiple of 4096
     * @param access the permitted accesses: read or write among them
     * @return false if anything is mapped there already, which is left as it is
     * @throws IllegalArgumentException if a value is none of these, the range is not within the input range, or no memory is there
     * @throws OutOfFrames if no frame is free for a table; nothing is mapped
     * @throws QuiescenceTimeout if tables went, or a part had to be unmapped, and a thread has entered a device and does not step
     */
    public boolean map(long address, long physical, long bytes, int access) {
        long first = wholePage("address", address);
        long _ = lastOf(first, bytes);
        requireAccess(access);
        long end = wholePage("physical", physical) + bytes - 1;
        if (physical < 0 || end >>> format.outputBits() != 0 || !holds(physical) || !holds(end)) {
            throw new IllegalArgumentException("physical=0x" + Long.toHexString(physical) + ": allowed where there are "
                    + bytes + " bytes of memory, below 2^" + format.outputBits());
        }
        refuseReserved(first, first + bytes - 1);
        if (bytes == Frames.BYTES) {
            return mapped(first, table.place(first, physical, access));
        }
        if (areas.overlapping(first, first + bytes - 1) != null) {
            return false;
        }
        stations.mayWait();
        enter();
        try {
            Taken taken = new Taken();
            long done = table.mapPages(first, physical, bytes, access, format.sizes(), taken);
            mapped.addAndGet(done / Frames.BYTES);
            if (done < bytes) {
                if (done > 0) {
                    long _ = table.unmap(first, first + done - 1, taken, Integer.MAX_VALUE);
                }
                release(taken, first, first + bytes - 1);
                if (taken.outcome() == RadixTable.Outcome.NO_FRAME) {
                    throw frames.none("a page table");
                }
                return false;
            }
            release(taken, first, first + bytes - 1);
            settle(first, bytes);
            return true;
        } finally {
            leave();
        }
    }

    /**
     * Gives what is mapped in a range other rights. A large page that the range cuts is split. When it returns, no access begun
     * before still uses rights that were taken away.
     *
     * @param address the first page, a multiple of 4096
     * @param bytes how far, a positive multiple of 4096
     * @param access the permitted accesses: read or write among them
     * @return whether anything changed
     * @throws IllegalArgumentException if a value is none of these, or the range is not within the input range
     * @throws OutOfFrames if a large page had to be split and no frame is free; pages below it have the new rights
     * @throws QuiescenceTimeout if a thread has entered a device and does not step
     */
    public boolean protect(long address, long bytes, int access) {
        long first = wholePage("address", address);
        long last = lastOf(first, bytes);
        requireAccess(access);
        refuseAreas(first, last);
        stations.mayWait();
        enter();
        try {
            Taken changed = new Taken();
            RadixTable.Outcome outcome = siblings.protect(first, last, access, changed);
            if (outcome == RadixTable.Outcome.NO_FRAME) {
                throw frames.none("a page table");
            }
            return !changed.isEmpty();
        } finally {
            leave();
        }
    }

    /**
     * {@inheritDoc}
     *
     * @throws IllegalArgumentException if the range is not a number of pages, or not within the input range, or begins or ends
     *     inside a large page: what was mapped as one page is unmapped as one
     * @throws QuiescenceTimeout if a thread has entered a device and does not step
     */
    @Override
    public boolean unmap(long address, long bytes) {
        long first = pageOf(address);
        long last = lastOf(first, bytes);
        refuseAreas(first, last);
        stations.mayWait();
        enter();
        try {
            refuseCut("address", first, first);
            refuseCut("bytes", last, last + 1);
            return takeOut(first, last);
        } finally {
            leave();
        }
    }

    /** Unmaps what is mapped by itself in a range: all of it, also where a device is waited for in vain. */
    private boolean takeOut(long first, long last) {
        boolean any = false;
        Taken taken = new Taken();
        QuiescenceTimeout stuck = null;
        long next = first;
        long done;
        do {
            done = table.unmap(next, last, taken, stuck == null ? BATCH : Integer.MAX_VALUE);
            if (done == 0 && last - first + 1 >= EngineTable.PRUNED_BYTES) {
                table.prune(first, last, taken);
            }
            any |= taken.pages() > 0;
            try {
                release(taken, next, last);
            } catch (QuiescenceTimeout e) {
                stuck = e;
            }
            next += done;
        } while (done != 0);
        if (stuck != null) {
            throw stuck;
        }
        return any;
    }

    /**
     * Takes one page away to use its frame for something else. A page that an access has asked for and not got yet is not
     * taken: a handler under pressure would otherwise take from one fault what it has just given to another, for ever.
     *
     * @param address where
     * @param into 4096 bytes or more; gets the content if a device wrote to the page
     * @return how it ended
     * @throws IllegalArgumentException if the address is not canonical, or {@code into} is too small, or can not be written by this
     *     thread
     * @throws QuiescenceTimeout if a thread has entered a device and does not step; the page is mapped as before. If it can not be, since
     *     something else was mapped or reserved there meanwhile, the page is evicted all the same, {@link Eviction#DIRTY}, with what devices
     *     had written to it by then
     */
    public Eviction evict(long address, MemorySegment into) {
        long at = pageOf(address);
        if (into.byteSize() < Frames.BYTES
                || into.isReadOnly()
                || !into.scope().isAlive()
                || !into.isAccessibleBy(Thread.currentThread())) {
            throw new IllegalArgumentException(
                    "into=" + into + ": allowed segments of 4096 bytes or more that this thread can write");
        }
        refuseAreas(at, at);
        stations.mayWait();
        enter();
        try {
            iommu.reclaim();
            long entry;
            do {
                entry = table.entry(at);
                if (entry == 0 || PageFormat.isOfRange(entry)) {
                    return Eviction.NOT_MAPPED;
                }
                // A device publishes what it wants before it raises the request. If it does so only after this look,
                // then
                // its request is answered after this eviction, by a handler that finds the page gone and brings it
                // back. If
                // the page was taken and brought back for such a request meanwhile, the entry has changed and we look
                // again.
                if (wanted(at)) {
                    return Eviction.BUSY;
                }
            } while (!table.remove(at, entry));
            long epoch = pageTable.forget(at, 0);
            long page = table.page(entry);
            boolean dirtyElsewhere;
            try {
                dirtyElsewhere = siblings.take(at, page, epoch);
            } catch (QuiescenceTimeout e) {
                if (putBack(at, entry)) {
                    throw e;
                }
                frames.physical().read(page, into, 0, Frames.BYTES);
                siblings.forget(page);
                if (format.isOwned(entry)) {
                    iommu.reclaimLater(iommu.log().epoch(), page);
                }
                mapped.decrementAndGet();
                return Eviction.DIRTY;
            }
            // Only now: until its thread obeyed, a device could still write through its TLB. The acquire load of its
            // published
            // epoch makes those bytes visible here.
            boolean dirty = dirtyElsewhere || table.dirty(entry);
            if (dirty) {
                frames.physical().read(page, into, 0, Frames.BYTES);
            }
            siblings.forget(page);
            if (format.isOwned(entry)) {
                frames.free(page);
            }
            mapped.decrementAndGet();
            return dirty ? Eviction.DIRTY : Eviction.CLEAN;
        } finally {
            leave();
        }
    }

    /**
     * Whether a device used the page since this was asked last. Cached translations of the page are forgotten, so that the
     * next use is noticed again.
     *
     * @param address where
     * @return whether it was used; false if nothing is mapped
     */
    public boolean accessedAndClear(long address) {
        long at = pageOf(address);
        enter();
        try {
            // Nobody is waited for: the page stays, and a use that is noticed late is a use all the same.
            return siblings.accessedAndClear(at);
        } finally {
            leave();
        }
    }

    /**
     * Whether a page is mapped.
     *
     * @param address where
     * @return true if a page of 4 KiB is mapped there
     */
    public boolean isMapped(long address) {
        long at = pageOf(address);
        enter();
        try {
            return table.mappedLg2(at) > 0;
        } finally {
            leave();
        }
    }

    /**
     * How many pages are mapped.
     *
     * @return a count that is exact while nobody maps or unmaps
     */
    public long mappedPages() {
        return mapped.get() + table.mappedAlone();
    }

    /**
     * What devices translate through when they are attached to this address space.
     *
     * @return always the same
     */
    public PageTable table() {
        return pageTable;
    }

    /**
     * Makes another page table that is kept the same, of another format perhaps, or with another fault queue. What is mapped now is mapped
     * in it when this returns. It goes with {@link PageTable#close}, or with the address space.
     *
     * @param tableFormat its format
     * @param faults where faults of its devices go; null if they are to fail
     * @return the page table
     * @throws OutOfFrames if no frame is free; nothing is changed
     * @throws IllegalArgumentException if something is mapped that it can not translate
     */
    public PageTable addTable(TableFormat tableFormat, @Nullable FaultQueue faults) {
        enter();
        try {
            EngineTable added = iommu.sibling(tableFormat, faults, this);
            siblings.join(added);
            return added.table();
        } finally {
            leave();
        }
    }

    /** Ends a table that {@link #addTable} made. */
    void remove(EngineTable gone) {
        gone.table().retire();
        siblings.leave(gone);
    }

    /**
     * What is mapped as ranges. A range is shown in every page table; no page of it can be unmapped, protected or evicted by itself, and
     * no page mapped by itself lies in it.
     *
     * @return always the same; once this is closed, no page table shows it
     */
    public Areas areas() {
        return areas;
    }

    /**
     * The fault queue.
     *
     * @return null if missing pages cannot be asked for
     */
    public @Nullable FaultQueue queue() {
        return pageTable.queue();
    }

    /**
     * What the page table says about an address, step by step, for people.
     *
     * @param address any
     * @return the steps, whose {@code toString} is several lines
     */
    public Explanation explain(long address) {
        enter();
        try {
            return Explanation.of(table.walker().trail(address));
        } finally {
            leave();
        }
    }

    /**
     * Detaches every device, waits a bounded time for calls under way, and frees all pages and tables.
     *
     * @throws IllegalStateException if a thread neither steps nor leaves a device attached here, or does not return from a
     *     call; then nothing is freed and the call may be made again
     */
    @Override
    public void close() {
        for (EngineTable other : siblings.all()) {
            remove(other);
        }
        pageTable.retire();
        synchronized (this) {
            long calls = inside.get();
            while (calls >= 0 && !inside.compareAndSet(calls, calls | CLOSED)) {
                calls = inside.get();
            }
            if (calls < 0 && !iommu.holds(this)) {
                return;
            }
            long start = System.nanoTime();
            for (int i = 0; inside.get() != CLOSED; i++) {
                if (System.nanoTime() - start > iommu.config().limitNs()) {
                    throw new IllegalStateException(
                            (inside.get() & ~CLOSED) + " calls have not returned: address space " + number + " stays");
                }
                Stations.pause(i);
            }
            areas.leave(engine);
            engine.close();
            mapped.set(-table.mappedAlone());
            iommu.closed(this);
        }
    }

    int number() {
        return number;
    }

    PageFormat format() {
        return format;
    }

    RadixTable radix() {
        return table;
    }

    /** The walk of a table nested in this one. */
    Explanation explainOver(Walk walk, long address) {
        enter();
        try {
            return Explanation.of(walk.trail(address));
        } finally {
            leave();
        }
    }

    /**
     * Keeps regions free of mappings for an attachment, and maps direct ones one to one.
     *
     * @throws IllegalStateException if something is mapped in one; nothing is changed
     * @throws IllegalArgumentException if one lies partly outside of the input range, or a direct one where there is no memory
     */
    void reserve(Attachment owner, List<ReservedRegion> regions) {
        for (ReservedRegion region : regions) {
            if (format.canonical(region.first()) != format.canonical(region.last())) {
                throw new IllegalArgumentException("reserved=" + region
                        + ": allowed as a whole within the input range or as a whole outside, which is "
                        + format.canonicalRule());
            }
        }
        enter();
        try {
            boolean done = false;
            try {
                reserved.add(owner, regions);
                for (ReservedRegion region : regions) {
                    reserve(owner, region);
                }
                done = true;
            } finally {
                if (!done) {
                    unreserve(owner);
                }
            }
        } finally {
            leave();
        }
    }

    private void reserve(Attachment owner, ReservedRegion region) {
        boolean free;
        if (region.kind() == ReservedRegion.Kind.DIRECT) {
            free = direct.map(owner, region);
        } else {
            free = (!format.canonical(region.first()) || table.nextMapped(region.first(), region.last()) < 0)
                    && areas.reserve(owner, region.first(), region.last()) == AreaResult.DONE;
        }
        if (!free) {
            throw new IllegalStateException("reserved=" + region + ": something is mapped there: unmap it first");
        }
    }

    /** Reserves no more for an attachment. */
    void unreserve(Attachment owner) {
        reserved.remove(owner);
        areas.release(owner);
        direct.unmap(owner);
    }

    private void refuseReserved(long first, long last) {
        ReservedRegion region = reserved.overlapping(first, last);
        if (region != null) {
            throw clash(first, region);
        }
    }

    private static IllegalArgumentException clash(long first, ReservedRegion region) {
        return new IllegalArgumentException("address=0x" + Long.toHexString(first)
                + ": allowed where no attached device has a reserved region, as it has: " + region);
    }

    private void refuseAreas(long first, long last) {
        Area area = areas.overlapping(first, last);
        if (area != null) {
            throw new IllegalArgumentException("address=0x" + Long.toHexString(first)
                    + ": allowed where pages were mapped by themselves, and not as the range " + area);
        }
    }

    /**
     * After something was mapped: takes it back if a region was being reserved there meanwhile, and tells the other tables.
     *
     * @throws OutOfFrames if they have no room; then it is mapped nowhere
     * @throws IllegalArgumentException if one of them can not translate it; then it is mapped nowhere
     */
    private void settle(long first, long bytes) {
        long last = first + bytes - 1;
        ReservedRegion region = reserved.overlapping(first, last);
        if (region != null) {
            takeBack(first, last);
            // Even if it is reserved no more: who reserved it may have found the mapping, and given up as well.
            throw clash(first, region);
        }
        boolean whole;
        try {
            whole = siblings.show(first, last);
        } catch (IllegalArgumentException e) {
            takeBack(first, last);
            throw e;
        }
        if (!whole) {
            takeBack(first, last);
            throw frames.none("a page table");
        }
    }

    /** Maps a page again that was taken out in vain; false if that can not be, for its place or another table has no room. */
    private boolean putBack(long at, long entry) {
        long last = at + Frames.BYTES - 1;
        if (reserved.overlapping(at, last) != null || !table.restore(at, entry)) {
            return false;
        }
        try {
            if (reserved.overlapping(at, last) == null && siblings.show(at, last)) {
                return true;
            }
        } catch (IllegalArgumentException e) {
            // A table that came meanwhile can not translate it.
        }
        long page = table.page(entry);
        for (long now = table.entry(at); now != 0 && table.page(now) == page; now = table.entry(at)) {
            if (table.remove(at, now)) {
                try {
                    boolean _ = siblings.take(at, page, pageTable.forget(at, 0));
                } catch (QuiescenceTimeout e) {
                    // Its frame is not used again before that thread has stepped.
                }
                return false;
            }
        }
        // Somebody else has taken it since.
        return true;
    }

    /** Unmaps what was mapped just now, whatever range is being made there meanwhile. */
    private void takeBack(long first, long last) {
        stations.mayWait();
        enter();
        try {
            boolean _ = takeOut(first, last);
        } finally {
            leave();
        }
    }

    private boolean wanted(long at) {
        return siblings.want(at);
    }

    private boolean install(long at, @Nullable MemorySegment content, int access) {
        refuseReserved(at, at);
        return mapped(at, table.fill(at, content, access));
    }

    /** Whether a page of 4 KiB was mapped. */
    private boolean mapped(long at, RadixTable.Outcome outcome) {
        return switch (outcome) {
            case DONE -> {
                settle(at, Frames.BYTES);
                yield true;
            }
            case IN_USE -> false;
            case NO_FRAME -> throw frames.none("a page");
            case SHUT -> throw closed();
        };
    }

    /** Invalidates what was taken out of a range, here and in the other tables, waits until no device uses it, and frees it. */
    private void release(Taken taken, long first, long last) {
        if (taken.isEmpty()) {
            return;
        }
        mapped.addAndGet(-bytesOf(taken) / Frames.BYTES);
        siblings.release(taken, first, last);
    }

    private static long bytesOf(Taken taken) {
        long bytes = 0;
        for (int i = 0; i < taken.pages(); i++) {
            bytes += 1L << taken.sizeLg2(i);
        }
        return bytes;
    }

    private boolean holds(long physical) {
        return frames.physical().contains(physical);
    }

    private static void requireAccess(int access) {
        if ((access & (Translation.READ | Translation.WRITE)) == 0 || (access & ~Translation.RIGHTS) != 0) {
            throw new IllegalArgumentException("access=" + access + ": allowed " + Translation.READ + " (read) or "
                    + Translation.WRITE + " (write) or both, and with either " + Translation.EXECUTE + " (execute)");
        }
    }

    private long wholePage(String field, long address) {
        if ((address & (Frames.BYTES - 1)) != 0) {
            throw new IllegalArgumentException(
                    field + "=0x" + Long.toHexString(address) + ": allowed multiples of 4096");
        }
        return field.equals("address") ? pageOf(address) : address;
    }

    /** The last address of a range that lies within the input range, on one side of its gap. */
    private long lastOf(long first, long bytes) {
        if (bytes <= 0 || bytes % Frames.BYTES != 0) {
            throw new IllegalArgumentException("bytes=" + bytes + ": allowed positive multiples of 4096");
        }
        long last = first + bytes - 1;
        if (!format.canonical(last) || Long.compareUnsigned(last, first) < 0 || (last ^ first) < 0) {
            throw new IllegalArgumentException("bytes=" + bytes + ": 0x" + Long.toHexString(first)
                    + " and so many bytes leave the input range, allowed " + format.canonicalRule());
        }
        return last;
    }

    private void refuseCut(String field, long address, long border) {
        int size = table.mappedLg2(address);
        if (size > Frames.SHIFT && (border & ((1L << size) - 1)) != 0) {
            long start = address & -(1L << size);
            throw new IllegalArgumentException(field + ": 0x" + Long.toHexString(border)
                    + " lies inside the page of " + (1L << size) + " bytes at 0x" + Long.toHexString(start)
                    + ": allowed ranges of whole pages as they were mapped");
        }
    }

    private long pageOf(long address) {
        if (!format.canonical(address)) {
            throw new IllegalArgumentException(
                    "address=0x" + Long.toHexString(address) + ": allowed " + format.canonicalRule());
        }
        return address & Frames.PAGE;
    }

    private void enter() {
        if (inside.getAndIncrement() < 0) {
            inside.getAndDecrement();
            throw closed();
        }
    }

    private IllegalStateException closed() {
        return new IllegalStateException("address space " + number + " is closed");
    }

    private void leave() {
        inside.getAndDecrement();
    }
}
