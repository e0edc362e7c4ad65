package dev.faultline.iommu.iommufd;

import dev.faultline.ring.FaultFile;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Waiting;

/**
 * A fault queue: the ring's, read through its file-like door.
 *
 * <p>Threads: any. Held by its descriptor and by the page tables whose faults go here.
 */
final class FaultObject extends IommufdObject {
    /** Requests of one group; a larger one is answered INVALID. The kernel has no bound. */
    static final int LARGEST_GROUP = 16;

    /** Devices that may have groups here at once. */
    private static final int DEVICES = 1024;

    /** Groups of one device that a look finds at once; the file asks for more. */
    private static final int ENTRIES = 64;

    private final FaultQueue queue;
    private final FaultFile file;

    FaultObject() {
        queue = FaultQueue.open(QueueConfig.of(ENTRIES)
                .withLargestGroup(LARGEST_GROUP)
                .withDeadlineNs(0)
                .withLanes(DEVICES)
                .withWaiting(Waiting.SPIN_THEN_PARK));
        file = queue.file();
    }

    FaultQueue queue() {
        return queue;
    }

    FaultFile file() {
        return file;
    }

    @Override
    void destroy() {
        queue.close();
    }
}
