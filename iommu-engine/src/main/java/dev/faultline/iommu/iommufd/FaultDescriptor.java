package dev.faultline.iommu.iommufd;

import dev.faultline.ring.UserMemory;

/**
 * The descriptor of a fault queue. It keeps its context open. What is queued stays when it is closed: it is answered once its device is
 * detached.
 */
final class FaultDescriptor extends OpenFile {
    private final Context context;
    private final FaultObject fault;

    FaultDescriptor(Context context, FaultObject fault) {
        super(O_RDWR);
        this.context = context;
        this.fault = fault;
        context.keepOpen();
        context.objects().use(fault);
    }

    @Override
    boolean readable() {
        return true;
    }

    @Override
    boolean writable() {
        return true;
    }

    @Override
    long read(UserMemory memory, long buffer, long count) {
        return fault.file().read(memory, buffer, count);
    }

    @Override
    long write(UserMemory memory, long buffer, long count) {
        return fault.file().write(memory, buffer, count);
    }

    @Override
    int poll(int events, long limitNs) {
        return fault.file().poll(events, limitNs);
    }

    @Override
    void released() {
        // In this order: the context may go with its last hold, and the object with it.
        context.objects().unuse(fault);
        context.letGo();
    }
}
