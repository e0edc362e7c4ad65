package dev.faultline.iommu.table;

import com.google.errorprone.annotations.Immutable;

/**
 * What both stages of Arm's 64-bit long descriptors have in common, with a granule of 4 KiB.
 *
 * <pre>
 *  63     59 58  55 54 53 52  51 50   48 47                    12 11 10 9  8 7    6  5       2  1   0
 * +---------+------+-----+---+---+------+------------------------+--+--+----+------+----------+---+---+
 * |of tables| soft.| XN  |CON|DBM| RES0 |        address         |nG|AF| SH |  AP  | MemAttr  |tbl| V |
 * +---------+------+-----+---+---+------+------------------------+--+--+----+------+----------+---+---+
 * </pre>
 *
 * <p>Bits 1:0: 11 is a table above level 0 and a page at level 0; 01 a block at levels 1 (2 MiB) and 2 (1 GiB) and invalid
 * elsewhere. Addresses above the output width are address size faults, in tables too. CON marks an item of a group of 16 whose
 * own addresses follow each other; if this one does not lie where such a group would have it, it is taken alone. Source: Arm
 * Architecture Reference Manual, VMSAv8-64 translation table format descriptors.
 */
@Immutable
public abstract class ArmLongDescriptors extends PageFormat {
    /** What the hardware does with the access flag and with DBM. */
    public enum Marks {
        /** The flag is not looked at. */
        IGNORED,
        /** A clear flag is a fault: software sets it. */
        FAULT,
        /** HA: the hardware sets the flag. */
        ACCESSED,
        /** HA and HD: and makes a writable-clean page dirty. */
        ACCESSED_AND_DIRTY
    }

    static final long VALID = 1;
    static final long TABLE_OR_PAGE = 1 << 1;
    static final long SHAREABLE_INNER = 3 << 8;
    static final long AF = 1 << 10;
    static final long DBM = 1L << 51;
    static final long CONTIGUOUS = 1L << 52;
    static final long ADDRESS = 0x0000_ffff_ffff_f000L;

    static final int CONTIGUOUS_LG2 = 4;

    private static final int HIGHEST_BLOCK = 2;
    private static final long OWNED = 1L << 56;
    /** Software's: was dirty when it was made read-only. */
    private static final long WAS_DIRTY = 1L << 57;

    final Marks marks;
    private final long tooHigh;

    ArmLongDescriptors(int inputBits, int outputBits, int topLevel, Marks marks) {
        super(
                inputBits,
                false,
                outputBits,
                topLevel,
                VALID | TABLE_OR_PAGE | (ADDRESS & -(1L << outputBits)),
                VALID | TABLE_OR_PAGE,
                ADDRESS);
        inRange("inputBits", inputBits, 25, 48);
        inRange("outputBits", outputBits, 32, 48);
        this.marks = marks;
        this.tooHigh = ADDRESS & -(1L << outputBits);
    }

    /** Whether the write permission is there without a mark that has to be set first. */
    abstract boolean writable(long leaf);

    abstract long withWrite(long leaf, boolean on);

    @Override
    final int classify(long entry, int level) {
        boolean tableOrPage = (entry & TABLE_OR_PAGE) != 0;
        boolean block = !tableOrPage && level > 0 && level <= HIGHEST_BLOCK;
        if ((entry & VALID) == 0 || !(tableOrPage || block)) {
            return fault(WalkFault.NOT_PRESENT);
        }
        if ((entry & tooHigh) != 0) {
            return fault(WalkFault.OUTPUT_SIZE);
        }
        return block || level == 0 ? LEAF : TABLE;
    }

    @Override
    final long tableAddress(long entry) {
        return entry & ADDRESS;
    }

    @Override
    final long leafAddress(long entry, int level) {
        return entry & ADDRESS & -(1L << shift(level));
    }

    @Override
    final int leafSizeLg2(long entry, int level, long address) {
        int item = shift(level);
        int group = item + CONTIGUOUS_LG2;
        if ((entry & CONTIGUOUS) == 0 || group > inputBits) {
            return item;
        }
        long within = (1L << group) - (1L << item);
        return ((entry ^ address) & within) == 0 ? group : item;
    }

    @Override
    final long marked(long entry, int level, boolean leaf, boolean write) {
        if (!leaf || !keepsAccessed()) {
            return entry;
        }
        boolean makesDirty = write && keepsDirty() && (entry & DBM) != 0 && !writable(entry);
        return (makesDirty ? withWrite(entry, true) : entry) | AF;
    }

    @Override
    final boolean refusesUnaccessed(long leaf) {
        return marks == Marks.FAULT && (leaf & AF) == 0;
    }

    @Override
    final boolean writesUnmarked(long leaf) {
        return writable(leaf);
    }

    /** Whether a write is allowed, once the dirty mark is set. */
    final boolean writableWithMark(long leaf) {
        return writable(leaf) || (keepsDirty() && (leaf & DBM) != 0);
    }

    @Override
    final long pageSizes() {
        return 1L << 12 | 1L << 21 | 1L << 30;
    }

    @Override
    final long leaf(long physical, int level, int rights, boolean owned) {
        long entry = physical
                | VALID
                | (level == 0 ? TABLE_OR_PAGE : 0)
                | SHAREABLE_INNER
                | (keepsAccessed() ? 0 : AF)
                | (owned ? OWNED : 0);
        return withRights(withWrite(entry, false), level, rights);
    }

    @Override
    final long table(long physical) {
        return physical | VALID | TABLE_OR_PAGE;
    }

    @Override
    final boolean owned(long leaf) {
        return (leaf & OWNED) != 0;
    }

    @Override
    final long split(long leaf, int level, long offset) {
        return (leaf | (level == 1 ? TABLE_OR_PAGE : 0)) + offset;
    }

    /** A leaf's write permission, its dirty state kept: in hardware's bits while it can be written, in software's if not. */
    final long withWriteRight(long leaf, boolean write) {
        boolean dirty = dirty(leaf);
        if (!write) {
            return (withWrite(leaf, false) & ~DBM) | (dirty ? WAS_DIRTY : 0);
        }
        return keepsDirty() ? (withWrite(leaf, dirty) & ~WAS_DIRTY) | DBM : withWrite(leaf, true);
    }

    @Override
    final boolean accessed(long leaf) {
        return (leaf & AF) != 0;
    }

    @Override
    final long unaccessed(long leaf) {
        return keepsAccessed() ? leaf & ~AF : leaf;
    }

    @Override
    final boolean dirty(long leaf) {
        return writable(leaf) || (leaf & WAS_DIRTY) != 0;
    }

    @Override
    final long clean(long leaf) {
        return ((leaf & DBM) != 0 ? withWrite(leaf, false) : leaf) & ~WAS_DIRTY;
    }

    final boolean keepsAccessed() {
        return marks == Marks.ACCESSED || marks == Marks.ACCESSED_AND_DIRTY;
    }

    final boolean keepsDirty() {
        return marks == Marks.ACCESSED_AND_DIRTY;
    }

    @Override
    final String flags(long entry, int level) {
        StringBuilder out = new StringBuilder();
        name(out, entry, VALID, "V");
        boolean table = level > 0 && (entry & TABLE_OR_PAGE) != 0;
        name(out, table ? 1 : 0, 1, "table");
        permissions(out, entry, table);
        if (!table) {
            name(out, entry, AF, "AF");
            name(out, entry, DBM, "DBM");
            name(out, entry, CONTIGUOUS, "CONT");
        }
        return out.toString();
    }

    abstract void permissions(StringBuilder out, long entry, boolean table);
}
