package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.Translation.ALL_EXECUTE;
import static dev.faultline.iommu.table.Translation.ALL_READ;
import static dev.faultline.iommu.table.Translation.ALL_WRITE;
import static dev.faultline.iommu.table.Translation.EXECUTE;
import static dev.faultline.iommu.table.Translation.PAGE_MASK;
import static dev.faultline.iommu.table.Translation.READ;
import static dev.faultline.iommu.table.Translation.RIGHTS;
import static dev.faultline.iommu.table.Translation.WRITE;

import com.google.errorprone.annotations.Immutable;

/**
 * x86-64 paging with four levels, as the first stage of Intel VT-d reads it: 48 bits of input, sign-extended, with NXE and WPE.
 *
 * <pre>
 *  63  62     52 51                       12 11   9  8   7   6   5   4   3   2   1   0
 * +---+---------+---------------------------+------+---+---+---+---+---+---+---+---+---+
 * |XD | ignored |         address           | ign. | G |PS | D | A |PCD|PWT|US |RW | P |
 * +---+---------+---------------------------+------+---+---+---+---+---+---+---+---+---+
 * </pre>
 *
 * <p>D counts in leaves; PS makes a leaf at levels 1 (2 MiB) and 2 (1 GiB) and is reserved at level 3. In large leaves the
 * address bits below the page's size are reserved, except bit 12, which is PAT; in all entries those above the output width are.
 * P implies that reads are allowed. US, RW and the lack of XD count only if every level has them. A is set at every level
 * used, D in the leaf for a write. Source: Intel VT-d specification, first-stage paging entries.
 */
@Immutable
public final class X86FirstStage extends PageFormat {
    static final long P = 1;
    static final long RW = 1 << 1;
    static final long US = 1 << 2;
    static final long A = 1 << 5;
    static final long D = 1 << 6;
    static final long PS = 1 << 7;
    static final long XD = 1L << 63;

    private static final int INPUT_BITS = 48;
    private static final long PAT = 1 << 12;
    /** Software's: the memory is the table's owner's. */
    private static final long OWNED = 1 << 9;

    /** Address bits that no entry may have. */
    private final long tooHigh;

    /** @param outputBits the host address width, 32 to 52 */
    public X86FirstStage(int outputBits) {
        this(outputBits, PAGE_MASK & -(1L << outputBits));
    }

    private X86FirstStage(int outputBits, long tooHigh) {
        super(INPUT_BITS, true, outputBits, levels(INPUT_BITS) - 1, P | PS | A | tooHigh, P | A, PAGE_MASK);
        inRange("outputBits", outputBits, 32, 52);
        this.tooHigh = tooHigh;
    }

    @Override
    public int stage() {
        return 1;
    }

    @Override
    boolean hasInterruptWindow() {
        return true;
    }

    @Override
    int classify(long entry, int level) {
        if ((entry & P) == 0) {
            return fault(WalkFault.NOT_PRESENT);
        }
        if ((entry & tooHigh) != 0) {
            return fault(WalkFault.RESERVED_BITS);
        }
        if (level == 0) {
            return LEAF;
        }
        if ((entry & PS) == 0) {
            return TABLE;
        }
        boolean reserved = level == topLevel || (entry & PAGE_MASK & ((1L << shift(level)) - 1) & ~PAT) != 0;
        return reserved ? fault(WalkFault.RESERVED_BITS) : LEAF;
    }

    @Override
    long tableAddress(long entry) {
        return entry & PAGE_MASK;
    }

    @Override
    long leafAddress(long entry, int level) {
        return entry & PAGE_MASK & -(1L << shift(level));
    }

    @Override
    int leafSizeLg2(long entry, int level, long address) {
        return shift(level);
    }

    @Override
    int rights(long leaf, long all, long any) {
        long every = leaf & all;
        int rights = ALL_READ | ((every & RW) != 0 ? ALL_WRITE : 0) | (((leaf | any) & XD) == 0 ? ALL_EXECUTE : 0);
        return (every & US) != 0 ? rights : rights & ~RIGHTS;
    }

    @Override
    long marked(long entry, int level, boolean leaf, boolean write) {
        return entry | A | (leaf && write ? D : 0);
    }

    @Override
    boolean refusesUnaccessed(long leaf) {
        return false;
    }

    @Override
    boolean writesUnmarked(long leaf) {
        return (leaf & D) != 0;
    }

    @Override
    long pageSizes() {
        return 1L << 12 | 1L << 21 | 1L << 30;
    }

    @Override
    long leaf(long physical, int level, int rights, boolean owned) {
        return physical | P | (level > 0 ? PS : 0) | bits(rights) | (owned ? OWNED : 0);
    }

    @Override
    long table(long physical) {
        return physical | P | RW | US;
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
        return (leaf & ~(RW | US | XD)) | bits(rights);
    }

    @Override
    int rightsOf(long leaf) {
        return READ | ((leaf & RW) != 0 ? WRITE : 0) | ((leaf & XD) == 0 ? EXECUTE : 0);
    }

    @Override
    boolean accessed(long leaf) {
        return (leaf & A) != 0;
    }

    @Override
    long unaccessed(long leaf) {
        return leaf & ~A;
    }

    @Override
    boolean dirty(long leaf) {
        return (leaf & D) != 0;
    }

    @Override
    long clean(long leaf) {
        return leaf & ~D;
    }

    @Override
    public String title() {
        return "x86-64, 4 levels";
    }

    @Override
    String flags(long entry, int level) {
        boolean leaf = level == 0 || (entry & PS) != 0;
        StringBuilder out = new StringBuilder();
        name(out, entry, P, "P");
        name(out, entry, RW, "RW");
        name(out, entry, US, "US");
        name(out, entry, A, "A");
        if (leaf) {
            name(out, entry, D, "D");
        }
        if (level > 0) {
            name(out, entry, PS, "PS");
        }
        name(out, entry, XD, "XD");
        return out.toString();
    }

    private static long bits(int rights) {
        return US | ((rights & WRITE) != 0 ? RW : 0) | ((rights & EXECUTE) != 0 ? 0 : XD);
    }
}
