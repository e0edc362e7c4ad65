package dev.faultline.iommu.iommufd.smmuv3;

import dev.faultline.iommu.iommufd.HardwareInfo;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The identification registers: what this SMMU has.
 *
 * <p>Source: SMMUv3 architecture, SMMU_IDR0 to SMMU_IDR5, SMMU_IIDR, SMMU_AIDR; {@code iommu_hw_info_arm_smmuv3} of {@code
 * include/uapi/linux/iommufd.h}, Linux 7.2.
 */
final class Registers {
    /** {@code IOMMU_HW_INFO_TYPE_ARM_SMMUV3}. */
    static final int INFO_TYPE = 2;

    private static final int INFO_BYTES = 40;
    private static final int IDR = 8;
    private static final int AIDR = 36;

    private static final int SECOND_STAGE = 1;
    private static final int FIRST_STAGE = 1 << 1;
    private static final int TABLES_OF_64_BITS = 2 << 2;
    private static final int COHERENT = 1 << 4;
    private static final int SETS_ACCESSED_AND_DIRTY = 2 << 6;
    private static final int ATS = 1 << 10;
    private static final int NO_SPLIT_STAGE_ATS = 1 << 11;
    private static final int ASID_OF_16_BITS = 1 << 12;
    private static final int PAGE_REQUESTS = 1 << 16;
    private static final int VMID_OF_16_BITS = 1 << 18;
    private static final int TWO_LEVELS_OF_CONTEXTS = 1 << 19;
    private static final int LITTLE_ENDIAN_TABLES = 2 << 21;
    private static final int ONLY_ABORTS = 1 << 26;

    private static final int STREAM_BITS = 16;
    private static final int SUBSTREAM_BITS = 20;
    private static final int SUBSTREAM_BITS_SHIFT = 6;
    private static final int PAGE_REQUESTS_SHIFT = 11;
    private static final int EVENTS_SHIFT = 16;
    private static final int COMMANDS_SHIFT = 21;
    /** The most that the registers can say, and what a vEVENTQ and an invalidation of Linux hold. */
    private static final int MOST_LG2 = 19;

    private static final int PASID_IN_RESPONSES = 1 << 5;
    private static final int RANGE_INVALIDATION = 1 << 10;
    private static final int ADDRESSES_OF_48_BITS = 5;
    private static final int GRANULE_4K = 1 << 4;
    private static final int STALLS_SHIFT = 16;
    private static final int MOST_STALLS = 0xffff;
    /** Of version 3.2, which has invalidation by range. */
    private static final int VERSION_3_2 = 2;

    private Registers() {}

    /**
     * What a program is told.
     *
     * @param pageRequestEntries of the queue of page requests
     */
    static HardwareInfo info(int pageRequestEntries) {
        ByteBuffer info = ByteBuffer.allocate(INFO_BYTES).order(ByteOrder.nativeOrder());
        int requestsLg2 = Math.min(MOST_LG2, Integer.SIZE - 1 - Integer.numberOfLeadingZeros(pageRequestEntries));
        var _ = info.putInt(
                        IDR,
                        SECOND_STAGE
                                | FIRST_STAGE
                                | TABLES_OF_64_BITS
                                | COHERENT
                                | SETS_ACCESSED_AND_DIRTY
                                | ATS
                                | NO_SPLIT_STAGE_ATS
                                | ASID_OF_16_BITS
                                | PAGE_REQUESTS
                                | VMID_OF_16_BITS
                                | TWO_LEVELS_OF_CONTEXTS
                                | LITTLE_ENDIAN_TABLES
                                | ONLY_ABORTS)
                .putInt(
                        IDR + 4,
                        STREAM_BITS
                                | SUBSTREAM_BITS << SUBSTREAM_BITS_SHIFT
                                | requestsLg2 << PAGE_REQUESTS_SHIFT
                                | MOST_LG2 << EVENTS_SHIFT
                                | MOST_LG2 << COMMANDS_SHIFT)
                .putInt(IDR + 3 * 4, PASID_IN_RESPONSES | RANGE_INVALIDATION)
                .putInt(IDR + 5 * 4, ADDRESSES_OF_48_BITS | GRANULE_4K | MOST_STALLS << STALLS_SHIFT)
                .putInt(AIDR, VERSION_3_2);
        return new HardwareInfo(INFO_TYPE, info.array());
    }
}
