package dev.faultline.iommu;

import dev.faultline.iommu.table.ArmFirstStage;
import dev.faultline.iommu.table.ArmLongDescriptors.Marks;
import dev.faultline.iommu.table.ArmSecondStage;
import dev.faultline.iommu.table.PageFormat;
import dev.faultline.iommu.table.VtdSecondStage;
import dev.faultline.iommu.table.X86FirstStage;

/**
 * The page-table formats an {@link AddressSpace} can be made of. All have a granule of 4 KiB, pages of 4 KiB, 2 MiB and 1 GiB, and
 * keep accessed and dirty marks.
 *
 * <p>Threads: any; immutable. Source: Intel VT-d specification, paging entries; Arm Architecture Reference Manual, VMSAv8-64.
 */
public final class TableFormat {
    private static final int PHYSICAL_BITS = 52;
    private static final int ARM_BITS = 48;

    /** x86-64 with four levels, the first stage of Intel VT-d: 48 bits of sign-extended input, 52 of output. */
    public static final TableFormat X86_4_LEVEL = new TableFormat(new X86FirstStage(PHYSICAL_BITS));

    /** The second stage of Intel VT-d with four levels: 48 bits of input, 52 of output. */
    public static final TableFormat VTD_SECOND_4_LEVEL = vtdSecond(48, PHYSICAL_BITS);

    /** Arm's first stage: 48 bits of input, 48 of output. */
    public static final TableFormat ARM_4K_STAGE_1 = armStage1(ARM_BITS, ARM_BITS);

    /** Arm's second stage: 48 bits of input, 48 of output, a walk from one table of level 3. */
    public static final TableFormat ARM_4K_STAGE_2 = armStage2(ARM_BITS, 3, ARM_BITS);

    private final PageFormat facts;

    private TableFormat(PageFormat facts) {
        this.facts = facts;
    }

    /**
     * The first stage of Intel VT-d for hardware with fewer address lines.
     *
     * @param outputBits the host address width: 32 to 52
     * @return the format
     * @throws IllegalArgumentException if it is out of range
     */
    public static TableFormat x86(int outputBits) {
        return new TableFormat(new X86FirstStage(outputBits));
    }

    /**
     * The second stage of Intel VT-d, with accessed and dirty marks and without execute permission.
     *
     * @param inputBits the address width: 30 to 48; above 39 are four levels, else three
     * @param outputBits the host address width: 32 to 52
     * @return the format
     * @throws IllegalArgumentException if one is out of range
     */
    public static TableFormat vtdSecond(int inputBits, int outputBits) {
        Limits.inRange("inputBits", inputBits, 30, 48);
        return new TableFormat(new VtdSecondStage(inputBits, outputBits, true, false, false));
    }

    /**
     * Arm's first stage with a granule of 4 KiB, hardware that sets accessed and dirty marks, and addresses from 0.
     *
     * @param inputBits 64 - T0SZ: 25 to 48
     * @param outputBits what IPS says: 32 to 48
     * @return the format
     * @throws IllegalArgumentException if one is out of range
     */
    public static TableFormat armStage1(int inputBits, int outputBits) {
        return new TableFormat(new ArmFirstStage(inputBits, outputBits, Marks.ACCESSED_AND_DIRTY));
    }

    /**
     * Arm's second stage with a granule of 4 KiB and hardware that sets accessed and dirty marks.
     *
     * @param inputBits 64 - S2T0SZ: 25 to 48
     * @param startLevel where the walk begins: 1, 2 or 3, counted from the smallest pages (S2SL0 0, 1 or 2)
     * @param outputBits what S2PS says: 32 to 48
     * @return the format
     * @throws IllegalArgumentException if one is out of range, or not 1 to 16 tables would lie side by side at the start
     */
    public static TableFormat armStage2(int inputBits, int startLevel, int outputBits) {
        return new TableFormat(new ArmSecondStage(inputBits, startLevel, outputBits, Marks.ACCESSED_AND_DIRTY));
    }

    /**
     * How people call it.
     *
     * @return a few words
     */
    public String title() {
        return facts.title();
    }

    @Override
    public String toString() {
        return facts.title();
    }

    PageFormat facts() {
        return facts;
    }
}
