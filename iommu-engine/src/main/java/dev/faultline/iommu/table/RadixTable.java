package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.PageFormat.LEAF;
import static dev.faultline.iommu.table.PageFormat.TABLE;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * The tables of one format in physical memory, changed by threads that map and unmap while others walk.
 *
 * <p>Threads: any, but {@link #close}, which needs the table for itself. Ownership: it owns the frames of its tables, which it
 * takes from and gives back to its {@link Allocator}. What a change takes out is handed to the caller in a {@link Taken}; it
 * invalidates, waits until no device uses it, and then calls {@link #free}. Progress: all lock-free but for one case: who meets
 * a table that a large page is just replacing waits for that thread.
 *
 * <p>Entries change by compare-and-set and exchange, which release what they publish: a table's zeroes, a page's content.
 *
 * <p><b>Taking an empty table out</b>, for a large page or for nothing. The entry above is marked {@link #BUSY}: mappers wait, all
 * others go on to the table, in which a leaf may be still. Then each item is made {@link #FROZEN}, by compare-and-set from 0. If
 * a leaf is met, all is put back, and the table stays; else what replaces it takes BUSY's place. A mapper that stood in it has put
 * its leaf there before, or it meets FROZEN and begins again from the root. Its frame is used again after the devices' threads and
 * the mappers ({@link Visits}) have left.
 *
 * <p><b>Two kinds of pages.</b> Each leaf says, in a bit that hardware ignores, whether it was mapped by itself or as part of a range.
 * Each change is for one kind, and passes over leaves of the other, also over those that have just come.
 */
public final class RadixTable {
    /** How a change ended. */
    public enum Outcome {
        DONE,
        /** Something is mapped there, and stays. */
        IN_USE,
        /** A table or a page is needed, and no frame is free. Tables made on the way stay, empty. */
        NO_FRAME,
        /** Nothing may be mapped any more. */
        SHUT
    }

    private static final int ENTRY_LG2 = 3;
    /** In a table's entry, ignored by the hardware of every format: somebody is replacing the table, and nothing new may be put in it. */
    private static final long BUSY = 1L << 58;
    /** In an item, present in no format: nothing may be put here any more. */
    private static final long FROZEN = BUSY;

    // What a descent comes to instead of an item.
    private static final long NONE_FREE = -1;
    private static final long LARGER_PAGE = -2;
    private static final long GOING = -3;

    /** Where a page of 4 KiB is mapped no table is replaced. */
    private static final Taken NONE_TAKEN = new Taken();

    final PageFormat format;
    final PhysicalMemory memory;
    private final Allocator frames;
    private final Walker walker;
    private final Visits visits = new Visits();
    private final long root;
    private final int top;
    private final long tableMask;
    private final long tableValue;
    private final long tableAddressMask;

    private RadixTable(PageFormat format, PhysicalMemory memory, Allocator frames, long root) {
        this.format = format;
        this.memory = memory;
        this.frames = frames;
        this.root = root;
        this.top = format.topLevel;
        this.walker = new Walker(format, memory, root);
        this.tableMask = format.tableMask;
        this.tableValue = format.tableValue;
        this.tableAddressMask = format.tableAddressMask;
    }

    /** An empty table, or null if no frame is free for its root. */
    public static @Nullable RadixTable make(PageFormat format, PhysicalMemory memory, Allocator frames) {
        int needed = format.rootFrames();
        long root = needed == 1 ? frames.allocate() : run(frames, needed);
        if (root < 0) {
            return null;
        }
        for (int i = 0; i < needed; i++) {
            memory.zero(root + ((long) i << Translation.PAGE_SHIFT));
        }
        return new RadixTable(format, memory, frames, root);
    }

    public PageFormat format() {
        return format;
    }

    /** The way devices read it. */
    public Walker walker() {
        return walker;
    }

    /** The same walk. */
    public long walk(long address, int needed) {
        return walker.walk(address, needed);
    }

    /** The physical address of the root table. */
    public long root() {
        return root;
    }

    /**
     * Maps a page, making the tables on the way; empty tables in a large page's place are taken out.
     *
     * @param address a multiple of the size
     * @param physical a multiple of the size
     * @param sizeLg2 log2 of its bytes, one of the format's sizes
     * @param rights for all requests
     * @param owned whether {@link #close} frees the page
     * @param taken gets the tables that were replaced
     * @return DONE, IN_USE or NO_FRAME
     */
    public Outcome map(long address, long physical, int sizeLg2, int rights, boolean owned, Taken taken) {
        int target = format.levelOf(sizeLg2);
        long leaf = format.leaf(physical, target, rights, owned);
        int visit = visits.enter();
        try {
            return map(address, target, leaf, taken);
        } finally {
            visits.leave(visit);
        }
    }

    private Outcome map(long address, int target, long leaf, Taken taken) {
        for (int turn = 0; ; turn++) {
            Outcome outcome = tryMap(address, target, leaf, taken);
            if (outcome != null) {
                return outcome;
            }
            Visits.pause(turn);
        }
    }

    /**
     * Maps pages by themselves, the largest that fit.
     *
     * @param address a multiple of 4096
     * @param physical a multiple of 4096
     * @param bytes a multiple of 4096, above 0
     * @param sizes that may be used: bit n for 2^n bytes
     * @param taken gets the tables that were replaced, and the outcome: DONE, or why it stopped
     * @return how many bytes are mapped
     */
    public long mapPages(long address, long physical, long bytes, int rights, long sizes, Taken taken) {
        return map(address, physical, bytes, rights, 0, sizes, taken);
    }

    /** As {@link #mapPages}, but as parts of a range, which {@link #unmapRange} unmaps. */
    public long mapRange(long address, long physical, long bytes, int rights, long sizes, Taken taken) {
        return map(address, physical, bytes, rights, PageFormat.RANGE, sizes, taken);
    }

    private long map(long address, long physical, long bytes, int rights, long kind, long sizes, Taken taken) {
        long done = 0;
        while (done < bytes) {
            int sizeLg2 = largest(sizes & format.pageSizes(), address + done | physical + done, bytes - done);
            int target = format.levelOf(sizeLg2);
            long leaf = format.leaf(physical + done, target, rights, false) | kind;
            int visit = visits.enter();
            try {
                taken.outcome(map(address + done, target, leaf, taken));
            } finally {
                visits.leave(visit);
            }
            if (taken.outcome() != Outcome.DONE) {
                break;
            }
            done += 1L << sizeLg2;
        }
        return done;
    }

    /** The largest of some sizes to which the addresses are aligned, and which fits. */
    private static int largest(long sizes, long addresses, long bytes) {
        int aligned = addresses == 0 ? Long.SIZE - 1 : Long.numberOfTrailingZeros(addresses);
        int fits = Math.min(aligned, Long.SIZE - 1 - Long.numberOfLeadingZeros(bytes));
        return Long.SIZE - 1 - Long.numberOfLeadingZeros(sizes & ((2L << fits) - 1));
    }

    /**
     * Maps a page of 4 KiB that is allocated for it and owned by the table.
     *
     * @param address a multiple of 4096
     * @param content what is copied into it, 4096 bytes or more; null for zeroes
     * @param rights for all requests
     * @return DONE, IN_USE, NO_FRAME or SHUT
     */
    public Outcome fill(long address, @Nullable MemorySegment content, int rights) {
        int visit = visits.enter();
        long page = -1;
        boolean installed = false;
        try {
            if (visits.isShut()) {
                return Outcome.SHUT;
            }
            page = frames.allocate();
            if (page < 0) {
                return leafLevel(address) < 0 ? Outcome.NO_FRAME : Outcome.IN_USE;
            }
            if (content == null) {
                memory.zero(page);
            } else {
                memory.write(page, content, 0, 1L << Translation.PAGE_SHIFT);
            }
            long leaf = format.leaf(page, 0, rights, true);
            // The entry is not looked at before: a load would fetch its line from the device's thread to be read, and
            // the store
            // would have to fetch it again. So a page that is there costs one more in vain.
            Outcome outcome = map(address, 0, leaf, NONE_TAKEN);
            if (outcome == Outcome.DONE) {
                installed = true;
                visits.countMapped(visit);
            }
            return outcome;
        } finally {
            visits.leave(visit);
            if (page >= 0 && !installed) {
                frames.free(page);
            }
        }
    }

    /**
     * Maps a page of 4 KiB that is the caller's.
     *
     * @param address a multiple of 4096
     * @param physical a multiple of 4096
     * @param rights for all requests
     * @return DONE, IN_USE, NO_FRAME or SHUT
     */
    public Outcome place(long address, long physical, int rights) {
        int visit = visits.enter();
        try {
            if (visits.isShut()) {
                return Outcome.SHUT;
            }
            Outcome outcome = map(address, 0, format.leaf(physical, 0, rights, false), NONE_TAKEN);
            if (outcome == Outcome.DONE) {
                visits.countMapped(visit);
            }
            return outcome;
        } finally {
            visits.leave(visit);
        }
    }

    /** How many pages {@link #fill} and {@link #place} have mapped; exact while nobody does. */
    public long mappedAlone() {
        return visits.mapped();
    }

    /** From now on {@link #fill} and {@link #place} map nothing; waits for those who are just doing so. */
    public void shut() {
        visits.shut();
    }

    /** One descent; null if it met a table that is going, and has to begin again. */
    private @Nullable Outcome tryMap(long address, int target, long leaf, Taken taken) {
        long slot = slotFor(address, target);
        if (slot < 0) {
            return slot == NONE_FREE ? Outcome.NO_FRAME : slot == LARGER_PAGE ? Outcome.IN_USE : null;
        }
        while (!memory.replace(slot, 0, leaf)) {
            long entry = memory.entry(slot);
            if (goes(entry)) {
                return null;
            }
            if (entry == 0) {
                continue;
            }
            if (target == 0 || format.classify(entry, target) != TABLE) {
                return Outcome.IN_USE;
            }
            if (!empty(format.tableAddress(entry), target - 1)) {
                return Outcome.IN_USE;
            }
            if (memory.replace(slot, entry, entry | BUSY)) {
                return replaceTable(slot, entry, target, leaf, taken);
            }
        }
        return Outcome.DONE;
    }

    /** Where an address's item of a level is, making the tables on the way: {@link #NONE_FREE}, {@link #LARGER_PAGE} or {@link #GOING} if there is none. */
    private long slotFor(long address, int target) {
        long table = root;
        for (int level = top; level > target; level--) {
            long slot = format.slot(table, address, level);
            long entry = memory.entry(slot);
            if (entry == 0) {
                long made = frames.allocate();
                if (made < 0) {
                    return NONE_FREE;
                }
                memory.zero(made);
                if (!memory.replace(slot, 0, format.table(made))) {
                    frames.free(made);
                }
                entry = memory.entry(slot);
            }
            if ((entry & (tableMask | BUSY)) == tableValue) {
                table = entry & tableAddressMask;
            } else if (entry == 0 || goes(entry)) {
                return GOING;
            } else if (format.classify(entry, level) != TABLE) {
                return LARGER_PAGE;
            } else {
                table = format.tableAddress(entry);
            }
        }
        return format.slot(table, address, target);
    }

    /** Puts a leaf, or 0, in the place of a table whose slot the caller made BUSY; or puts the table back, which is not empty. */
    private Outcome replaceTable(long slot, long entry, int target, long leaf, Taken taken) {
        long table = format.tableAddress(entry);
        boolean frozen = freeze(table, target - 1);
        if (frozen) {
            // Nobody finds a page in it any more; from the exchange on somebody may find one in its place.
            walker.tableDeparts();
            memory.exchange(slot, leaf);
            walker.tableDeparted();
            collect(table, target - 1, taken);
        } else {
            memory.exchange(slot, entry);
        }
        return frozen ? Outcome.DONE : Outcome.IN_USE;
    }

    /** Whether a table seems to hold no leaf. */
    private boolean empty(long table, int level) {
        for (int i = 0; i < format.entries(level); i++) {
            long entry = memory.entry(table + ((long) i << ENTRY_LG2));
            if (entry != 0
                    && entry != FROZEN
                    && (level == 0
                            || format.classify(entry, level) != TABLE
                            || !empty(format.tableAddress(entry), level - 1))) {
                return false;
            }
        }
        return true;
    }

    /** Makes every item FROZEN, or BUSY with a table of which the same holds; false if there is a leaf, and then all is as it was. */
    private boolean freeze(long table, int level) {
        for (int i = 0; i < format.entries(level); i++) {
            if (!freezeItem(table + ((long) i << ENTRY_LG2), level)) {
                thaw(table, level, i);
                return false;
            }
        }
        return true;
    }

    private boolean freezeItem(long slot, int level) {
        for (int turn = 0; !memory.replace(slot, 0, FROZEN); ) {
            long entry = memory.entry(slot);
            if (busy(entry)) {
                // Who replaces a table below waits for nobody above.
                Visits.pause(turn++);
            } else if (entry != 0 && (level == 0 || format.classify(entry, level) != TABLE)) {
                return false;
            } else if (entry != 0) {
                long below = format.tableAddress(entry);
                if (memory.replace(slot, entry, entry | BUSY)) {
                    boolean frozen = freeze(below, level - 1);
                    if (!frozen) {
                        memory.exchange(slot, entry);
                    }
                    return frozen;
                }
            }
        }
        return true;
    }

    /** Undoes {@link #freeze} for the first items. */
    private void thaw(long table, int level, int count) {
        for (int i = 0; i < count; i++) {
            long slot = table + ((long) i << ENTRY_LG2);
            long entry = memory.entry(slot);
            if (entry == FROZEN) {
                memory.exchange(slot, 0);
            } else {
                thaw(format.tableAddress(entry), level - 1, format.entries(level - 1));
                memory.exchange(slot, entry & ~BUSY);
            }
        }
    }

    /** The tables below one that is frozen, and it. */
    private void collect(long table, int level, Taken taken) {
        for (int i = 0; level > 0 && i < format.entries(level); i++) {
            long entry = memory.entry(table + ((long) i << ENTRY_LG2));
            if (busy(entry)) {
                collect(format.tableAddress(entry), level - 1, taken);
            }
        }
        taken.table(table);
    }

    /**
     * Unmaps the pages that lie in a range and were mapped by themselves, as far as {@code taken} has room, and tables stay. A large
     * page that only begins or ends in it stays too.
     *
     * @param from a multiple of 4096
     * @param last the last address, inclusive, in the input range on the same side of its gap
     * @param taken gets the pages
     * @param limit how many pages at most
     * @return how many bytes from {@code from} on are done; 0 if all
     */
    public long unmap(long from, long last, Taken taken, int limit) {
        return unmap(from, last, 0, taken, limit);
    }

    /** As {@link #unmap}, but what was mapped by {@link #mapRange}. */
    public long unmapRange(long from, long last, Taken taken, int limit) {
        return unmap(from, last, PageFormat.RANGE, taken, limit);
    }

    private long unmap(long from, long last, long kind, Taken taken, int limit) {
        int visit = visits.enter();
        try {
            long address = from;
            while (true) {
                long slot = 0;
                long entry = 0;
                long table = root;
                int level = top;
                while (true) {
                    slot = format.slot(table, address, level);
                    entry = memory.entry(slot);
                    if (level == 0 || entry == 0 || entry == FROZEN || format.classify(entry, level) != TABLE) {
                        break;
                    }
                    table = format.tableAddress(entry);
                    level--;
                }
                long span = 1L << format.shift(level);
                long start = address & -span;
                long end = start + span - 1;
                if (entry != 0 && entry != FROZEN && (entry & PageFormat.RANGE) == kind) {
                    boolean inside = Long.compareUnsigned(start, from) >= 0 && Long.compareUnsigned(end, last) <= 0;
                    if (inside) {
                        if (taken.pages() == limit) {
                            return address - from;
                        }
                        if (!memory.replace(slot, entry, 0)) {
                            continue;
                        }
                        note(start, entry, level, taken);
                    }
                }
                if (Long.compareUnsigned(end, last) >= 0) {
                    return 0;
                }
                address = end + 1;
            }
        } finally {
            visits.leave(visit);
        }
    }

    /**
     * Takes out the tables that lie wholly in a range and are empty.
     *
     * @param from the first address
     * @param last the last one
     * @param taken gets them
     */
    public void prune(long from, long last, Taken taken) {
        int visit = visits.enter();
        try {
            prune(root, top, from, last, taken);
        } finally {
            visits.leave(visit);
        }
    }

    private void prune(long table, int level, long from, long last, Taken taken) {
        long span = 1L << format.shift(level);
        long address = from & -span;
        while (level > 0) {
            long slot = format.slot(table, address, level);
            long end = address + span - 1;
            boolean inside = Long.compareUnsigned(address, from) >= 0 && Long.compareUnsigned(end, last) <= 0;
            while (true) {
                long entry = memory.entry(slot);
                if (entry == 0 || goes(entry) || format.classify(entry, level) != TABLE) {
                    break;
                }
                long below = format.tableAddress(entry);
                if (!inside || !empty(below, level - 1)) {
                    long first = Long.compareUnsigned(address, from) > 0 ? address : from;
                    prune(below, level - 1, first, Long.compareUnsigned(end, last) < 0 ? end : last, taken);
                    break;
                }
                if (memory.replace(slot, entry, entry | BUSY)
                        && replaceTable(slot, entry, level, 0, taken) == Outcome.DONE) {
                    break;
                }
            }
            if (Long.compareUnsigned(end, last) >= 0) {
                return;
            }
            address = end + 1;
        }
    }

    /**
     * Unmaps a page if its entry, marks included, still is what the caller saw.
     *
     * @param address in the page
     * @param entry what {@link #entry} gave
     */
    public boolean remove(long address, long entry) {
        return exchangeLeaf(address, entry, 0);
    }

    /** Puts back what {@link #remove} took out, unless something else is there by now. */
    public boolean restore(long address, long entry) {
        return exchangeLeaf(address, 0, entry);
    }

    private boolean exchangeLeaf(long address, long expected, long value) {
        int visit = visits.enter();
        try {
            long slot = slotOf(address, 0);
            return slot >= 0 && memory.replace(slot, expected, value);
        } finally {
            visits.leave(visit);
        }
    }

    /** The entry of a page of 4 KiB, 0 if there is none, or a larger one. */
    public long entry(long address) {
        int visit = visits.enter();
        try {
            long slot = slotOf(address, 0);
            long entry = slot < 0 ? 0 : memory.entry(slot);
            return entry == FROZEN ? 0 : entry;
        } finally {
            visits.leave(visit);
        }
    }

    /** log2 of the size of the page that is mapped at an address; 0 if none is. */
    public int mappedLg2(long address) {
        int visit = visits.enter();
        try {
            long table = root;
            for (int level = top; ; level--) {
                long entry = memory.entry(format.slot(table, address, level));
                int kind = entry == 0 || entry == FROZEN ? -1 : format.classify(entry, level);
                if (kind == LEAF) {
                    return format.shift(level);
                }
                if (kind != TABLE) {
                    return 0;
                }
                table = format.tableAddress(entry);
            }
        } finally {
            visits.leave(visit);
        }
    }

    /** Reads and clears the accessed mark of the page at an address, whatever its size. */
    public boolean accessedAndClear(long address) {
        int visit = visits.enter();
        try {
            int level = leafLevel(address);
            long slot = level < 0 ? -1 : slotOf(address, level);
            while (slot >= 0) {
                long entry = memory.entry(slot);
                if (format.classify(entry, level) != LEAF || !format.accessed(entry)) {
                    return false;
                }
                if (memory.replace(slot, entry, format.unaccessed(entry))) {
                    return true;
                }
            }
            return false;
        } finally {
            visits.leave(visit);
        }
    }

    /**
     * Reads and clears the dirty marks of the entry at an address, of all items if it is a contiguous group. Whoever clears
     * invalidates: a cached translation still writes without setting the mark again.
     *
     * @return whether any item was dirty
     */
    public boolean dirtyAndClear(long address) {
        int visit = visits.enter();
        try {
            int level = leafLevel(address);
            if (level < 0) {
                return false;
            }
            int itemLg2 = format.shift(level);
            long groupBytes = 1L << format.leafSizeLg2(memory.entry(slotOf(address, level)), level, address);
            boolean any = false;
            for (long at = address & -groupBytes, i = 0; i < groupBytes >>> itemLg2; i++, at += 1L << itemLg2) {
                any |= cleanItem(slotOf(at, level), level);
            }
            return any;
        } finally {
            visits.leave(visit);
        }
    }

    private boolean cleanItem(long slot, int level) {
        while (slot >= 0) {
            long entry = memory.entry(slot);
            if (format.classify(entry, level) != LEAF || !format.dirty(entry)) {
                return false;
            }
            if (memory.replace(slot, entry, format.clean(entry))) {
                return true;
            }
        }
        return false;
    }

    /**
     * Gives what is mapped by itself in a range other rights, splitting a large page that only begins or ends in it.
     *
     * @param from a multiple of 4096
     * @param last the last address
     * @param rights for all requests
     * @param taken gets the pages whose rights changed; they stay mapped
     * @return DONE, or NO_FRAME with what came before done
     */
    public Outcome protect(long from, long last, int rights, Taken taken) {
        int visit = visits.enter();
        try {
            long address = from;
            while (true) {
                long slot = 0;
                long entry = 0;
                long table = root;
                int level = top;
                int kind;
                while (true) {
                    slot = format.slot(table, address, level);
                    entry = memory.entry(slot);
                    kind = entry == 0 || entry == FROZEN ? -1 : format.classify(entry, level);
                    if (kind != TABLE) {
                        break;
                    }
                    table = format.tableAddress(entry);
                    level--;
                }
                long span = 1L << format.shift(level);
                long start = address & -span;
                long end = start + span - 1;
                if (kind == LEAF && !PageFormat.isOfRange(entry)) {
                    if (Long.compareUnsigned(start, from) < 0 || Long.compareUnsigned(end, last) > 0) {
                        if (!split(slot, entry, level)) {
                            return Outcome.NO_FRAME;
                        }
                        continue;
                    }
                    long changed = format.withRights(entry, level, rights);
                    if (changed != entry) {
                        if (!memory.replace(slot, entry, changed)) {
                            continue;
                        }
                        note(start, entry, level, taken);
                    }
                }
                if (Long.compareUnsigned(end, last) >= 0) {
                    return Outcome.DONE;
                }
                address = end + 1;
            }
        } finally {
            visits.leave(visit);
        }
    }

    /** Puts a table of smaller pages in a large page's place, unless that has changed. False if no frame is free. */
    private boolean split(long slot, long entry, int level) {
        long made = frames.allocate();
        if (made < 0) {
            return false;
        }
        memory.zero(made);
        for (int i = 0; i < format.entries(level - 1); i++) {
            long part = format.split(entry, level, (long) i << format.shift(level - 1));
            memory.exchange(made + ((long) i << ENTRY_LG2), part);
        }
        if (!memory.replace(slot, entry, format.table(made))) {
            frames.free(made);
        }
        return true;
    }

    /**
     * The first page that is mapped, passing over tables that do not exist.
     *
     * @param from a page address
     * @param last an address not below it, on the same side of the gap in the input range
     * @return 0 or more: how many bytes after {@code from}; -1 if there is none up to and including {@code last}
     */
    public long nextMapped(long from, long last) {
        int visit = visits.enter();
        try {
            long address = from;
            while (true) {
                long table = root;
                int level = top;
                int kind;
                while (true) {
                    long entry = memory.entry(format.slot(table, address, level));
                    kind = entry == 0 || entry == FROZEN ? -1 : format.classify(entry, level);
                    if (kind != TABLE) {
                        break;
                    }
                    table = format.tableAddress(entry);
                    level--;
                }
                if (kind == LEAF) {
                    return address - from;
                }
                long end = address | ((1L << format.shift(level)) - 1);
                if (Long.compareUnsigned(end, last) >= 0) {
                    return -1;
                }
                address = end + 1;
            }
        } finally {
            visits.leave(visit);
        }
    }

    /**
     * What is mapped at an address.
     *
     * @param into filled if there is something
     * @return whether there is
     */
    public boolean look(long address, Leaf into) {
        int visit = visits.enter();
        try {
            int level = leafLevel(address);
            long slot = level < 0 ? -1 : slotOf(address, level);
            long entry = slot < 0 ? 0 : memory.entry(slot);
            if (entry == 0 || entry == FROZEN || format.classify(entry, level) != LEAF) {
                return false;
            }
            into.address = address & -(1L << format.shift(level));
            into.sizeLg2 = format.shift(level);
            into.physical = format.leafAddress(entry, level);
            into.rights = format.rightsOf(entry);
            into.ofRange = PageFormat.isOfRange(entry);
            into.dirty = format.dirty(entry);
            return true;
        } finally {
            visits.leave(visit);
        }
    }

    /** Gives a page of another table the rights that a page of this one would say, which may know no execute. */
    public void asSaidHere(Leaf page) {
        page.rights = format.rightsOf(format.leaf(0, 0, page.rights, false));
    }

    /** The physical page of an entry of 4 KiB. */
    public long page(long entry) {
        return format.leafAddress(entry, 0);
    }

    public boolean dirty(long entry) {
        return format.dirty(entry);
    }

    /**
     * Frees tables that were taken out, after devices' threads were waited for; those that change the table are waited for here.
     *
     * @param taken whose pages are left alone
     */
    public void free(Taken taken) {
        settle(taken);
        for (int i = 0; i < taken.tables(); i++) {
            frames.free(taken.table(i));
        }
    }

    /** Waits until no mapper stands in tables that were taken out. */
    public void settle(Taken taken) {
        if (taken.tables() > 0) {
            visits.awaitEarlier();
        }
    }

    /** Frees the tables and the owned pages mapped in them. */
    public void close() {
        free(root, top);
        for (int i = 1; i < format.rootFrames(); i++) {
            frames.free(root + ((long) i << Translation.PAGE_SHIFT));
        }
    }

    private void free(long table, int level) {
        for (int i = 0; i < format.entries(level); i++) {
            long entry = memory.entry(table + ((long) i << ENTRY_LG2));
            int kind = entry == 0 ? -1 : format.classify(entry, level);
            if (kind == LEAF && format.owned(entry)) {
                long page = format.leafAddress(entry, level);
                for (long at = 0; at < 1L << format.shift(level); at += 1L << Translation.PAGE_SHIFT) {
                    frames.free(page + at);
                }
            } else if (kind == TABLE) {
                free(format.tableAddress(entry), level - 1);
            }
        }
        frames.free(table);
    }

    private void note(long address, long entry, int level, Taken taken) {
        taken.page(
                address,
                format.leafAddress(entry, level),
                format.shift(level),
                format.owned(entry),
                format.dirty(entry));
    }

    /** The level at which a page is mapped at an address, or -1. */
    private int leafLevel(long address) {
        long table = root;
        for (int level = top; level >= 0; level--) {
            long entry = memory.entry(format.slot(table, address, level));
            int kind = entry == 0 || entry == FROZEN ? -1 : format.classify(entry, level);
            if (kind != TABLE) {
                return kind == LEAF ? level : -1;
            }
            table = format.tableAddress(entry);
        }
        return -1;
    }

    /** Where the entry of a level lies, or -1 if no table leads there. */
    private long slotOf(long address, int target) {
        long table = root;
        for (int level = top; level > target; level--) {
            long entry = memory.entry(format.slot(table, address, level));
            if ((entry & tableMask) == tableValue) {
                table = entry & tableAddressMask;
            } else if (entry == 0 || entry == FROZEN || format.classify(entry, level) != TABLE) {
                return -1;
            } else {
                table = format.tableAddress(entry);
            }
        }
        return format.slot(table, address, target);
    }

    /** Whether a mapper has to begin again: what is here is going. */
    private static boolean goes(long entry) {
        return (entry & BUSY) != 0;
    }

    private static boolean busy(long entry) {
        return goes(entry) && entry != FROZEN;
    }

    /** Frames side by side, aligned to all of them; -1 if they are not to be had. */
    private static long run(Allocator frames, int needed) {
        long[] got = new long[2 * needed];
        long bytes = (long) needed << Translation.PAGE_SHIFT;
        int n = 0;
        long start = -1;
        while (n < got.length && start < 0) {
            long frame = frames.allocate();
            if (frame < 0) {
                break;
            }
            got[n++] = frame;
            long first = frame + (1L << Translation.PAGE_SHIFT) - bytes;
            if (first >= 0 && first % bytes == 0 && n >= needed && got[n - needed] == first) {
                start = first;
            }
        }
        for (int i = 0; i < n; i++) {
            if (start < 0 || got[i] < start || got[i] >= start + bytes) {
                frames.free(got[i]);
            }
        }
        return start;
    }
}
