package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.ring.CommandHandler;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultFile;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Waiting;
import org.jspecify.annotations.Nullable;

/**
 * A fault queue: the ring's, read through its file-like door, or through the ring if that is asked for before a page table uses it.
 *
 * <p>Threads: any. Held by its descriptor and by the page tables whose faults go here.
 */
final class FaultObject extends IommufdObject {
    /** Requests of one group; a larger one is answered INVALID. The kernel has no bound. */
    static final int LARGEST_GROUP = 128;

    /** Devices that may have groups here at once. */
    private static final int DEVICES = 1024;

    /** Groups of one device that a look finds at once; the file asks for more. */
    private static final int ENTRIES = 16;

    private final FaultQueue queue;

    /** Set once, under this. */
    private volatile @Nullable FaultFile file;

    /** Under this. */
    private boolean isRing;

    FaultObject() {
        queue = FaultQueue.open(QueueConfig.of(ENTRIES)
                .withLargestGroup(LARGEST_GROUP)
                .withDeadlineNs(0)
                .withLanes(DEVICES)
                .withWaiting(Waiting.SPIN_THEN_PARK));
    }

    /** For page tables: from here on the door is chosen. */
    FaultQueue queue() {
        var _ = file();
        return queue;
    }

    /** The file-like door, or null if the other is taken. */
    @Nullable
    FaultFile file() {
        FaultFile made = file;
        return made != null ? made : openFile();
    }

    private synchronized @Nullable FaultFile openFile() {
        if (file == null && !isRing) {
            file = queue.file();
        }
        return file;
    }

    /** The ring door. */
    synchronized FaultConsumer ring(CommandHandler commands) throws ErrnoException {
        if (isRing || file != null) {
            throw new ErrnoException(
                    Errno.EBUSY, "fd", "a fault queue that nobody has read, polled or made a page table with");
        }
        isRing = true;
        queue.commands(commands);
        return queue.consumer();
    }

    @Override
    void destroy() {
        queue.close();
    }
}
