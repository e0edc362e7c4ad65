package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.Translation.ALL_EXECUTE;
import static dev.faultline.iommu.table.Translation.ALL_READ;
import static dev.faultline.iommu.table.Translation.ALL_RIGHTS;
import static dev.faultline.iommu.table.Translation.ALL_WRITE;

import com.google.errorprone.annotations.Immutable;

/**
 * x86-64 paging with four levels, as the first stage of Intel VT-d reads it: 48 bits of input, sign-extended.
 *
 * <pre>
 *  63  62     52 51                       12 11   9  8   7   6   5   4   3   2   1   0
 * +---+---------+---------------------------+------+---+---+---+---+---+---+---+---+---+
 * |XD | ignored |         address           | ign. | G |PS | D | A |PCD|PWT|US |RW | P |
 * +---+---------+---------------------------+------+---+---+---+---+---+---+---+---+---+
 * </pre>
 *
 * <p>D counts in leaves; PS makes a leaf at levels 1 (2 MiB) and 2 (1 GiB) and is reserved at level 3. In large leaves the
 * address bits below the page's size are reserved, except bit 12, which is PAT. P implies that reads are allowed. Source:
 * Intel VT-d specification, first-stage paging entries.
 */
@Immutable
public final class X86FourLevel implements PageFormat {
    static final long P = 1;
    static final long RW = 1 << 1;
    static final long US = 1 << 2;
    static final long A = 1 << 5;
    static final long D = 1 << 6;
    static final long PS = 1 << 7;
    static final long XD = 1L << 63;
    static final long ADDRESS = 0x000f_ffff_ffff_f000L;

    private static final int LEVELS = 4;
    private static final int UNUSED_INPUT_BITS = 16;
    private static final long PAT = 1 << 12;

    @Override
    public String title() {
        return "x86-64, 4 levels";
    }

    @Override
    public int levels() {
        return LEVELS;
    }

    @Override
    public boolean canonical(long address) {
        return address << UNUSED_INPUT_BITS >> UNUSED_INPUT_BITS == address;
    }

    @Override
    public String canonicalRule() {
        return "0 to 0x7fffffffffff and 0xffff800000000000 to 0xffffffffffffffff";
    }

    @Override
    public int shift(int level) {
        return Translation.PAGE_SHIFT + 9 * level;
    }

    @Override
    public int index(long address, int level) {
        return (int) (address >>> shift(level)) & 511;
    }

    @Override
    public boolean present(long entry) {
        return (entry & P) != 0;
    }

    @Override
    public boolean leaf(long entry, int level) {
        return level == 0 || (entry & PS) != 0;
    }

    @Override
    public boolean reservedBitsSet(long entry, int level) {
        if (level == 0 || (entry & PS) == 0) {
            return false;
        }
        return level == LEVELS - 1 || (entry & ADDRESS & ((1L << shift(level)) - 1) & ~PAT) != 0;
    }

    @Override
    public long address(long entry, int level) {
        return level > 0 && (entry & PS) != 0 ? entry & ADDRESS & -(1L << shift(level)) : entry & ADDRESS;
    }

    @Override
    public int rights(long entry) {
        int rights = ALL_READ | ((entry & RW) != 0 ? ALL_WRITE : 0) | ((entry & XD) == 0 ? ALL_EXECUTE : 0);
        return (entry & US) != 0 ? rights : rights & (ALL_RIGHTS & ~Translation.RIGHTS);
    }

    @Override
    public long leafEntry(long address, int rights) {
        return address
                | P
                | US
                | ((rights & Translation.WRITE) != 0 ? RW : 0)
                | ((rights & Translation.EXECUTE) != 0 ? 0 : XD);
    }

    @Override
    public long tableEntry(long address) {
        return address | P | RW | US;
    }

    @Override
    public long accessedBit() {
        return A;
    }

    @Override
    public long dirtyBit() {
        return D;
    }

    @Override
    public String flags(long entry, int level) {
        StringBuilder out = new StringBuilder();
        name(out, entry, P, "P");
        name(out, entry, RW, "RW");
        name(out, entry, US, "US");
        name(out, entry, A, "A");
        if (leaf(entry, level)) {
            name(out, entry, D, "D");
        }
        if (level > 0) {
            name(out, entry, PS, "PS");
        }
        name(out, entry, XD, "XD");
        return out.toString();
    }

    private static void name(StringBuilder out, long entry, long bit, String name) {
        if ((entry & bit) != 0) {
            out.append(out.isEmpty() ? "" : " ").append(name);
        }
    }
}
