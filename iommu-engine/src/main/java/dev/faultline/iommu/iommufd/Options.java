package dev.faultline.iommu.iommufd;

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
}
