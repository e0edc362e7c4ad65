package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.PageResponseLayout;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultFile;
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
        FaultFile file = fault.file();
        return file == null ? -Errno.EBADFD : file.read(memory, buffer, count);
    }

    @Override
    long write(UserMemory memory, long buffer, long count) {
        FaultFile file = fault.file();
        if (file == null) {
            return -Errno.EBADFD;
        }
        Driver driver = context.driver();
        if (!driver.takesAnswersAtOnce() || count % PageResponseLayout.SIZE != 0) {
            return file.write(memory, buffer, count);
        }
        // A write is one answer after the other, so it may as well be several writes.
        long done = 0;
        while (done < count) {
            long taken = file.write(memory, buffer + done, PageResponseLayout.SIZE);
            if (taken < 0) {
                return done > 0 ? done : taken;
            }
            driver.answered();
            done += taken;
        }
        return done;
    }

    @Override
    int poll(int events, long limitNs) {
        FaultFile file = fault.file();
        return file == null ? -Errno.EBADFD : file.poll(events, limitNs);
    }

    @Override
    FaultConsumer ring() throws ErrnoException {
        return fault.ring(new RingCommands(context));
    }

    @Override
    void released() {
        // In this order: the context may go with its last hold, and the object with it.
        context.objects().unuse(fault);
        context.letGo();
    }
}
