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

    /**
     * The walk of one PASID's accesses: this, unless every PASID has tables of its own.
     *
     * @param pasid 0 to 2^20 - 1, or -1 for accesses without
     */
    public Walk of(int pasid) {
        return this;
    }

    /** Whether it knows the tables of every PASID, so that a device attached without PASID may use them all. */
    public boolean everyPasid() {
        return false;
    }

    /**
     * Whether an access that ends so may wait until somebody has mended it.
     *
     * @param fault a fault of this walk
     * @param stalls the access would be stopped where it is; else its device would ask for the page
     */
    public boolean mayAsk(long fault, boolean stalls) {
        return true;
    }

    /** Whether hardware makes a record of an access that ends so. */
    public boolean isRecorded(long fault) {
        return true;
    }

    /** log2 of the largest page of a first stage of which translations have given parts; 12 if none. */
    public int largestCutLg2() {
        return Translation.PAGE_SHIFT;
    }

    /** Whether an address can be translated at all. */
    public abstract boolean canonical(long address);

    /** What {@link #canonical} asks for, in words. */
    public abstract String canonicalRule();

    /** The walk of an address in steps, changing nothing. */
    public abstract WalkTrail trail(long address);
}
