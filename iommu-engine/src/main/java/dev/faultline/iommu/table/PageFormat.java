package dev.faultline.iommu.table;

import com.google.errorprone.annotations.Immutable;

/**
 * The facts of one page-table format: pure bit work on 64-bit entries, no memory. Levels count from 0, where the smallest
 * pages are. What the walk needs at every level is data, so that it asks a format once for each walk and not for each level;
 * an entry that is not of the plain shape is asked about.
 *
 * <p>Words: an <i>item</i> is one slot of a table; an <i>entry</i> is one logical translation, of one item or of a contiguous
 * group.
 */
@Immutable
public abstract class PageFormat {
    /** What {@link #classify} says of an entry that points at a table. */
    static final int TABLE = 0;
    /** What {@link #classify} says of an entry that translates. */
    static final int LEAF = 1;

    /** In a leaf, ignored by the hardware of every format: the page is part of a range, and not mapped by itself. */
    static final long RANGE = 1L << 55;

    private static final int ENTRY_LG2 = 3;

    /** log2 of a table's bytes and of the smallest page. */
    final int granuleLg2;

    /** Input bits that one level decodes. */
    final int bitsPerLevel;

    /** The level of the root. */
    final int topLevel;

    /** The input bits that are translated; those above are all 0, or all equal to the highest one if sign-extended. */
    final int inputBits;

    final boolean signExtended;

    /** Addresses in entries are below 2 to this. */
    final int outputBits;

    /** An entry with {@code (entry & tableMask) == tableValue} is a table above level 0 that is used as it is. */
    final long tableMask;

    final long tableValue;

    /** Where such an entry has the table's address. */
    final long tableAddressMask;

    PageFormat(
            int inputBits,
            boolean signExtended,
            int outputBits,
            int topLevel,
            long tableMask,
            long tableValue,
            long tableAddressMask) {
        this.granuleLg2 = Translation.PAGE_SHIFT;
        this.bitsPerLevel = granuleLg2 - ENTRY_LG2;
        this.inputBits = inputBits;
        this.signExtended = signExtended;
        this.outputBits = outputBits;
        this.topLevel = topLevel;
        this.tableMask = tableMask;
        this.tableValue = tableValue;
        this.tableAddressMask = tableAddressMask;
    }

    // Reading, as the hardware does.

    /** 1 or 2: which stage this is. */
    public abstract int stage();

    /** {@link #TABLE}, {@link #LEAF}, or the fault that the entry is, as {@code ~} its {@link WalkFault} number. */
    abstract int classify(long entry, int level);

    /** The table an entry points at. */
    abstract long tableAddress(long entry);

    /** The start of the page an item points at, or of its own part of a contiguous group. */
    abstract long leafAddress(long entry, int level);

    /** log2 of the entry's bytes: more than the item's if it is of a contiguous group. */
    abstract int leafSizeLg2(long entry, int level, long address);

    /**
     * The rights, as {@link Translation} writes them, that a leaf grants, a write that has to set the dirty mark included.
     *
     * @param all what all tables' entries above it have in common
     * @param any what any of them has
     */
    abstract int rights(long leaf, long all, long any);

    /** The entry with the marks that its use sets; the entry itself if there are none to set. */
    abstract long marked(long entry, int level, boolean leaf, boolean write);

    /** Whether a leaf is to be refused because its accessed flag is clear. */
    abstract boolean refusesUnaccessed(long leaf);

    /** Whether a leaf may be written without a mark being set first. */
    abstract boolean writesUnmarked(long leaf);

    // Writing, as software does.

    /** Whether a translation may not end where VT-d and x86 have the messages of interrupts: {@link InterruptWindow}. */
    boolean hasInterruptWindow() {
        return false;
    }

    /** The sizes of page that can be mapped: bit n for 2^n bytes. */
    abstract long pageSizes();

    /** The entry of one item. */
    abstract long leaf(long physical, int level, int rights, boolean owned);

    abstract long table(long physical);

    /** The part of a leaf at {@code offset}, as a leaf of the level below. */
    abstract long split(long leaf, int level, long offset);

    /** Whether a leaf's memory belongs to the table's owner, in a bit that hardware ignores. */
    abstract boolean owned(long leaf);

    /** A leaf with other rights, its marks kept. */
    abstract long withRights(long leaf, int level, int rights);

    /** The rights that a leaf was given: {@link Translation#READ} and so on, of requests without privilege. */
    abstract int rightsOf(long leaf);

    abstract boolean accessed(long leaf);

    abstract long unaccessed(long leaf);

    /** Whether a page may have been written to: true for all that can be written, if the format keeps no such mark. */
    abstract boolean dirty(long leaf);

    abstract long clean(long leaf);

    // For people.

    public abstract String title();

    /** The names of the bits that are set. */
    abstract String flags(long entry, int level);

    // What follows from the facts.

    public final int outputBits() {
        return outputBits;
    }

    /** The sizes of page that can be mapped: bit n for 2^n bytes. */
    public final long sizes() {
        return pageSizes();
    }

    /** Whether a leaf's memory belongs to the table's owner. */
    public final boolean isOwned(long leaf) {
        return owned(leaf);
    }

    /** Whether a leaf is part of a range, and not mapped by itself. */
    public static boolean isOfRange(long leaf) {
        return (leaf & RANGE) != 0;
    }

    static int fault(WalkFault reason) {
        return ~reason.ordinal();
    }

    /** log2 of the input bytes that one item of a level covers. */
    public final int shift(int level) {
        return granuleLg2 + bitsPerLevel * level;
    }

    /** The level whose items have a size, or -1. */
    final int levelOf(int sizeLg2) {
        int above = sizeLg2 - granuleLg2;
        return above >= 0 && above % bitsPerLevel == 0 && above / bitsPerLevel <= topLevel ? above / bitsPerLevel : -1;
    }

    final long indexMask(int level) {
        int bits = level == topLevel ? inputBits - shift(level) : bitsPerLevel;
        return (1L << bits) - 1;
    }

    final int index(long address, int level) {
        return (int) (address >>> shift(level) & indexMask(level));
    }

    /** Where an entry lies in its table. */
    final long slot(long table, long address, int level) {
        return table + ((address >>> shift(level) & indexMask(level)) << ENTRY_LG2);
    }

    final int entries(int level) {
        return (int) indexMask(level) + 1;
    }

    /** Frames of the root: more than one where tables are concatenated. */
    public final int rootFrames() {
        return Math.max(1, entries(topLevel) >>> bitsPerLevel);
    }

    /** Whether an address can be translated at all. */
    public final boolean canonical(long address) {
        long above = address >> (signExtended ? inputBits - 1 : inputBits);
        return above == 0 || (signExtended && above == -1);
    }

    /** The last address of the input range that begins at 0. */
    public final long lastOfLowerHalf() {
        return (1L << (signExtended ? inputBits - 1 : inputBits)) - 1;
    }

    /** What {@link #canonical} asks for, in words. */
    public final String canonicalRule() {
        long half = 1L << (inputBits - 1);
        return signExtended
                ? "0 to 0x" + Long.toHexString(half - 1) + " and 0x" + Long.toHexString(-half) + " to 0x"
                        + Long.toHexString(-1L)
                : "0 to 0x" + Long.toHexString(2 * half - 1);
    }

    /** How many levels a number of input bits needs. */
    static int levels(int inputBits) {
        int perLevel = Translation.PAGE_SHIFT - ENTRY_LG2;
        return (inputBits - Translation.PAGE_SHIFT + perLevel - 1) / perLevel;
    }

    static void name(StringBuilder out, long entry, long bit, String name) {
        if ((entry & bit) != 0) {
            out.append(out.isEmpty() ? "" : " ").append(name);
        }
    }

    static void inRange(String field, long value, long from, long to) {
        if (value < from || value > to) {
            throw new IllegalArgumentException(field + "=" + value + ": allowed " + from + " to " + to);
        }
    }
}
