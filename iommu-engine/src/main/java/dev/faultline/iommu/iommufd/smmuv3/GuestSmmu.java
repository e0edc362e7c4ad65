package dev.faultline.iommu.iommufd.smmuv3;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.iommufd.EngineDevice;
import dev.faultline.iommu.iommufd.ErrnoException;
import dev.faultline.iommu.iommufd.InvalidationEntries;
import dev.faultline.iommu.iommufd.NestedDomain;
import dev.faultline.iommu.iommufd.UserData;
import dev.faultline.iommu.iommufd.Viommu;
import dev.faultline.iommu.iommufd.VirtualIommu;
import dev.faultline.ring.FaultQueue;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * An SMMUv3 as a guest has it. Of the guest's commands it takes those that invalidate, makes their VMID its own and their StreamIDs
 * physical ones, and has the SMMU do each before it looks at the next: so the number that are done is told exactly.
 *
 * <p>Threads: any. Source: {@code arm-smmu-v3-iommufd.c}, Linux 7.2, for what a guest may command and what becomes of it.
 */
final class GuestSmmu implements VirtualIommu {
    private final Smmuv3 smmu;
    private final Viommu viommu;
    private final StreamParent parent;

    GuestSmmu(Smmuv3 smmu, Viommu viommu, StreamParent parent) {
        this.smmu = smmu;
        this.viommu = viommu;
        this.parent = parent;
    }

    OptionalLong virtualId(EngineDevice device) {
        return viommu.virtualId(device);
    }

    @Override
    public NestedDomain nested(int flags, UserData data, @Nullable FaultQueue faults) throws ErrnoException {
        if (flags != 0) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "flags", "FAULT_ID_VALID: one page table is for every PASID");
        }
        return new StreamDomain(parent, this, data, faults);
    }

    /** All entries are read before any is done. */
    @Override
    public void invalidate(InvalidationEntries entries) throws ErrnoException {
        entries.require(Smmuv3.TYPE);
        if (entries.count() == 0) {
            throw new ErrnoException(Errno.EINVAL, "entry_num", "1 or more");
        }
        ByteBuffer all = entries.readAll(Command.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < entries.count(); i++) {
            smmu.execute(hosts(new Command(all.getLong(i * Command.BYTES), all.getLong(i * Command.BYTES + 8))));
            entries.oneDone();
        }
    }

    /** A guest's command, with the host's ids. */
    private Command hosts(Command command) throws ErrnoException {
        return switch (command.op()) {
            case Command.TLBI_NSNH_ALL -> new Command(Command.TLBI_NH_ALL, 0).withVmid(parent.vmid());
            case Command.TLBI_NH_ALL, Command.TLBI_NH_ASID, Command.TLBI_NH_VA, Command.TLBI_NH_VAA ->
                command.withVmid(parent.vmid());
            case Command.CFGI_CD, Command.CFGI_CD_ALL, Command.ATC_INV -> {
                if (!(viommu.find(Integer.toUnsignedLong(command.stream())) instanceof EngineDevice device)) {
                    throw new ErrnoException(Errno.EIO, "cmd", "the virtual StreamID of a device of this vIOMMU");
                }
                yield command.withStream(device.device().requester());
            }
            default ->
                throw new ErrnoException(
                        Errno.EIO, "cmd", "CFGI_CD, CFGI_CD_ALL, TLBI_NH_*, TLBI_NSNH_ALL and ATC_INV");
        };
    }

    /** A record of the SMMU's concerns the guest. */
    void report(EventRecord hosts, long virtualId) {
        try {
            viommu.report(Smmuv3.TYPE, hosts.withStream(virtualId).bytes());
        } catch (ErrnoException e) {
            // Nobody asked for such events, or it counts as lost.
        }
    }

    @Override
    public void close() {}
}
