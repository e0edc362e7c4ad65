package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.Translation.EXECUTE;
import static dev.faultline.iommu.table.Translation.PRIVILEGED_SHIFT;
import static dev.faultline.iommu.table.Translation.READ;
import static dev.faultline.iommu.table.Translation.WRITE;

import com.google.errorprone.annotations.Immutable;

/**
 * Arm's first stage, granule of 4 KiB, addresses from 0 (TTB0).
 *
 * <p>AP[1], bit 6: requests without privilege may use it. AP[2], bit 7: read-only; with DBM and HD it means clean, and a write
 * clears it. UXN and PXN, bits 54 and 53: no execution without and with privilege. Tables take rights away: APTable bits 61 and
 * 62, UXNTable 60, PXNTable 59.
 */
@Immutable
public final class ArmFirstStage extends ArmLongDescriptors {
    static final long USER = 1 << 6;
    static final long READ_ONLY = 1 << 7;
    static final long PXN = 1L << 53;
    static final long UXN = 1L << 54;
    static final long PXN_TABLE = 1L << 59;
    static final long UXN_TABLE = 1L << 60;
    static final long NO_USER_TABLE = 1L << 61;
    static final long READ_ONLY_TABLE = 1L << 62;

    private static final long NOT_GLOBAL = 1 << 11;
    /** Index of write-back memory in the MAIR that Linux sets up. */
    private static final long WRITE_BACK = 1 << 2;

    /**
     * @param inputBits 64 - T0SZ: 25 to 48
     * @param outputBits what IPS says: 32 to 48
     * @param marks what is done with AF and DBM
     */
    public ArmFirstStage(int inputBits, int outputBits, Marks marks) {
        super(inputBits, outputBits, levels(inputBits) - 1, marks);
    }

    @Override
    public int stage() {
        return 1;
    }

    @Override
    int rights(long leaf, long all, long any) {
        boolean write = writableWithMark(leaf) && (any & READ_ONLY_TABLE) == 0;
        boolean user = (leaf & USER) != 0 && (any & NO_USER_TABLE) == 0;
        int data = READ | (write ? WRITE : 0);
        int others = (user ? data : 0) | ((leaf & UXN) == 0 && (any & UXN_TABLE) == 0 ? EXECUTE : 0);
        int privileged = data | ((leaf & PXN) == 0 && (any & PXN_TABLE) == 0 ? EXECUTE : 0);
        return others | privileged << PRIVILEGED_SHIFT;
    }

    @Override
    boolean writable(long leaf) {
        return (leaf & READ_ONLY) == 0;
    }

    @Override
    long withWrite(long leaf, boolean on) {
        return on ? leaf & ~READ_ONLY : leaf | READ_ONLY;
    }

    @Override
    long withRights(long leaf, int level, int rights) {
        long entry = withWriteRight((leaf & ~(UXN | PXN)) | USER | NOT_GLOBAL | WRITE_BACK, (rights & WRITE) != 0);
        return (rights & EXECUTE) != 0 ? entry : entry | UXN | PXN;
    }

    @Override
    int rightsOf(long leaf) {
        return READ | (writable(leaf) || (leaf & DBM) != 0 ? WRITE : 0) | ((leaf & UXN) == 0 ? EXECUTE : 0);
    }

    @Override
    public String title() {
        return "Arm first stage 4K, " + (topLevel + 1) + " levels";
    }

    @Override
    void permissions(StringBuilder out, long entry, boolean table) {
        if (table) {
            name(out, entry, NO_USER_TABLE, "APTable0");
            name(out, entry, READ_ONLY_TABLE, "APTable1");
            name(out, entry, UXN_TABLE, "UXNTable");
            name(out, entry, PXN_TABLE, "PXNTable");
        } else {
            name(out, entry, USER, "AP1");
            name(out, entry, READ_ONLY, "AP2");
            name(out, entry, UXN, "UXN");
            name(out, entry, PXN, "PXN");
        }
    }
}
