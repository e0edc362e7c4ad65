package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.AccessResult;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.jspecify.annotations.Nullable;

/**
 * Events of a guest's IOMMU: the kernel's vEVENTQ with its descriptor.
 *
 * <p>Threads: any. Ownership: closed before the guest's IOMMU.
 *
 * <p>Units: bytes. Errors: {@link IommufdException}. Source: {@code drivers/iommu/iommufd/eventq.c}, Linux 7.2; the event's bytes are
 * those of {@code docs/iommufd.md}.
 */
public final class GuestEvents implements AutoCloseable {
    private static final int HEADER = 8;

    private final Iommufd program;
    private final int id;
    private final int fd;
    private final Once closing = new Once();
    private final Once destroying = new Once();

    GuestEvents(Iommufd program, int id, int fd) {
        this.program = program;
        this.id = id;
        this.fd = fd;
    }

    /**
     * An access of a guest's device that ended.
     *
     * @param sequence its number: a jump says how many were lost between
     * @param virtualId the guest's id of the device
     * @param pasid the PASID, or -1
     * @param address the first byte that was not moved
     * @param why how it ended; null if this stands for lost events, the newest of which had this number
     */
    public record Event(
            int sequence,
            long virtualId,
            int pasid,
            long address,
            @Nullable AccessResult why) {}

    /**
     * Takes the oldest event.
     *
     * @return the event, or null if there is none
     * @throws IommufdException EBADFD if they go to a ring, EBADF if its descriptor is closed
     */
    public @Nullable Event read() {
        if (closing.isDone()) {
            throw new IommufdException(Errno.EBADF, "read", "fd", Integer.toString(fd), "one that is open");
        }
        ByteBuffer got = ByteBuffer.wrap(
                        program.read(fd, HEADER + program.guests().eventBytes()))
                .order(ByteOrder.nativeOrder());
        if (got.capacity() == 0) {
            return null;
        }
        int sequence = got.getInt(Integer.BYTES);
        if (got.capacity() == HEADER) {
            return new Event(sequence, 0, -1, 0, null);
        }
        return program.guests()
                .event(sequence, got.slice(HEADER, got.capacity() - HEADER).order(ByteOrder.nativeOrder()));
    }

    /**
     * Its descriptor, for {@link SystemCalls#events} and others.
     *
     * @return the number
     */
    public int fd() {
        return fd;
    }

    /**
     * Closes its descriptor and destroys it; what lies unread is gone. Doing it again does nothing.
     *
     * @throws IommufdException EBUSY if another descriptor or a ring has it: its descriptor is closed, and destroying it may be tried again
     */
    @Override
    public void close() {
        closing.run(() -> {
            int _ = program.calls().close(fd);
        });
        destroying.run(() -> program.destroy(id));
    }
}
