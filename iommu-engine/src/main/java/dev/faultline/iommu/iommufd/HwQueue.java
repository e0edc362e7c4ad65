package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Area;
import dev.faultline.iommu.AreaUser;
import dev.faultline.iommu.Areas;
import dev.faultline.iommu.SoftwareAccess;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * A queue that the hardware reads in a guest's memory, by physical address: the kernel's HW_QUEUE. While it lives its memory stays
 * mapped in the nesting parent's address space.
 *
 * <p>Threads: any. It holds its vIOMMU; a driver may have it held by another queue. Source: {@code viommu.c}, Linux 7.2.
 *
 * <p>Lifetime: until it is destroyed; what it has pinned stays till then. Units: bytes of the parent's address space. Errors: {@link
 * ErrnoException}.
 */
public final class HwQueue extends IommufdObject {
    private static final long PAGE = Areas.PAGE_BYTES;

    /** Linux lists the pages in one piece of memory, of 8 bytes for each, below 2^31 bytes. */
    private static final long MOST_PAGES = (1L << 28) - 1;

    private final Viommu viommu;
    private final long address;
    private final long bytes;

    /** Set while it is made. */
    private @Nullable Pin pin;

    private @Nullable Runnable undo;

    HwQueue(Viommu viommu, long address, long bytes) {
        this.viommu = viommu;
        this.address = address;
        this.bytes = bytes;
        objects().use(viommu);
    }

    private ObjectTable objects() {
        return viommu.context().objects();
    }

    /**
     * Where it is.
     *
     * @return the first address, as the nesting parent's input
     */
    public long address() {
        return address;
    }

    /**
     * How long it is.
     *
     * @return bytes
     */
    public long bytes() {
        return bytes;
    }

    /** Another queue needs it, and holds it. */
    public void need() {
        objects().use(this);
    }

    /** It does no more. */
    public void needNoMore() {
        objects().unuse(this);
    }

    /** Pins its pages, which have to lie side by side; the pin has an id, as every access to an address space has. */
    void pin() throws ErrnoException {
        long first = address & -PAGE;
        long end = address - first + bytes;
        if (Long.compareUnsigned(end, bytes) < 0 || Long.compareUnsigned(end + PAGE - 1, end) < 0) {
            throw new ErrnoException(Errno.ERANGE, "length", "what ends a page below 2^64");
        }
        if (Long.compareUnsigned(end, MOST_PAGES * PAGE) > 0) {
            throw new ErrnoException(Errno.ENOMEM, "length", "up to " + MOST_PAGES + " pages");
        }
        Pin made = new Pin(objects(), viommu.parent().ioas(), first, (end + PAGE - 1) & -PAGE);
        viommu.context().create(made, Pin::attach);
        pin = made;
    }

    /** Its driver has made it. */
    void made(Runnable undone) {
        undo = undone;
    }

    @Override
    void destroy() {
        if (undo != null) {
            undo.run();
        }
        if (pin != null) {
            var _ = objects().remove(pin, false);
        }
        objects().unuse(viommu);
    }

    /** What keeps the pages. */
    private static final class Pin extends DriverObject implements AreaUser {
        private final ObjectTable objects;
        private final Ioas ioas;
        private final long first;
        private final long length;
        private boolean attached;
        private @Nullable SoftwareAccess pinned;

        Pin(ObjectTable objects, Ioas ioas, long first, long length) {
            this.objects = objects;
            this.ioas = ioas;
            this.first = first;
            this.length = length;
        }

        void attach() throws ErrnoException {
            AreaErrno.require(
                    ioas.areas().add(this), "nesting_parent_iova", "an address space in which all is aligned to pages");
            objects.use(ioas);
            attached = true;
            SoftwareAccess access = new SoftwareAccess(ioas.areas(), true);
            AreaErrno.require(
                    access.pin(first, length, false),
                    "nesting_parent_iova",
                    "whole pages that are mapped and readable");
            pinned = access;
            requireSideBySide();
            // The queue's use of it.
            objects.use(this);
        }

        private void requireSideBySide() throws ErrnoException {
            MemorySegment before = null;
            for (long at = 0; at < length; ) {
                Area area = ioas.areas().find(first + at);
                MemorySegment piece = area == null ? null : area.backing().heldAt(area.offsetOf(first + at));
                if (area == null || piece == null || (before != null && !follows(before, piece))) {
                    throw new ErrnoException(Errno.EFAULT, "nesting_parent_iova", "memory that lies side by side");
                }
                before = piece.asSlice(0, Math.min(piece.byteSize(), area.last() - (first + at) + 1));
                at += before.byteSize();
            }
        }

        private static boolean follows(MemorySegment before, MemorySegment piece) {
            return before.heapBase().equals(piece.heapBase())
                    && before.address() + before.byteSize() == piece.address();
        }

        @Override
        public long alignment() {
            return PAGE;
        }

        /** What a queue needs is not unmapped. */
        @Override
        public void unmapping(long from, long to) {}

        @Override
        protected void destroy() {
            if (pinned != null) {
                pinned.unpin(first, length);
            }
            if (attached) {
                ioas.areas().remove(this);
                objects.unuse(ioas);
            }
        }
    }
}
