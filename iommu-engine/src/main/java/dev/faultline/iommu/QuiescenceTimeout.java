package dev.faultline.iommu;

/**
 * A thread has entered a device and does not step it, so nobody knows whether it still uses the page that was to go.
 *
 * <p>What was to be evicted is mapped again. What was to be unmapped is unmapped, and its frames are freed once the thread
 * steps or leaves.
 */
public final class QuiescenceTimeout extends RuntimeException {
    private static final long serialVersionUID = 1;

    QuiescenceTimeout(String thread, long limitNs) {
        super("thread \"" + thread + "\" has entered a device and did not step, await or leave it for "
                + limitNs / 1_000_000 + " ms");
    }
}
