package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.StreamEntry;
import dev.faultline.iommu.iommufd.smmuv3.Smmuv3;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * How a page table of a program's will be. What is not said is off.
 *
 * <p>Threads: one at a time. It may make several. Errors: {@link IommufdException} by {@link #make}. Source: {@code struct
 * iommu_hwpt_alloc} of {@code include/uapi/linux/iommufd.h}, Linux 7.2.
 *
 * <p>Ownership: what it makes is the caller's.
 */
public final class PageTableBuilder {
    private static final int FAULT_ID_VALID = 1 << 2;

    private final Iommufd program;
    private final UserDevice device;
    private final int over;
    private int flags;
    private int faultId;
    private int dataType;
    private byte[] data = {};

    PageTableBuilder(Iommufd program, UserDevice device, int over) {
        this.program = program;
        this.device = device;
        this.over = over;
    }

    /**
     * Page tables may be nested in it.
     *
     * @return this
     */
    public PageTableBuilder nestParent() {
        flags |= DriverDevice.NEST_PARENT;
        return this;
    }

    /**
     * It may be attached to PASIDs.
     *
     * @return this
     */
    public PageTableBuilder pasids() {
        flags |= DriverDevice.PASID;
        return this;
    }

    /**
     * What devices write to can be asked for.
     *
     * @return this
     */
    public PageTableBuilder dirtyTracking() {
        flags |= DriverDevice.DIRTY_TRACKING;
        return this;
    }

    /**
     * Faults of its devices go to a queue.
     *
     * @param queue which
     * @return this
     */
    public PageTableBuilder faults(UserFaultQueue queue) {
        flags |= FAULT_ID_VALID;
        faultId = queue.id();
        return this;
    }

    /**
     * It is a guest's first stage as VT-d describes it, with addresses of 48 bits.
     *
     * @param root where its root table is, as the parent's input
     * @return this
     */
    public PageTableBuilder firstStage(long root) {
        ByteBuffer vtd = ByteBuffer.allocate(24).order(ByteOrder.nativeOrder());
        return data(EngineDriver.VTD_S1, vtd.putLong(8, root).putInt(16, 48).array());
    }

    /**
     * It is what a guest's SMMUv3 says of a device. Through a guest's IOMMU, with a driver that is one.
     *
     * @param entry the guest's stream table entry
     * @return this
     */
    public PageTableBuilder streamEntry(StreamEntry entry) {
        ByteBuffer words = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
        return data(
                Smmuv3.STREAM_ENTRY,
                words.putLong(entry.first()).putLong(entry.second()).array());
    }

    /**
     * It is described by data of a type that its driver knows.
     *
     * @param type of the data
     * @param bytes the data, up to 2048 bytes
     * @return this
     */
    public PageTableBuilder data(int type, byte[] bytes) {
        dataType = type;
        data = bytes.clone();
        return this;
    }

    /**
     * Makes it.
     *
     * @return the page table: the kernel's HWPT
     */
    public UserPageTable make() {
        return new UserPageTable(
                program,
                program.run(
                        new Request("IOMMU_HWPT_ALLOC", 0x3b89, 48)
                                .u32("flags", 4, flags)
                                .u32("dev_id", 8, device.id())
                                .u32("pt_id", 12, over)
                                .u32("data_type", 24, dataType)
                                .u32("data_len", 28, data.length)
                                .pointer("data_uptr", 32, data)
                                .u32("fault_id", 40, faultId),
                        answer -> answer.u32(16)));
    }
}
