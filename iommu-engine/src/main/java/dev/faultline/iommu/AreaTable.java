package dev.faultline.iommu;

/**
 * A page table that shows the areas of an address space. All that joined one {@link Areas} show the same.
 *
 * <p>Threads: any; for different areas at once. Both methods are called without the lock of {@link Areas}, so they may wait for
 * devices; an area is shown and hidden by one thread at a time.
 */
public interface AreaTable {
    /**
     * The sizes of its pages.
     *
     * @return bit n for 2^n bytes; the smallest is at most {@link Areas#PAGE_BYTES}
     */
    long pageSizes();

    /**
     * Where its aperture begins.
     *
     * @return the first address it translates
     */
    long firstAddress();

    /**
     * Where its aperture ends.
     *
     * @return the last address it translates, unsigned
     */
    long lastAddress();

    /**
     * Shows an area. Its memory is held.
     *
     * @param area within the aperture, aligned to the smallest page
     * @return {@link AreaResult#DONE}, or why nothing of it is shown
     */
    AreaResult show(Area area);

    /**
     * Shows an area no more. When it returns no device uses it through this table. Hiding one that is not shown does nothing.
     *
     * @param area one that was shown
     */
    void hide(Area area);
}
