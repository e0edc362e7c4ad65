package dev.faultline.iommu.table;

/**
 * A way from a device's addresses to physical memory.
 *
 * <p>Threads: any. Progress: lock-free; nothing is allocated.
 */
public abstract class Walk {
    Walk() {}

    /**
     * Translates an address as the hardware does, setting accessed and dirty marks on the way.
     *
     * @param address any
     * @param needed the rights the access needs, as {@link Translation#needed} says
     * @return a {@link Translation}: with all rights needed, or a fault
     */
    public abstract long walk(long address, int needed);

    /** Whether an address can be translated at all. */
    public abstract boolean canonical(long address);

    /** What {@link #canonical} asks for, in words. */
    public abstract String canonicalRule();

    /** The walk of an address in steps, changing nothing. */
    public abstract WalkTrail trail(long address);
}
