package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.PageFormat.LEAF;
import static dev.faultline.iommu.table.Translation.PRIVILEGED_SHIFT;
import static dev.faultline.iommu.table.Translation.RIGHTS;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A walk told step by step, for people: every entry that is read, by which stage, and what it says. Nothing is changed: marks that
 * the walk would set are not set, and permission to set them is not asked for.
 *
 * <p>Threads: one.
 */
public final class WalkTrail {
    /**
     * One entry that was read.
     *
     * @param stage 1 or 2
     * @param level 0 where the smallest pages are
     * @param input what this stage translates: the address, or that of an entry of the first stage
     * @param table the table's address, as the next stage's input or physical
     * @param index of the entry in it
     * @param entryAddress physical
     * @param entry the word, 0 if it could not be read
     * @param flags the names of its bits
     * @param says what it means
     */
    public record Step(
            int stage,
            int level,
            long input,
            long table,
            int index,
            long entryAddress,
            long entry,
            String flags,
            String says) {}

    private final List<Step> steps = new ArrayList<>();
    private final long address;
    private final String title;
    private String end = "";
    private long physical = -1;
    private int rights;
    private int sizeLg2;

    private WalkTrail(long address, String title) {
        this.address = address;
        this.title = title;
    }

    static WalkTrail single(Walker walker, long address) {
        WalkTrail trail = new WalkTrail(address, walker.format.title());
        trail.physical = trail.stage(walker, address);
        return trail;
    }

    static WalkTrail nested(NestedWalker nested, long address) {
        WalkTrail trail = new WalkTrail(address, nested.first.title() + " over " + nested.second.format.title());
        trail.physical = trail.firstOfTwo(nested, address);
        return trail;
    }

    static WalkTrail plain(boolean blocked, long address, long word) {
        WalkTrail trail = new WalkTrail(address, blocked ? "blocked" : "identity");
        if (word < 0) {
            trail.end = say(Translation.reason(word));
        } else {
            trail.physical = address;
            trail.rights = Translation.rights(word);
            trail.sizeLg2 = Translation.sizeLg2(word);
        }
        return trail;
    }

    /** A walk that never came to a table. */
    static WalkTrail ended(long address, long fault) {
        WalkTrail trail = new WalkTrail(address, "no tables");
        trail.end = say(Translation.reason(fault));
        return trail;
    }

    public long address() {
        return address;
    }

    /** What was walked. */
    public String title() {
        return title;
    }

    public List<Step> steps() {
        return steps;
    }

    /** Where the address ends, or -1. */
    public long physical() {
        return physical;
    }

    /** Why it ends nowhere; empty if it ends somewhere. */
    public String end() {
        return end;
    }

    /** The rights, as {@link Translation} writes them, writes that set a dirty mark included. */
    public int rights() {
        return rights;
    }

    /** log2 of the bytes for which the translation holds. */
    public int sizeLg2() {
        return sizeLg2;
    }

    /** Walks one stage by itself: where the input ends, or -1. */
    private long stage(Walker walker, long input) {
        PageFormat format = walker.format;
        if (!format.canonical(input)) {
            return stop(say(WalkFault.BEYOND_INPUT) + ", allowed " + format.canonicalRule());
        }
        long table = walker.root;
        long all = -1;
        long any = 0;
        for (int level = format.topLevel; ; level--) {
            long slot = format.slot(table, input, level);
            if (!walker.memory.contains(slot)) {
                add(format, level, input, table, slot, 0, "", "no memory is there");
                return stop(say(WalkFault.TABLE_READ));
            }
            long entry = walker.memory.entry(slot);
            int kind = format.classify(entry, level);
            if (kind < 0) {
                String why = say(WalkFault.of(~kind));
                add(format, level, input, table, slot, entry, why);
                return stop(why);
            }
            if (kind == LEAF) {
                return leaf(format, walker.memory, level, input, table, slot, entry, all, any);
            }
            add(format, level, input, table, slot, entry, "next table at " + hex(format.tableAddress(entry)));
            all &= entry;
            any |= entry;
            table = format.tableAddress(entry);
        }
    }

    private long firstOfTwo(NestedWalker nested, long input) {
        PageFormat format = nested.first;
        if (!format.canonical(input)) {
            return stop(say(WalkFault.BEYOND_INPUT) + ", allowed " + format.canonicalRule());
        }
        PhysicalMemory memory = nested.second.memory;
        long table = nested.root;
        long all = -1;
        long any = 0;
        for (int level = format.topLevel; ; level--) {
            long at = format.slot(table, input, level);
            long slot = stage(nested.second, at);
            if (slot < 0) {
                return -1;
            }
            if ((rights & Translation.READ) == 0) {
                return stop("the second stage does not let the first stage's entry at " + hex(at) + " be read");
            }
            long entry = memory.entry(slot);
            int kind = format.classify(entry, level);
            if (kind < 0) {
                String why = say(WalkFault.of(~kind));
                add(format, level, input, table, slot, entry, why);
                return stop(why);
            }
            if (kind == LEAF) {
                long between = leaf(format, null, level, input, table, slot, entry, all, any);
                int granted = rights;
                int size = sizeLg2;
                long end2 = between < 0 ? -1 : stage(nested.second, between);
                rights &= granted;
                sizeLg2 = Math.min(sizeLg2, size);
                return end2;
            }
            add(format, level, input, table, slot, entry, "next table at " + hex(format.tableAddress(entry)));
            all &= entry;
            any |= entry;
            table = format.tableAddress(entry);
        }
    }

    private long leaf(
            PageFormat format,
            @Nullable PhysicalMemory memory,
            int level,
            long input,
            long table,
            long slot,
            long entry,
            long all,
            long any) {
        long page = format.leafAddress(entry, level);
        long output = page | (input & ((1L << format.shift(level)) - 1));
        rights = format.rights(entry, all, any);
        sizeLg2 = format.leafSizeLg2(entry, level, input);
        String says = "page of " + size(sizeLg2) + " at " + hex(page) + ", " + rightsText(rights)
                + (format.dirty(entry) ? ", dirty" : ", clean")
                + (format.accessed(entry) ? ", accessed" : ", not accessed");
        add(format, level, input, table, slot, entry, says);
        if (format.refusesUnaccessed(entry)) {
            return stop(say(WalkFault.NOT_ACCESSED));
        }
        if (memory != null && !memory.contains(output)) {
            return stop(say(WalkFault.PAGE_OUTSIDE));
        }
        return output;
    }

    private void add(PageFormat format, int level, long input, long table, long slot, long entry, String says) {
        add(format, level, input, table, slot, entry, entry == 0 ? "" : format.flags(entry, level), says);
    }

    private void add(
            PageFormat format, int level, long input, long table, long slot, long entry, String flags, String says) {
        steps.add(new Step(format.stage(), level, input, table, format.index(input, level), slot, entry, flags, says));
    }

    private long stop(String why) {
        end = why;
        return -1;
    }

    private static String say(WalkFault fault) {
        return switch (fault) {
            case BEYOND_INPUT -> "not an address that is translated";
            case TABLE_READ -> "the entry lies outside of physical memory";
            case NOT_PRESENT -> "not present";
            case RESERVED_BITS -> "reserved bits are set";
            case OUTPUT_SIZE -> "points beyond the output width";
            case NOT_ACCESSED -> "the access flag is clear, and the hardware does not set it";
            case PAGE_OUTSIDE -> "the page lies outside of physical memory";
            case BLOCKED -> "all translation is blocked";
            case NO_READ, NO_WRITE, NO_EXECUTE, NO_USER, INTERRUPT_WINDOW -> "refused";
        };
    }

    /** Rights in words. */
    public static String rightsText(int rights) {
        int others = rights & RIGHTS;
        int privileged = rights >>> PRIVILEGED_SHIFT & RIGHTS;
        return others == privileged ? words(others) : words(others) + " (privileged: " + words(privileged) + ")";
    }

    private static String words(int rights) {
        StringBuilder out = new StringBuilder();
        PageFormat.name(out, rights, Translation.READ, "read");
        PageFormat.name(out, rights, Translation.WRITE, "write");
        PageFormat.name(out, rights, Translation.EXECUTE, "execute");
        return out.isEmpty() ? "nothing" : out.toString();
    }

    /** A size in words. */
    public static String size(int lg2) {
        if (lg2 < 20) {
            return (1L << (lg2 - 10)) + " KiB";
        }
        return lg2 < 30 ? (1L << (lg2 - 20)) + " MiB" : (1L << (lg2 - 30)) + " GiB";
    }

    private static String hex(long address) {
        return "0x" + Long.toHexString(address);
    }
}
