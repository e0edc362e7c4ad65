package dev.faultline.iommu.iommufd;

import org.jspecify.annotations.Nullable;

/** What a program has set for a context as a whole. */
final class Options {
    /** Whom locked memory is counted for: 0 the user, 1 the process. Nothing is limited here; it is kept and told. */
    private volatile long rlimitMode;

    long rlimitMode() {
        return rlimitMode;
    }

    void rlimitMode(long mode) {
        rlimitMode = mode;
    }

    /** The address space that VFIO's older interface uses; it may have been destroyed since. */
    private volatile @Nullable Ioas vfio;

    @Nullable
    Ioas vfio() {
        return vfio;
    }

    void vfio(@Nullable Ioas named) {
        vfio = named;
    }
}
