package dev.faultline.iommu.iommufd;

/**
 * What a program's devices translate through: the kernel's HWPT.
 *
 * <p>Threads: any. Ownership: whoever makes it closes it, after what is attached to it and nested in it, or {@link Iommufd#close} does.
 * Errors: {@link IommufdException}. Source: {@code drivers/iommu/iommufd/hw_pagetable.c}, Linux 7.2.
 */
public final class UserPageTable implements AutoCloseable {
    private final Iommufd program;
    private final int id;
    private final Once destroying = new Once();

    UserPageTable(Iommufd program, int id) {
        this.program = program;
        this.id = id;
    }

    /**
     * Its id.
     *
     * @return 1 or more
     */
    public int id() {
        return id;
    }

    /**
     * Begins a page table of a guest's, nested in this one.
     *
     * @param device what it is for
     * @return how it will be
     */
    public PageTableBuilder nested(UserDevice device) {
        return new PageTableBuilder(program, device, id);
    }

    /**
     * Makes a guest's IOMMU over this one.
     *
     * @param device which physical IOMMU it is on
     * @return the guest's IOMMU, of the type of the driver's architecture
     */
    public GuestIommu guestIommu(UserDevice device) {
        return new GuestIommu(
                program,
                program.run(
                        new Request("IOMMU_VIOMMU_ALLOC", 0x3b90, 40)
                                .u32("type", 8, program.guests().type())
                                .u32("dev_id", 12, device.id())
                                .u32("hwpt_id", 16, id),
                        answer -> answer.u32(20)));
    }

    /** Destroys it. Doing it again does nothing. */
    @Override
    public void close() {
        destroying.run(() -> program.destroy(id));
    }

    @Override
    public String toString() {
        return "page table " + id;
    }
}
