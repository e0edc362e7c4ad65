package dev.faultline.iommu;

/**
 * A page table that shows the areas of an address space. All that joined one {@link Areas} show the same.
 *
 * <p>Threads: any; for different areas at once, and each area is shown and hidden by one at a time. Ownership: it owns no memory; what it
 * borrowed to show an area it gives back in {@link #letGo}, and in no other place. Only that may wait for devices.
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
     * @return {@link AreaResult#DONE}, or why it is not shown; then it is hidden next, for a part of it may be
     */
    AreaResult show(Area area);

    /**
     * Shows an area no more: what devices begin from now on does not find it. Waits for nobody. Hiding one that is not shown does nothing.
     *
     * @param area one that was shown, or a part of it
     */
    void hide(Area area);

    /**
     * Gives back what it borrowed to show an area, if no device uses it through this table any more. May be called again, and by several
     * threads at once.
     *
     * @param area one that was hidden
     * @param wait whether to wait for devices, a bounded time
     * @return whether it has nothing of it by now; true also of one that it never showed
     * @throws QuiescenceTimeout if a thread has entered a device and does not step; then all of it is as before
     */
    default boolean letGo(Area area, boolean wait) {
        return true;
    }
}
