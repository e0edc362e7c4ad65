package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.Translation.ALL_EXECUTE;
import static dev.faultline.iommu.table.Translation.ALL_READ;
import static dev.faultline.iommu.table.Translation.ALL_WRITE;
import static dev.faultline.iommu.table.Translation.EXECUTE;
import static dev.faultline.iommu.table.Translation.PAGE_MASK;
import static dev.faultline.iommu.table.Translation.READ;
import static dev.faultline.iommu.table.Translation.WRITE;

import com.google.errorprone.annotations.Immutable;

/**
 * The second stage of Intel VT-d: up to 57 bits of input, not sign-extended, 9 for each level.
 *
 * <pre>
 *  63  62  61      52 51                       12 11   10  9   8   7   6  5   3   2   1   0
 * +---+---+----------+---------------------------+----+---+---+---+---+---+-----+---+---+---+
 * |ign|TM | ignored  |         address           |SNP |ign| D | A |PS |IPT| EMT | X | W | R |
 * +---+---+----------+---------------------------+----+---+---+---+---+---+-----+---+---+---+
 * </pre>
 *
 * <p>There is no present bit: R and W both clear means not present. PS makes a leaf at levels 1 (2 MiB) and 2 (1 GiB) and is
 * reserved above. Reserved too: SNP, unless the hardware controls snooping; in large leaves the address bits below the page's
 * size; everywhere those above the output width. X counts with SSEE only, else whatever can be read can be executed. A, at
 * every level used, and D are set with SSADE only; without it D is software's, for what was made read-only. Source: Intel VT-d specification, second-stage paging entries.
 */
@Immutable
public final class VtdSecondStage extends PageFormat {
    static final long R = 1;
    static final long W = 1 << 1;
    static final long X = 1 << 2;
    static final long PS = 1 << 7;
    static final long A = 1 << 8;
    static final long D = 1 << 9;
    static final long SNP = 1 << 11;

    private static final int HIGHEST_LEAF = 2;
    private static final long OWNED = 1L << 52;

    private final boolean marks;
    private final boolean executes;
    private final long reserved;

    /**
     * @param inputBits the address width: 30 to 57
     * @param outputBits the host address width: 32 to 52
     * @param marks SSADE: whether accessed and dirty marks are kept
     * @param executes SSEE: whether X is looked at
     * @param snoops ECAP.SC: whether SNP may be set
     */
    public VtdSecondStage(int inputBits, int outputBits, boolean marks, boolean executes, boolean snoops) {
        this(inputBits, outputBits, marks, executes, (PAGE_MASK & -(1L << outputBits)) | (snoops ? 0 : SNP));
    }

    private VtdSecondStage(int inputBits, int outputBits, boolean marks, boolean executes, long reserved) {
        // Only tables that grant R and W are of the plain shape; those that grant less are asked about.
        super(
                inputBits,
                false,
                outputBits,
                levels(inputBits) - 1,
                R | W | PS | (marks ? A : 0) | (reserved & ~SNP),
                R | W | (marks ? A : 0),
                PAGE_MASK);
        inRange("inputBits", inputBits, 30, 57);
        inRange("outputBits", outputBits, 32, 52);
        this.marks = marks;
        this.executes = executes;
        this.reserved = reserved;
    }

    @Override
    public int stage() {
        return 2;
    }

    @Override
    boolean hasInterruptWindow() {
        return true;
    }

    @Override
    int classify(long entry, int level) {
        if ((entry & (R | W)) == 0) {
            return fault(WalkFault.NOT_PRESENT);
        }
        boolean leaf = level == 0 || (entry & PS) != 0;
        if ((entry & reserved & (leaf ? -1 : ~SNP)) != 0) {
            return fault(WalkFault.RESERVED_BITS);
        }
        if (!leaf) {
            return TABLE;
        }
        boolean bad = level > HIGHEST_LEAF || (entry & PAGE_MASK & ((1L << shift(level)) - 1)) != 0;
        return bad ? fault(WalkFault.RESERVED_BITS) : LEAF;
    }

    @Override
    long tableAddress(long entry) {
        return entry & PAGE_MASK;
    }

    @Override
    long leafAddress(long entry, int level) {
        return entry & PAGE_MASK;
    }

    @Override
    int leafSizeLg2(long entry, int level, long address) {
        return shift(level);
    }

    @Override
    int rights(long leaf, long all, long any) {
        long every = leaf & all;
        return ((every & R) != 0 ? ALL_READ : 0)
                | ((every & W) != 0 ? ALL_WRITE : 0)
                | ((every & (executes ? X : R)) != 0 ? ALL_EXECUTE : 0);
    }

    @Override
    long marked(long entry, int level, boolean leaf, boolean write) {
        return marks ? entry | A | (leaf && write ? D : 0) : entry;
    }

    @Override
    boolean refusesUnaccessed(long leaf) {
        return false;
    }

    @Override
    boolean writesUnmarked(long leaf) {
        return !marks || (leaf & D) != 0;
    }

    @Override
    long pageSizes() {
        return 1L << 12 | 1L << 21 | 1L << 30;
    }

    @Override
    long leaf(long physical, int level, int rights, boolean owned) {
        return physical | (level > 0 ? PS : 0) | bits(rights) | (owned ? OWNED : 0);
    }

    @Override
    long table(long physical) {
        return physical | R | W | X;
    }

    @Override
    long split(long leaf, int level, long offset) {
        return (level == 1 ? leaf & ~PS : leaf) + offset;
    }

    @Override
    boolean owned(long leaf) {
        return (leaf & OWNED) != 0;
    }

    @Override
    long withRights(long leaf, int level, int rights) {
        boolean dirty = !marks && (leaf & W) != 0 && (rights & WRITE) == 0;
        return (leaf & ~(R | W | X)) | bits(rights) | (dirty ? D : 0);
    }

    @Override
    int rightsOf(long leaf) {
        return ((leaf & R) != 0 ? READ : 0) | ((leaf & W) != 0 ? WRITE : 0) | ((leaf & X) != 0 ? EXECUTE : 0);
    }

    @Override
    boolean accessed(long leaf) {
        return !marks || (leaf & A) != 0;
    }

    @Override
    long unaccessed(long leaf) {
        return marks ? leaf & ~A : leaf;
    }

    @Override
    boolean dirty(long leaf) {
        return (leaf & (marks ? D : D | W)) != 0;
    }

    @Override
    long clean(long leaf) {
        return leaf & ~D;
    }

    @Override
    public String title() {
        return "VT-d second stage, " + (topLevel + 1) + " levels";
    }

    @Override
    String flags(long entry, int level) {
        boolean leaf = level == 0 || (entry & PS) != 0;
        StringBuilder out = new StringBuilder();
        name(out, entry, R, "R");
        name(out, entry, W, "W");
        name(out, entry, X, "X");
        if (level > 0) {
            name(out, entry, PS, "PS");
        }
        if (marks) {
            name(out, entry, A, "A");
        }
        if (leaf) {
            name(out, entry, D, "D");
            name(out, entry, SNP, "SNP");
        }
        return out.toString();
    }

    private static long bits(int rights) {
        return ((rights & READ) != 0 ? R : 0) | ((rights & WRITE) != 0 ? W : 0) | ((rights & EXECUTE) != 0 ? X : 0);
    }
}
