package dev.faultline.iommu;

/**
 * A thread has entered a device and does not step it, so nobody knows whether it still uses the page that was to go, and it does
 * not do what the device is asked.
 *
 * <p>What was asked of a device is called off, unless its method says that it is done later. What was to be evicted is mapped again. What was to be unmapped is unmapped, and its frames are freed once the thread
 * steps or leaves.
 */
public final class QuiescenceTimeout extends IllegalStateException {
    private static final long serialVersionUID = 1;

    QuiescenceTimeout(Device device, String thread, long limitNs) {
        super(device + " was entered by thread \"" + thread + "\", which did not step it for " + limitNs / 1_000_000
                + " ms");
    }

    QuiescenceTimeout(String thread, long limitNs) {
        super("thread \"" + thread + "\" has entered a device and did not step, await or leave it for "
                + limitNs / 1_000_000 + " ms");
    }
}
