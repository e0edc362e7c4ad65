package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultHandler;
import dev.faultline.ring.FaultWorker;

/**
 * Where faults of a program's devices go: the kernel's fault queue with its descriptor. It is read by the descriptor or by ring, not by
 * both.
 *
 * <p>Threads: any. Ownership: whoever makes it closes it, after the page tables that have it, or {@link Iommufd#close} does; its consumer
 * is the caller's. Errors: {@link IommufdException}. Source: {@code drivers/iommu/iommufd/eventq.c}, Linux 7.2.
 */
public final class UserFaultQueue implements AutoCloseable {
    private final Iommufd program;
    private final int id;
    private final int faultFd;
    private final Once closing = new Once();
    private final Once destroying = new Once();

    UserFaultQueue(Iommufd program, int id, int faultFd) {
        this.program = program;
        this.id = id;
        this.faultFd = faultFd;
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
     * Its descriptor, for {@link Iommufd#calls}.
     *
     * @return the number
     */
    public int fd() {
        return faultFd;
    }

    /**
     * Reads it by ring: as every other fault queue. Before a page table is made with it, and before its descriptor is used.
     *
     * @return the consumer, once
     * @throws IommufdException EBUSY if it is used already, EBADF if its descriptor is closed
     */
    public FaultConsumer consumer() {
        if (closing.isDone()) {
            throw new IommufdException(Errno.EBADF, "ring", "fd", Integer.toString(faultFd), "one that is open");
        }
        return Iommufd.refusedAs("ring", () -> program.calls().ring(faultFd));
    }

    /**
     * Has a handler answer its faults, on a thread of its own. Before a page table is made with it. In a fault,
     * {@code device()} is the {@link UserDevice#id} of the device.
     *
     * @param handler answers
     * @return the worker, closed before this
     */
    public FaultWorker run(FaultHandler handler) {
        return consumer().run(handler);
    }

    /**
     * Closes its descriptor and destroys it. Doing it again does nothing.
     *
     * @throws IommufdException EBUSY if a page table has it: its descriptor is closed, and destroying it may be tried again
     */
    @Override
    public void close() {
        closing.run(() -> {
            int _ = program.calls().close(faultFd);
        });
        destroying.run(() -> program.destroy(id));
    }

    @Override
    public String toString() {
        return "fault queue " + id;
    }
}
