package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.QuiescenceTimeout;
import org.jspecify.annotations.Nullable;

/** A page table that shows what an {@link Ioas} maps. */
final class HwptPaging extends Hwpt {
    private final Ioas ioas;
    private final boolean nestParent;
    private final boolean automatic;

    /** Whether it shows what the address space maps; under the address space's lock. */
    private boolean joined;

    HwptPaging(
            ObjectTable objects,
            PagingDomain domain,
            @Nullable FaultObject fault,
            boolean takesPasids,
            Ioas ioas,
            boolean nestParent,
            boolean automatic) {
        super(objects, domain, fault, takesPasids);
        this.ioas = ioas;
        this.nestParent = nestParent;
        this.automatic = automatic;
        objects.use(ioas);
    }

    Ioas ioas() {
        return ioas;
    }

    @Override
    PagingDomain domain() {
        return (PagingDomain) super.domain();
    }

    @Override
    HwptPaging paging() {
        return this;
    }

    /** Whether page tables may be nested in it. */
    boolean isNestParent() {
        return nestParent;
    }

    /** Whether an attach to the address space made it, and the last detach destroys it. */
    boolean isAutomatic() {
        return automatic;
    }

    /** Shows what the address space maps, from now on; under its lock. */
    void join() throws ErrnoException {
        AreaErrno.require(
                ioas.areas().join(domain().areas()), "pt_id", "an address space that fits the page table's aperture");
        joined = true;
        ioas.paging().add(this);
    }

    @Override
    void destroy() {
        ioas.lock();
        try {
            if (joined) {
                ioas.paging().remove(this);
                leave();
            }
        } finally {
            ioas.unlock();
            try {
                super.destroy();
            } finally {
                objects().unuse(ioas);
            }
        }
    }

    /** Shows nothing any more: what a thread in a device may still use is freed once that steps. */
    private void leave() {
        try {
            ioas.areas().leave(domain().areas());
        } catch (QuiescenceTimeout e) {
            // It has left all the same, and is closed once the thread steps.
        }
    }
}
