package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.OutOfFrames;
import dev.faultline.iommu.QuiescenceTimeout;
import dev.faultline.ring.FaultQueue;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Commands that make page tables. */
final class HwptCommands {
    private static final int FLAGS = 4;
    private static final int DEV_ID = 8;
    private static final int PT_ID = 12;
    private static final int OUT_HWPT_ID = 16;
    private static final int RESERVED = 20;
    private static final int DATA_TYPE = 24;
    private static final int DATA_LEN = 28;
    private static final int DATA_UPTR = 32;
    private static final int FAULT_ID = 40;

    private static final int FAULT_ID_VALID = 1 << 2;
    private static final int PAGING_FLAGS =
            DriverDevice.NEST_PARENT | DriverDevice.DIRTY_TRACKING | FAULT_ID_VALID | DriverDevice.PASID;
    private static final int NESTED_FLAGS = FAULT_ID_VALID | DriverDevice.PASID;

    private HwptCommands() {}

    static List<Command> all() {
        return List.of(Command.of("IOMMU_HWPT_ALLOC", 0x3b89, 24, 48, HwptCommands::alloc));
    }

    private static void alloc(Call call) throws ErrnoException {
        call.reserved(RESERVED, "__reserved");
        int type = call.u32(DATA_TYPE);
        int length = call.u32(DATA_LEN);
        if ((type == 0) != (length == 0)) {
            throw new ErrnoException(Errno.EINVAL, "data_len", type == 0 ? "0 without data_type" : "not 0");
        }
        UserData data = new UserData(call.memory(), type, call.u64(DATA_UPTR), length);
        DeviceObject device = call.get(DEV_ID, "dev_id", DeviceObject.class);
        IommufdObject over;
        try {
            over = call.get(PT_ID, "pt_id", IommufdObject.class);
        } catch (ErrnoException e) {
            throw wrongTable();
        }
        // Looked up first, for the driver is told where faults go; missed last, as in the kernel.
        FaultObject fault = null;
        boolean faults = (call.u32(FLAGS) & FAULT_ID_VALID) != 0;
        if (faults) {
            fault = call.find(FAULT_ID, FaultObject.class);
        }
        switch (over) {
            case Ioas ioas -> {
                ioas.lock();
                try {
                    complete(call, paging(call, ioas, device, data, fault), fault, HwptPaging::join);
                } finally {
                    ioas.unlock();
                }
            }
            case HwptPaging parent -> complete(call, nested(call, parent, device, data, fault), fault, hwpt -> {});
            case Viommu viommu -> complete(call, through(call, viommu, device, data, fault), fault, hwpt -> {});
            default -> throw wrongTable();
        }
    }

    /** Makes a page table. */
    @FunctionalInterface
    interface Making<D extends Domain> {
        D make() throws ErrnoException;
    }

    /** Has a driver make a page table, or says that there is no memory for it: the engine's frames and numbers of tables are bounded. */
    static <D extends Domain> D make(Allocations allocations, Making<D> by) throws ErrnoException {
        allocations.take("a page table");
        try {
            return by.make();
        } catch (QuiescenceTimeout e) {
            throw e;
        } catch (OutOfFrames | IllegalStateException e) {
            throw new ErrnoException(Errno.ENOMEM);
        }
    }

    private static ErrnoException wrongTable() {
        return new ErrnoException(Errno.EINVAL, "pt_id", "the id of an IOAS, a paging HWPT or a vIOMMU");
    }

    private static <T extends Hwpt> void complete(
            Call call, T made, @Nullable FaultObject fault, Context.Completion<T> join) throws ErrnoException {
        call.context().create(made, hwpt -> {
            join.complete(hwpt);
            if (fault == null && (call.u32(FLAGS) & FAULT_ID_VALID) != 0) {
                throw new ErrnoException(Errno.ENOENT, "fault_id", "the id of a fault queue");
            }
            call.put32(OUT_HWPT_ID, hwpt.id());
            call.respond();
        });
    }

    private static @Nullable FaultQueue queue(@Nullable FaultObject fault) {
        return fault == null ? null : fault.queue();
    }

    private static HwptPaging paging(
            Call call, Ioas ioas, DeviceObject device, UserData data, @Nullable FaultObject fault)
            throws ErrnoException {
        int flags = call.u32(FLAGS);
        call.flags(FLAGS, "flags", PAGING_FLAGS);
        if ((flags & DriverDevice.DIRTY_TRACKING) != 0 && !device.device().tracksDirty()) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "flags", "no DIRTY_TRACKING for this device");
        }
        boolean nestParent = (flags & DriverDevice.NEST_PARENT) != 0;
        if (nestParent && (flags & FAULT_ID_VALID) != 0) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "flags", "NEST_PARENT without FAULT_ID_VALID");
        }
        PagingDomain domain = make(
                call.allocations(),
                () -> device.device().paging(flags & ~FAULT_ID_VALID, data.length() == 0 ? null : data, queue(fault)));
        return new HwptPaging(
                call.objects(), domain, fault, (flags & DriverDevice.PASID) != 0, ioas, nestParent, false);
    }

    private static HwptNested nested(
            Call call, HwptPaging parent, DeviceObject device, UserData data, @Nullable FaultObject fault)
            throws ErrnoException {
        int flags = call.u32(FLAGS);
        call.flags(FLAGS, "flags", NESTED_FLAGS);
        requireData(data);
        if (parent.isAutomatic()
                || !parent.isNestParent()
                || parent.domain().driver() != device.device().driver()) {
            throw new ErrnoException(Errno.EINVAL, "pt_id", "a page table made with NEST_PARENT by the same driver");
        }
        NestedDomain domain = make(
                call.allocations(),
                () -> device.device().nested(parent.domain(), flags & ~FAULT_ID_VALID, data, queue(fault)));
        return new HwptNested(call.objects(), domain, fault, (flags & DriverDevice.PASID) != 0, parent, null);
    }

    private static HwptNested through(
            Call call, Viommu viommu, DeviceObject device, UserData data, @Nullable FaultObject fault)
            throws ErrnoException {
        if (viommu.behind() != device.device().driver()) {
            throw new ErrnoException(Errno.EINVAL, "dev_id", "a device behind the vIOMMU's IOMMU");
        }
        int flags = call.u32(FLAGS);
        call.flags(FLAGS, "flags", NESTED_FLAGS);
        requireData(data);
        NestedDomain domain =
                make(call.allocations(), () -> viommu.driver().nested(flags & ~FAULT_ID_VALID, data, queue(fault)));
        return new HwptNested(
                call.objects(), domain, fault, (flags & DriverDevice.PASID) != 0, viommu.parent(), viommu);
    }

    private static void requireData(UserData data) throws ErrnoException {
        if (data.length() == 0) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "data_len", "not 0");
        }
    }
}
