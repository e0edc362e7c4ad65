package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import java.util.List;

/** Commands: vIOMMUs, vDEVICEs, vEVENTQs and HW queues. */
final class ViommuCommands {
    private static final int FLAGS = 4;

    private ViommuCommands() {}

    static List<Command> all() {
        return List.of(
                Command.of("IOMMU_VIOMMU_ALLOC", 0x3b90, 24, 40, ViommuCommands::viommu),
                Command.of("IOMMU_VDEVICE_ALLOC", 0x3b91, 24, 24, ViommuCommands::vdevice),
                Command.of("IOMMU_VEVENTQ_ALLOC", 0x3b93, 28, 32, ViommuCommands::eventQueue),
                Command.of("IOMMU_HW_QUEUE_ALLOC", 0x3b94, 40, 40, ViommuCommands::hwQueue));
    }

    private static void requireType(Call call, int at) throws ErrnoException {
        if (call.u32(at) == 0) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "type", "a type other than 0");
        }
    }

    private static void viommu(Call call) throws ErrnoException {
        int type = 8;
        int devId = 12;
        int hwptId = 16;
        int outViommuId = 20;
        int dataLen = 24;
        int dataUptr = 32;
        call.flags(FLAGS, "flags", 0);
        requireType(call, type);
        DriverDevice device = call.get(devId, "dev_id", DeviceObject.class).device();
        if (!device.hasViommus(call.u32(type))) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "type", "a type that the device's driver has");
        }
        HwptPaging parent = call.get(hwptId, "hwpt_id", HwptPaging.class);
        if (!parent.isNestParent()) {
            throw new ErrnoException(Errno.EINVAL, "hwpt_id", "a page table made with NEST_PARENT");
        }
        UserData data = call.u32(dataLen) == 0
                ? null
                : new UserData(call.memory(), call.u32(type), call.u64(dataUptr), call.u32(dataLen));
        call.context().create(new Viommu(call.context(), call.u32(type), parent, device.driver()), viommu -> {
            viommu.driver(device.viommu(viommu, parent.domain(), data));
            call.put32(outViommuId, viommu.id());
            call.respond();
        });
    }

    private static void vdevice(Call call) throws ErrnoException {
        int viommuId = 4;
        int devId = 8;
        int outVdeviceId = 12;
        int virtId = 16;
        Viommu viommu = call.get(viommuId, "viommu_id", Viommu.class);
        DeviceObject device = call.get(devId, "dev_id", DeviceObject.class);
        if (device.device().driver() != viommu.behind()) {
            throw new ErrnoException(Errno.EINVAL, "dev_id", "a device behind the vIOMMU's IOMMU");
        }
        device.vdeviceLock().lock();
        try {
            device.requireNoVdevice();
            long virtualId = call.u64(virtId);
            Vdevice made = new Vdevice(viommu, device, virtualId);
            device.has(made);
            call.context().create(made, vdevice -> {
                if (!viommu.reserve(virtualId, vdevice)) {
                    throw new ErrnoException(Errno.EEXIST, "virt_id", "an id that no other device of the vIOMMU has");
                }
                viommu.driver().admit(vdevice);
                vdevice.accept();
                call.put32(outVdeviceId, vdevice.id());
                call.respond();
            });
        } finally {
            device.vdeviceLock().unlock();
        }
    }

    private static void eventQueue(Call call) throws ErrnoException {
        int viommuId = 8;
        int type = 12;
        int depth = 16;
        int outVeventqId = 20;
        int outVeventqFd = 24;
        int reserved = 28;
        call.flags(FLAGS, "flags", 0);
        call.reserved(reserved, "__reserved");
        requireType(call, type);
        if (call.u32(depth) == 0 || Integer.compareUnsigned(call.u32(depth), EventQueue.MOST_DEPTH) > 0) {
            throw new ErrnoException(Errno.EINVAL, "veventq_depth", "1 to " + EventQueue.MOST_DEPTH);
        }
        Viommu viommu = call.get(viommuId, "viommu_id", Viommu.class);
        Context context = call.context();
        // Its type is taken before the answer is written and not under a lock: devices' threads report events
        // meanwhile.
        context.create(new EventQueue(context, viommu, call.u32(type), call.u32(depth)), queue -> {
            if (!viommu.add(queue)) {
                throw new ErrnoException(Errno.EEXIST, "type", "a type that the vIOMMU has no queue of");
            }
            context.process().descriptors().open(fd -> {
                call.put32(outVeventqId, queue.id());
                call.put32(outVeventqFd, fd);
                call.respond();
                return new EventDescriptor(context, queue);
            });
        });
    }

    private static void hwQueue(Call call) throws ErrnoException {
        int viommuId = 8;
        int type = 12;
        int index = 16;
        int outHwQueueId = 20;
        int iova = 24;
        int length = 32;
        call.flags(FLAGS, "flags", 0);
        requireType(call, type);
        if (call.u64(length) == 0) {
            throw new ErrnoException(Errno.EINVAL, "length", "1 or more");
        }
        if (Long.compareUnsigned(call.u64(iova) + call.u64(length) - 1, call.u64(iova)) < 0) {
            throw new ErrnoException(Errno.EOVERFLOW, "length", "what ends below 2^64");
        }
        Viommu viommu = call.get(viommuId, "viommu_id", Viommu.class);
        if (!viommu.driver().hasHwQueues(call.u32(type))) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "type", "a type that the vIOMMU has");
        }
        call.context().create(new HwQueue(viommu, call.u64(iova), call.u64(length)), queue -> {
            queue.pin();
            queue.made(viommu.driver().hwQueue(queue, call.u32(index)));
            call.put32(outHwQueueId, queue.id());
            call.respond();
        });
    }
}
