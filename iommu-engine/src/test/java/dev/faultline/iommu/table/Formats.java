package dev.faultline.iommu.table;

import dev.faultline.iommu.table.ArmLongDescriptors.Marks;
import java.util.stream.Stream;

/** The formats that tests are run with. */
final class Formats {
    static final X86FirstStage X86 = new X86FirstStage(52);
    static final VtdSecondStage VTD_SECOND = new VtdSecondStage(48, 52, true, true, false);
    static final ArmFirstStage ARM_1 = new ArmFirstStage(48, 48, Marks.ACCESSED_AND_DIRTY);
    static final ArmSecondStage ARM_2 = new ArmSecondStage(48, 3, 48, Marks.ACCESSED_AND_DIRTY);

    private Formats() {}

    static Stream<PageFormat> all() {
        return Stream.of(
                X86,
                VTD_SECOND,
                ARM_1,
                ARM_2,
                new VtdSecondStage(39, 46, false, false, true),
                new ArmFirstStage(39, 40, Marks.ACCESSED),
                new ArmSecondStage(40, 2, 40, Marks.IGNORED));
    }
}
