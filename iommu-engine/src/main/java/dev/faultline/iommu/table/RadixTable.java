package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.Translation.ALL_EXECUTE;
import static dev.faultline.iommu.table.Translation.ALL_READ;
import static dev.faultline.iommu.table.Translation.ALL_RIGHTS;
import static dev.faultline.iommu.table.Translation.ALL_WRITE;
import static dev.faultline.iommu.table.Translation.PAGE_MASK;

import dev.faultline.iommu.table.Translation.Step;
import org.jspecify.annotations.Nullable;

/**
 * A page table in physical memory: frames of entries, changed by threads that map and unmap while others walk.
 *
 * <p>Threads: any, but {@link #close}, which needs the table for itself. Progress: lock-free. Entries are read with acquire
 * loads, so that a walker who sees an entry sees what it points at: a table's zeroes, a page's content. They are written by
 * compare-and-set or exchange, which also release. Tables are freed at {@link #close} and not before; so a walker can never
 * stand in a table that has become something else.
 */
public final class RadixTable {
    /** How a change ended. */
    public enum Outcome {
        DONE,
        /** Something is mapped there. */
        IN_USE,
        /** A table is needed, and no frame is free. Tables made on the way stay. */
        NO_FRAME
    }

    private static final long PAGE_BYTES = 1L << Translation.PAGE_SHIFT;
    private static final int ENTRY_SHIFT = 3;
    private static final int ENTRIES = (int) PAGE_BYTES >>> ENTRY_SHIFT;

    private final PageFormat format;
    private final PhysicalMemory memory;
    private final Allocator frames;
    private final long root;
    private final int top;

    private RadixTable(PageFormat format, PhysicalMemory memory, Allocator frames, long root) {
        this.format = format;
        this.memory = memory;
        this.frames = frames;
        this.root = root;
        this.top = format.levels() - 1;
    }

    /** An empty table, or null if no frame is free for its root. */
    public static @Nullable RadixTable make(PageFormat format, PhysicalMemory memory, Allocator frames) {
        long root = frames.allocate();
        if (root < 0) {
            return null;
        }
        memory.zero(root);
        return new RadixTable(format, memory, frames, root);
    }

    /**
     * Translates an address as the hardware does, setting accessed bits on the way and the dirty bit for a write.
     *
     * @param needed the rights the access needs, as {@link Translation#needed} says
     * @return a {@link Translation}
     */
    public long walk(long address, int needed) {
        if (!format.canonical(address)) {
            return Translation.fault(WalkFault.BEYOND_INPUT, top, Step.DATA, 0);
        }
        long table = root;
        int rights = ALL_RIGHTS;
        for (int level = top; ; level--) {
            long slot = slot(table, address, level);
            long entry;
            boolean leaf;
            while (true) {
                entry = memory.entry(slot);
                if (!format.present(entry)) {
                    return Translation.fault(WalkFault.NOT_PRESENT, level, Step.DATA, slot);
                }
                if (format.reservedBitsSet(entry, level)) {
                    return Translation.fault(WalkFault.RESERVED_BITS, level, Step.DATA, slot);
                }
                leaf = format.leaf(entry, level);
                int granted = rights & format.rights(entry);
                long marks = format.accessedBit();
                if (leaf && (granted & needed) != needed) {
                    return Translation.fault(refused(needed & ~granted, granted), level, Step.DATA, slot);
                }
                if (leaf && (needed & ALL_WRITE) != 0) {
                    marks |= format.dirtyBit();
                }
                // Against the exact entry: if it was unmapped or marked meanwhile, look again. So no page gets dirty
                // after
                // the exchange that unmapped it.
                if ((entry & marks) == marks || memory.replace(slot, entry, entry | marks)) {
                    entry |= marks;
                    rights = granted;
                    break;
                }
            }
            long target = format.address(entry, level);
            if (leaf) {
                int sizeLg2 = format.shift(level);
                long page = target | (address & ((1L << sizeLg2) - 1) & PAGE_MASK);
                if (!memory.contains(page)) {
                    return Translation.fault(WalkFault.PAGE_OUTSIDE, level, Step.DATA, slot);
                }
                return Translation.of(page, (entry & format.dirtyBit()) != 0 ? rights : rights & ~ALL_WRITE, sizeLg2);
            }
            if (!memory.contains(target)) {
                return Translation.fault(WalkFault.TABLE_READ, level - 1, Step.TABLE, target);
            }
            table = target;
        }
    }

    /** Why rights that are missing were not granted, in the order of VT-d's reasons. */
    private static WalkFault refused(int missing, int granted) {
        if (granted << Translation.PRIVILEGED_SHIFT != 0
                && (granted & Translation.RIGHTS) == 0
                && (missing & Translation.RIGHTS) != 0) {
            return WalkFault.NO_USER;
        }
        if ((missing & ALL_EXECUTE) != 0) {
            return WalkFault.NO_EXECUTE;
        }
        return (missing & ALL_READ) != 0 ? WalkFault.NO_READ : WalkFault.NO_WRITE;
    }

    /** Maps a page of 4 KiB, making the tables on the way. */
    public Outcome install(long address, long page, int rights) {
        long table = root;
        for (int level = top; level > 0; level--) {
            long slot = slot(table, address, level);
            long entry = memory.entry(slot);
            if (!format.present(entry)) {
                long made = frames.allocate();
                if (made < 0) {
                    return Outcome.NO_FRAME;
                }
                memory.zero(made);
                if (!memory.replace(slot, entry, format.tableEntry(made))) {
                    frames.free(made);
                }
                entry = memory.entry(slot);
            }
            if (format.leaf(entry, level)) {
                return Outcome.IN_USE;
            }
            table = format.address(entry, level);
        }
        return memory.replace(slot(table, address, 0), 0, format.leafEntry(page, rights))
                ? Outcome.DONE
                : Outcome.IN_USE;
    }

    /** Puts back what {@link #remove} took, unless something else is there by now. */
    public boolean restore(long address, long entry) {
        long slot = leafSlot(address);
        return slot >= 0 && memory.replace(slot, 0, entry);
    }

    /**
     * Unmaps a page of 4 KiB.
     *
     * @return what its entry was, with the marks up to this moment; 0 if nothing was mapped
     */
    public long remove(long address) {
        long slot = leafSlot(address);
        return slot < 0 || memory.entry(slot) == 0 ? 0 : memory.exchange(slot, 0);
    }

    /** Unmaps a page of 4 KiB if its entry, marks included, still is what the caller saw. */
    public boolean removeExactly(long address, long entry) {
        long slot = leafSlot(address);
        return slot >= 0 && memory.replace(slot, entry, 0);
    }

    /** The entry of a page of 4 KiB, 0 if there is none. */
    public long entry(long address) {
        long slot = leafSlot(address);
        return slot < 0 ? 0 : memory.entry(slot);
    }

    /** Reads and clears the accessed bit of a page. */
    public boolean accessedAndClear(long address) {
        long slot = leafSlot(address);
        if (slot < 0) {
            return false;
        }
        while (true) {
            long entry = memory.entry(slot);
            if ((entry & format.accessedBit()) == 0) {
                return false;
            }
            if (memory.replace(slot, entry, entry & ~format.accessedBit())) {
                return true;
            }
        }
    }

    public boolean dirty(long entry) {
        return (entry & format.dirtyBit()) != 0;
    }

    public long page(long entry) {
        return format.address(entry, 0);
    }

    /**
     * The first page with an entry, passing over tables that do not exist.
     *
     * @param from a page address
     * @param last a page address not below it, on the same side of the gap in the input range
     * @return 0 or more: how many bytes after {@code from}; -1 if there is none up to and including {@code last}
     */
    public long nextMapped(long from, long last) {
        long address = from;
        while (true) {
            long table = root;
            long absent = 0;
            for (int level = top; level >= 0; level--) {
                long entry = memory.entry(slot(table, address, level));
                if (!format.present(entry) || (level > 0 && format.leaf(entry, level))) {
                    absent = 1L << format.shift(level);
                    break;
                }
                table = format.address(entry, level);
            }
            if (absent == 0) {
                return address - from;
            }
            long lastCovered = address | (absent - 1);
            if (Long.compareUnsigned(lastCovered, last) >= 0) {
                return -1;
            }
            address = lastCovered + 1;
        }
    }

    /** Frees the tables and the pages of 4 KiB mapped in them. */
    public void close() {
        free(root, top);
    }

    /** The walk in words, changing nothing. */
    public String explain(long address) {
        StringBuilder out = new StringBuilder(hex(address)).append(" in ").append(format.title());
        if (!format.canonical(address)) {
            return out.append(": not canonical, allowed ")
                    .append(format.canonicalRule())
                    .toString();
        }
        out.append(", root table at ").append(hex(root));
        long table = root;
        int rights = ALL_RIGHTS;
        for (int level = top; ; level--) {
            long entry = memory.entry(slot(table, address, level));
            out.append("\n  level ")
                    .append(level)
                    .append(": table ")
                    .append(hex(table))
                    .append("[")
                    .append(format.index(address, level))
                    .append("] = ")
                    .append(hex(entry));
            if (!format.present(entry)) {
                return out.append(": not present").toString();
            }
            out.append(" (").append(format.flags(entry, level)).append(")");
            if (format.reservedBitsSet(entry, level)) {
                return out.append(": reserved bits are set").toString();
            }
            rights &= format.rights(entry);
            long target = format.address(entry, level);
            if (!memory.contains(target)) {
                return out.append(": points at ")
                        .append(hex(target))
                        .append(", outside of physical memory")
                        .toString();
            }
            if (format.leaf(entry, level)) {
                long inside = address & ((1L << format.shift(level)) - 1);
                return out.append(": page of ")
                        .append(1L << (format.shift(level) - 10))
                        .append(" KiB at ")
                        .append(hex(target))
                        .append("\n  physical address ")
                        .append(hex(target + inside))
                        .append(", allowed: read")
                        .append((rights & Translation.WRITE) != 0 ? " write" : "")
                        .append((rights & Translation.EXECUTE) != 0 ? " execute" : "")
                        .append(dirty(entry) ? ", dirty" : ", clean")
                        .append((entry & format.accessedBit()) != 0 ? ", accessed" : ", not accessed")
                        .toString();
            }
            out.append(": next table");
            table = target;
        }
    }

    static String hex(long address) {
        return "0x" + Long.toHexString(address);
    }

    private long leafSlot(long address) {
        long table = root;
        for (int level = top; level > 0; level--) {
            long entry = memory.entry(slot(table, address, level));
            if (!format.present(entry) || format.leaf(entry, level)) {
                return -1;
            }
            table = format.address(entry, level);
        }
        return slot(table, address, 0);
    }

    private long slot(long table, long address, int level) {
        return table + ((long) format.index(address, level) << ENTRY_SHIFT);
    }

    private void free(long table, int level) {
        for (int i = 0; i < ENTRIES; i++) {
            long entry = memory.entry(table + ((long) i << ENTRY_SHIFT));
            if (!format.present(entry)) {
                continue;
            }
            if (level == 0) {
                frames.free(format.address(entry, level));
            } else if (!format.leaf(entry, level)) {
                free(format.address(entry, level), level - 1);
            }
        }
        frames.free(table);
    }
}
