package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.Translation.ALL_EXECUTE;
import static dev.faultline.iommu.table.Translation.ALL_READ;
import static dev.faultline.iommu.table.Translation.ALL_WRITE;
import static dev.faultline.iommu.table.Translation.EXECUTE;
import static dev.faultline.iommu.table.Translation.READ;
import static dev.faultline.iommu.table.Translation.WRITE;

import com.google.errorprone.annotations.Immutable;

/**
 * Arm's second stage, granule of 4 KiB. Up to 16 tables of the root's level may lie side by side, and the walk begins one level
 * lower.
 *
 * <p>S2AP[0], bit 6: read. S2AP[1], bit 7: write; with DBM and HD its lack means clean, and a write sets it. XN, bit 54: no
 * execution. Tables take nothing away.
 */
@Immutable
public final class ArmSecondStage extends ArmLongDescriptors {
    static final long S2_READ = 1 << 6;
    static final long S2_WRITE = 1 << 7;
    static final long XN = 1L << 54;

    private static final long WRITE_BACK = 0xf << 2;
    private static final int MAX_TABLES = 16;

    /**
     * @param inputBits 64 - S2T0SZ: 25 to 48
     * @param startLevel our number of the root's level, 1 to 3 (S2SL0 0 to 2)
     * @param outputBits what S2PS says: 32 to 48
     * @param marks what is done with AF and DBM
     * @throws IllegalArgumentException also if more than 16 tables, or none, would lie side by side
     */
    public ArmSecondStage(int inputBits, int startLevel, int outputBits, Marks marks) {
        super(inputBits, outputBits, startLevel, marks);
        inRange("startLevel", startLevel, 1, 3);
        int above = inputBits - shift(startLevel);
        if (above < 1 || above > bitsPerLevel + Integer.numberOfTrailingZeros(MAX_TABLES)) {
            throw new IllegalArgumentException("startLevel=" + startLevel + ": allowed, with inputBits=" + inputBits
                    + ", one that needs 1 to " + MAX_TABLES + " tables side by side");
        }
    }

    @Override
    public int stage() {
        return 2;
    }

    @Override
    int rights(long leaf, long all, long any) {
        return ((leaf & S2_READ) != 0 ? ALL_READ : 0)
                | (writableWithMark(leaf) ? ALL_WRITE : 0)
                | ((leaf & XN) == 0 ? ALL_EXECUTE : 0);
    }

    @Override
    boolean writable(long leaf) {
        return (leaf & S2_WRITE) != 0;
    }

    @Override
    long withWrite(long leaf, boolean on) {
        return on ? leaf | S2_WRITE : leaf & ~S2_WRITE;
    }

    @Override
    long withRights(long leaf, int level, int rights) {
        long entry = withWriteRight((leaf & ~(XN | S2_READ)) | WRITE_BACK, (rights & WRITE) != 0);
        return entry | ((rights & READ) != 0 ? S2_READ : 0) | ((rights & EXECUTE) != 0 ? 0 : XN);
    }

    @Override
    int rightsOf(long leaf) {
        return ((leaf & S2_READ) != 0 ? READ : 0)
                | (writable(leaf) || (leaf & DBM) != 0 ? WRITE : 0)
                | ((leaf & XN) == 0 ? EXECUTE : 0);
    }

    @Override
    public String title() {
        return "Arm second stage 4K, " + (topLevel + 1) + " levels";
    }

    @Override
    void permissions(StringBuilder out, long entry, boolean table) {
        if (!table) {
            name(out, entry, S2_READ, "S2AP0");
            name(out, entry, S2_WRITE, "S2AP1");
            name(out, entry, XN, "XN");
        }
    }
}
