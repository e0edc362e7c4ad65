package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_EXEC;
import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;

import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * A page table in physical memory: frames of entries, changed by threads that map and unmap while others walk.
 *
 * <p>Threads: any, but {@link #close}, which needs the table for itself. Progress: lock-free. Entries are read with acquire
 * loads, so that a walker who sees an entry sees what it points at: a table's zeroes, a page's content. They are written by
 * compare-and-set or exchange, which also release. Tables are freed at {@link #close} and not before; so a walker can never
 * stand in a table that has become something else.
 *
 * <p>A translation is one word: the physical address of 4 KiB, and in its low bits the rights {@code PERM_*}. Write is among
 * them only once the dirty bit is set; so no cached copy of a translation can dirty a page behind the table's back.
 */
final class PageTable {
    static final int RIGHTS = PERM_READ | PERM_WRITE | PERM_EXEC;
    static final long PAGE = -Frames.BYTES;

    private static final int ENTRY_SHIFT = 3;
    private static final int ENTRIES = Frames.BYTES >>> ENTRY_SHIFT;

    private final PageFormat format;
    private final Frames frames;
    private final MemorySegment memory;
    private final long root;
    private final int top;

    PageTable(PageFormat format, Frames frames) {
        this.format = format;
        this.frames = frames;
        this.memory = frames.memory();
        this.top = format.levels() - 1;
        this.root = newTable();
    }

    /**
     * Translates an address as the hardware does, setting accessed bits on the way and the dirty bit for a write.
     *
     * @param needed the rights the access needs, {@code PERM_*}; a page that is present can be read
     * @return a translation, or the negated code of a {@link WalkFault}
     */
    long walk(long address, int needed) {
        if (!format.canonical(address)) {
            return WalkFault.NOT_CANONICAL.walked;
        }
        long table = root;
        int rights = RIGHTS;
        for (int level = top; ; level--) {
            long slot = slot(table, address, level);
            long entry;
            boolean leaf;
            while (true) {
                entry = SharedWords.getLongAcquire(memory, slot);
                if (!format.present(entry)) {
                    return WalkFault.NOT_PRESENT.walked;
                }
                if (format.reservedBitsSet(entry, level)) {
                    return WalkFault.RESERVED_BITS.walked;
                }
                leaf = format.leaf(entry, level);
                int granted = rights & format.rights(entry);
                long marks = format.accessedBit();
                if (leaf && (granted & needed) != needed) {
                    return (granted & needed & PERM_WRITE) != (needed & PERM_WRITE)
                            ? WalkFault.NO_WRITE.walked
                            : WalkFault.NO_EXECUTE.walked;
                }
                if (leaf && (needed & PERM_WRITE) != 0) {
                    marks |= format.dirtyBit();
                }
                // Against the exact entry: if it was unmapped or marked meanwhile, look again. So no page gets dirty
                // after
                // the exchange that unmapped it.
                if ((entry & marks) == marks || SharedWords.compareAndSetLong(memory, slot, entry, entry | marks)) {
                    entry |= marks;
                    rights = granted;
                    break;
                }
            }
            long target = format.address(entry, level);
            if (leaf) {
                long page = target | (address & ((1L << format.shift(level)) - 1) & PAGE);
                if (!frames.contains(page)) {
                    return WalkFault.PAGE_OUTSIDE.walked;
                }
                return page | ((entry & format.dirtyBit()) != 0 ? rights : rights & ~PERM_WRITE);
            }
            if (!frames.contains(target)) {
                return WalkFault.TABLE_OUTSIDE.walked;
            }
            table = target;
        }
    }

    /**
     * Maps a page of 4 KiB, making the tables on the way.
     *
     * @return false if something is mapped there
     * @throws OutOfFrames if a table is needed and no frame is free
     */
    boolean install(long address, long page, int rights) {
        long table = root;
        for (int level = top; level > 0; level--) {
            long slot = slot(table, address, level);
            long entry = SharedWords.getLongAcquire(memory, slot);
            if (!format.present(entry)) {
                long made = newTable();
                if (!SharedWords.compareAndSetLong(memory, slot, entry, format.tableEntry(made))) {
                    frames.free(made);
                }
                entry = SharedWords.getLongAcquire(memory, slot);
            }
            if (format.leaf(entry, level)) {
                return false;
            }
            table = format.address(entry, level);
        }
        return SharedWords.compareAndSetLong(memory, slot(table, address, 0), 0, format.leafEntry(page, rights));
    }

    /** Puts back what {@link #remove} took, unless something else is there by now. */
    boolean restore(long address, long entry) {
        long slot = leafSlot(address);
        return slot >= 0 && SharedWords.compareAndSetLong(memory, slot, 0, entry);
    }

    /**
     * Unmaps a page of 4 KiB.
     *
     * @return what its entry was, with the marks up to this moment; 0 if nothing was mapped
     */
    long remove(long address) {
        long slot = leafSlot(address);
        return slot < 0 || SharedWords.getLongOpaque(memory, slot) == 0
                ? 0
                : SharedWords.getAndSetLong(memory, slot, 0);
    }

    /** Unmaps a page of 4 KiB if its entry, marks included, still is what the caller saw. */
    boolean removeExactly(long address, long entry) {
        long slot = leafSlot(address);
        return slot >= 0 && SharedWords.compareAndSetLong(memory, slot, entry, 0);
    }

    /** The entry of a page of 4 KiB, 0 if there is none. */
    long entry(long address) {
        long slot = leafSlot(address);
        return slot < 0 ? 0 : SharedWords.getLongAcquire(memory, slot);
    }

    /** Reads and clears the accessed bit of a page. */
    boolean accessedAndClear(long address) {
        long slot = leafSlot(address);
        if (slot < 0) {
            return false;
        }
        while (true) {
            long entry = SharedWords.getLongAcquire(memory, slot);
            if ((entry & format.accessedBit()) == 0) {
                return false;
            }
            if (SharedWords.compareAndSetLong(memory, slot, entry, entry & ~format.accessedBit())) {
                return true;
            }
        }
    }

    boolean dirty(long entry) {
        return (entry & format.dirtyBit()) != 0;
    }

    long page(long entry) {
        return format.address(entry, 0);
    }

    /**
     * The first page with an entry, passing over tables that do not exist.
     *
     * @param from a page address
     * @param last a page address not below it, on the same side of the gap in the input range
     * @return 0 or more: how many bytes after {@code from}; -1 if there is none up to and including {@code last}
     */
    long nextMapped(long from, long last) {
        long address = from;
        while (true) {
            long table = root;
            long absent = 0;
            for (int level = top; level >= 0; level--) {
                long entry = SharedWords.getLongAcquire(memory, slot(table, address, level));
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
    void close() {
        free(root, top);
    }

    /** The walk in words, changing nothing. */
    String explain(long address) {
        StringBuilder out = new StringBuilder(hex(address)).append(" in ").append(format.title());
        if (!format.canonical(address)) {
            return out.append(": not canonical, allowed ")
                    .append(format.canonicalRule())
                    .toString();
        }
        out.append(", root table at ").append(hex(root));
        long table = root;
        int rights = RIGHTS;
        for (int level = top; ; level--) {
            long entry = SharedWords.getLongAcquire(memory, slot(table, address, level));
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
            if (!frames.contains(target)) {
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
                        .append((rights & PERM_WRITE) != 0 ? " write" : "")
                        .append((rights & PERM_EXEC) != 0 ? " execute" : "")
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
            long entry = SharedWords.getLongAcquire(memory, slot(table, address, level));
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

    private long newTable() {
        long table = frames.allocateOrThrow("a page table");
        frames.zero(table);
        return table;
    }

    private void free(long table, int level) {
        for (int i = 0; i < ENTRIES; i++) {
            long entry = SharedWords.getLongAcquire(memory, table + ((long) i << ENTRY_SHIFT));
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
