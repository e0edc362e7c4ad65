package dev.faultline.iommu;

/**
 * An attachment that is about to take the place of another: everything that could fail is done, nothing is changed.
 *
 * <p>Threads: any, one at a time. Ownership: whoever {@linkplain Attachment#prepare prepared} it commits it or gives it up, once.
 */
public final class Replacement {
    private final Device device;
    private final Attachment old;
    private final Attachment fresh;

    Replacement(Device device, Attachment old, Attachment fresh) {
        this.device = device;
        this.old = old;
        this.fresh = fresh;
    }

    /**
     * What will be attached.
     *
     * @return the new attachment; ended if the old one ends, or this is given up, before
     */
    public Attachment attachment() {
        return fresh;
    }

    /**
     * Translates through the new page table from now on. Open page requests of the old attachment are answered INVALID, as {@link
     * Attachment#replace(PageTable)} says.
     *
     * @param later run by the thread inside once that is so, if this had returned false before; it holds up the device's thread
     * @return false if the thread that has entered the device did not step it within the limit: the change holds when that thread steps
     *     or leaves
     */
    public boolean commit(Runnable later) {
        return device.commit(old, fresh, later);
    }

    /** Leaves everything as it was. */
    public void giveUp() {
        device.giveUp(fresh);
    }
}
