package dev.faultline.iommu.iommufd;

import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.UserMemory;

/** The descriptor of a vEVENTQ. It keeps its context open; events go on filling the queue once it is closed. */
final class EventDescriptor extends OpenFile {
    private final Context context;
    private final EventQueue queue;

    EventDescriptor(Context context, EventQueue queue) {
        super(O_RDWR);
        this.context = context;
        this.queue = queue;
        context.keepOpen();
        context.objects().use(queue);
    }

    EventQueue queue() {
        return queue;
    }

    @Override
    boolean readable() {
        return true;
    }

    @Override
    long read(UserMemory memory, long buffer, long count) {
        return queue.read(memory, buffer, count);
    }

    @Override
    int poll(int events, long limitNs) {
        return queue.poll(events, limitNs);
    }

    @Override
    EventRing events(FaultQueue ring, int unread) throws ErrnoException {
        return EventRing.of(context, queue, ring, unread);
    }

    @Override
    void released() {
        context.objects().unuse(queue);
        context.letGo();
    }
}
