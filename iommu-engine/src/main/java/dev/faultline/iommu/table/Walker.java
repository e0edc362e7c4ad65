package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.PageFormat.LEAF;
import static dev.faultline.iommu.table.PageFormat.TABLE;
import static dev.faultline.iommu.table.Translation.ALL_EXECUTE;
import static dev.faultline.iommu.table.Translation.ALL_READ;
import static dev.faultline.iommu.table.Translation.ALL_RIGHTS;
import static dev.faultline.iommu.table.Translation.ALL_WRITE;
import static dev.faultline.iommu.table.Translation.PAGE_MASK;
import static dev.faultline.iommu.table.Translation.PRIVILEGED_SHIFT;
import static dev.faultline.iommu.table.Translation.RIGHTS;

import dev.faultline.iommu.table.Translation.Step;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The walk through tables of one format: of the first stage alone, or of the second.
 *
 * <p>An entry of the plain shape costs a load, a bounds check and a comparison; the format is asked about the leaf only. Entries
 * are read with acquire loads, so that who sees an entry sees what it points at. Marks are set by compare-and-set against the
 * exact entry that was read: if it was unmapped or marked meanwhile, it is read again; so none is lost, and no page gets dirty
 * after the exchange that unmapped it.
 */
public final class Walker extends Walk {
    private static final int ENTRY_LG2 = 3;
    /** Stands for the rights needed where a table is looked for and no page. */
    private static final int REACH = -1;

    final PageFormat format;
    final PhysicalMemory memory;
    final long root;

    // Facts of the format, here to be one load away.
    private final int topLevel;
    private final int topShift;
    private final long topIndexMask;
    private final int bitsPerLevel;
    private final int lastTableShift;
    private final long indexMask;
    private final long tableMask;
    private final long tableValue;
    private final long tableAddressMask;
    private final int aboveShift;
    private final long aboveOther;
    private final long grantsAll;
    /** Pages below this, and no larger than the other, do not meet the window of interrupts. */
    private final long windowFrom;

    private final int windowLg2;

    /**
     * How often somebody began to take a table out of its place, and how often that was over. Written by who changes tables, before and after the entry
     * above changes; read by who knows where a table is, the second before the first. While both are the same, no table is between.
     */
    private final AtomicLong departing = new AtomicLong();

    private final AtomicLong departed = new AtomicLong();

    /** @param root the physical address of the root table */
    public Walker(PageFormat format, PhysicalMemory memory, long root) {
        this.format = format;
        this.memory = memory;
        this.root = root;
        this.topLevel = format.topLevel;
        this.topShift = format.shift(topLevel);
        this.topIndexMask = format.indexMask(topLevel);
        this.bitsPerLevel = format.bitsPerLevel;
        this.lastTableShift = format.shift(1);
        this.indexMask = (1L << bitsPerLevel) - 1;
        this.tableMask = format.tableMask;
        this.tableValue = format.tableValue;
        this.tableAddressMask = format.tableAddressMask;
        this.aboveShift = format.signExtended ? format.inputBits - 1 : format.inputBits;
        this.aboveOther = format.signExtended ? -1 : 0;
        this.grantsAll = format.leaf(0, 0, RIGHTS, false);
        boolean window = format.hasInterruptWindow();
        this.windowFrom = window ? InterruptWindow.FIRST : Long.MAX_VALUE;
        this.windowLg2 = window ? Long.numberOfTrailingZeros(InterruptWindow.FIRST) : Long.SIZE;
    }

    public PageFormat format() {
        return format;
    }

    /**
     * Tables taken out so far. If it is the same before a walk that came to a table and after an entry of that table was read, the table was in its
     * place when the entry was read.
     *
     * @return 0 or more; negative while one is being taken out, which says nothing
     */
    public long departures() {
        long over = departed.getAcquire();
        return departing.getAcquire() == over ? over : -2;
    }

    /** A table is about to be taken out. */
    void tableDeparts() {
        departing.getAndIncrement();
    }

    /** It is. */
    void tableDeparted() {
        departed.getAndIncrement();
    }

    /** log2 of the bytes that a table of level 0 is for. */
    public int lastTableShift() {
        return lastTableShift;
    }

    @Override
    public long walk(long address, int needed) {
        long above = address >> aboveShift;
        if (above != 0 && above != aboveOther) {
            return fault(WalkFault.BEYOND_INPUT, topLevel, Step.DATA, 0);
        }
        long slot = root + ((address >>> topShift & topIndexMask) << ENTRY_LG2);
        return descend(slot, topLevel, topShift, ALL_RIGHTS, address, needed, 0);
    }

    /**
     * The rest of a walk, from a table that {@link #reach} has found.
     *
     * @param reached what it gave
     * @param level of that table
     */
    public long walkFrom(long reached, int level, long address, int needed) {
        int shift = format.shift(level);
        long slot = Translation.page(reached) + ((address >>> shift & format.indexMask(level)) << ENTRY_LG2);
        return descend(slot, level, shift, Translation.rights(reached), address, needed, 0);
    }

    /**
     * The table of a level that a walk of an address comes to, for a cache of walks.
     *
     * @param level below the root's
     * @return the table's physical address, and in its low bits the rights that the tables above it leave; a fault, or 0 if a
     *     larger page translates the address
     */
    public long reach(long address, int level) {
        long above = address >> aboveShift;
        if (above != 0 && above != aboveOther) {
            return fault(WalkFault.BEYOND_INPUT, topLevel, Step.DATA, 0);
        }
        long slot = root + ((address >>> topShift & topIndexMask) << ENTRY_LG2);
        return descend(slot, topLevel, topShift, ALL_RIGHTS, address, REACH, level + 1);
    }

    private long descend(
            long firstSlot, int firstLevel, int firstShift, int inherited, long address, int needed, int endLevel) {
        PhysicalMemory physical = memory;
        long slot = firstSlot;
        int level = firstLevel;
        int shift = firstShift;
        long all = -1;
        long any = 0;
        while (level > 0) {
            if (!physical.contains(slot)) {
                return fault(WalkFault.TABLE_READ, level, Step.TABLE, slot);
            }
            long entry = physical.entry(slot);
            long table;
            if ((entry & tableMask) == tableValue) {
                table = entry & tableAddressMask;
            } else {
                int kind = format.classify(entry, level);
                if (kind != TABLE) {
                    if (kind == LEAF) {
                        return needed == REACH ? 0 : leaf(slot, level, inherited, all, any, address, needed);
                    }
                    return fault(WalkFault.of(~kind), level, Step.DATA, slot);
                }
                long marked = format.marked(entry, level, false, false);
                if (marked != entry && !physical.replace(slot, entry, marked)) {
                    continue;
                }
                table = format.tableAddress(entry);
            }
            all &= entry;
            any |= entry;
            if (level == endLevel) {
                return table | (inherited & format.rights(grantsAll, all, any));
            }
            level--;
            shift -= bitsPerLevel;
            slot = table + ((address >>> shift & indexMask) << ENTRY_LG2);
        }
        if (!physical.contains(slot)) {
            return fault(WalkFault.TABLE_READ, 0, Step.TABLE, slot);
        }
        return leaf(slot, 0, inherited, all, any, address, needed);
    }

    private long leaf(long slot, int level, int inherited, long all, long any, long address, int needed) {
        while (true) {
            long entry = memory.entry(slot);
            int kind = format.classify(entry, level);
            if (kind != LEAF) {
                return kind == TABLE ? walk(address, needed) : fault(WalkFault.of(~kind), level, Step.DATA, slot);
            }
            if (format.refusesUnaccessed(entry)) {
                return fault(WalkFault.NOT_ACCESSED, level, Step.DATA, slot);
            }
            int rights = inherited & format.rights(entry, all, any);
            if ((rights & needed) != needed || rights == 0) {
                return fault(refusal(needed, rights), level, Step.DATA, slot);
            }
            long marked = format.marked(entry, level, true, (needed & ALL_WRITE) != 0);
            if (marked != entry && !memory.replace(slot, entry, marked)) {
                continue;
            }
            long within = (1L << format.shift(level)) - 1;
            long page = (format.leafAddress(marked, level) | (address & within)) & PAGE_MASK;
            int size = memory.reachLg2(page, format.leafSizeLg2(marked, level, address));
            if (size < 0) {
                return fault(WalkFault.PAGE_OUTSIDE, level, Step.DATA, slot);
            }
            if (size > windowLg2 || page >= windowFrom) {
                if (InterruptWindow.holds(page)) {
                    return fault(WalkFault.INTERRUPT_WINDOW, level, Step.DATA, slot);
                }
                size = InterruptWindow.besideLg2(page, size);
            }
            if (!format.writesUnmarked(marked)) {
                rights &= ~ALL_WRITE;
                if (rights == 0) {
                    return fault(WalkFault.NO_READ, level, Step.DATA, slot);
                }
            }
            return Translation.of(page, rights, size);
        }
    }

    /** Why rights that are needed were not granted, in the order of VT-d's reasons. */
    static WalkFault refusal(int needed, int rights) {
        int missing = needed & ~rights;
        if ((missing & RIGHTS) != 0 && (rights & RIGHTS) == 0 && rights >>> PRIVILEGED_SHIFT != 0) {
            return WalkFault.NO_USER;
        }
        if ((missing & ALL_EXECUTE) != 0 && (missing & ALL_READ) == 0) {
            return WalkFault.NO_EXECUTE;
        }
        return (missing & ALL_WRITE) != 0 && (missing & ALL_READ) == 0 ? WalkFault.NO_WRITE : WalkFault.NO_READ;
    }

    private long fault(WalkFault reason, int level, Step step, long entryAddress) {
        return Translation.fault(reason, format.stage(), level, step, entryAddress);
    }

    @Override
    public boolean canonical(long address) {
        return format.canonical(address);
    }

    @Override
    public String canonicalRule() {
        return format.canonicalRule();
    }

    @Override
    public WalkTrail trail(long address) {
        return WalkTrail.single(this, address);
    }
}
