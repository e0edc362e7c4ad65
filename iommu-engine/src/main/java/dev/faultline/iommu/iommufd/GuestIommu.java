package dev.faultline.iommu.iommufd;

import dev.faultline.ring.FaultGroup;
import java.util.OptionalLong;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A guest's IOMMU: the kernel's vIOMMU, of the type of its driver's architecture.
 *
 * <p>Threads: any. Ownership: whoever makes it closes it, after its devices, its page tables and its events, or {@link Iommufd#close} does.
 * Errors: {@link IommufdException}. Source: {@code drivers/iommu/iommufd/viommu.c}, Linux 7.2; the invalidations and events of {@code
 * docs/iommufd.md}.
 */
public final class GuestIommu implements AutoCloseable {
    private static final int PAGE = 4096;

    private final Iommufd program;
    private final int id;
    private final Once destroying = new Once();

    /** By the ids that faults carry. */
    private final ConcurrentHashMap<Integer, Long> virtualIds = new ConcurrentHashMap<>();

    GuestIommu(Iommufd program, int id) {
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
     * Says by which id the guest knows a device.
     *
     * @param device behind the same physical IOMMU
     * @param virtualId the guest's id
     * @return the guest's device, which is closed when the guest has it no more
     */
    public GuestDevice device(UserDevice device, long virtualId) {
        int made = program.run(
                new Request("IOMMU_VDEVICE_ALLOC", 0x3b91, 24)
                        .u32("viommu_id", 4, id)
                        .u32("dev_id", 8, device.id())
                        .u64("virt_id", 16, virtualId),
                answer -> answer.u32(12));
        virtualIds.put(device.id(), virtualId);
        return new GuestDevice(program, this, made, device.id());
    }

    /**
     * By which id the guest knows the device that a fault names, for who hands the fault to the guest.
     *
     * @param deviceId {@link FaultGroup#device}
     * @return the guest's id; empty if the guest has no such device
     */
    public OptionalLong virtualId(int deviceId) {
        Long known = virtualIds.get(deviceId);
        return known == null ? OptionalLong.empty() : OptionalLong.of(known);
    }

    /**
     * Begins a page table of the guest's, nested through this.
     *
     * @param device what it is for
     * @return how it will be
     */
    public PageTableBuilder nested(UserDevice device) {
        return new PageTableBuilder(program, device, id);
    }

    /**
     * Has a device forget what the guest changed in its page table.
     *
     * @param virtualId the guest's id of the device
     * @param address the first page, as the guest's table translates it: a multiple of 4096
     * @param bytes how far: a positive multiple of 4096
     * @throws IommufdException EIO if the guest has no such device
     */
    public void invalidate(long virtualId, long address, long bytes) {
        forget(program.guests().forget(virtualId, address, (bytes + PAGE - 1) / PAGE));
    }

    /**
     * Has a device forget everything it knows of the guest's page tables.
     *
     * @param virtualId the guest's id of the device
     * @throws IommufdException EIO if the guest has no such device
     */
    public void invalidateAll(long virtualId) {
        forget(program.guests().forgetAll(virtualId));
    }

    private void forget(byte[] entries) {
        GuestFormat format = program.guests();
        Request request = new Request("IOMMU_HWPT_INVALIDATE", 0x3b8d, 32)
                .u32("hwpt_id", 4, id)
                .pointer("data_uptr", 8, entries)
                .u32("data_type", 16, format.invalidationType())
                .u32("entry_len", 20, format.invalidationBytes())
                .u32("entry_num", 24, entries.length / format.invalidationBytes());
        int _ = program.run(request, answer -> 0);
    }

    /** The guest has a device no more. */
    void forget(int deviceId) {
        virtualIds.remove(deviceId);
    }

    /**
     * Makes a queue of events: of accesses of the guest's devices that end because an address is not translated.
     *
     * @param depth how many it keeps unread, 1 to 524288; further ones are lost, and that shows
     * @return the queue; one at a time
     */
    public GuestEvents events(int depth) {
        long both = program.runLong(
                new Request("IOMMU_VEVENTQ_ALLOC", 0x3b93, 32)
                        .u32("viommu_id", 8, id)
                        .u32("type", 12, program.guests().type())
                        .u32("veventq_depth", 16, depth),
                answer -> (long) answer.u32(24) << Integer.SIZE | answer.u32(20));
        return new GuestEvents(program, (int) both, (int) (both >>> Integer.SIZE));
    }

    /** Destroys it. Doing it again does nothing. */
    @Override
    public void close() {
        destroying.run(() -> program.destroy(id));
    }

    @Override
    public String toString() {
        return "guest's IOMMU " + id;
    }
}
