package dev.faultline.iommu.table;

/**
 * Physical addresses 0xFEE00000 to 0xFEEFFFFF: what is written there is an interrupt and no memory, so no translation of VT-d may end
 * there. Source: VT-d specification, interrupt address range.
 */
public final class InterruptWindow {
    /** The first address. */
    public static final long FIRST = 0xfee0_0000L;

    /** The last address. */
    public static final long LAST = 0xfeef_ffffL;

    private static final int SIZE_LG2 = 20;

    private InterruptWindow() {}

    /** Whether an address is in it. */
    static boolean holds(long address) {
        return address >>> SIZE_LG2 == FIRST >>> SIZE_LG2;
    }

    /**
     * How large a naturally aligned range round an address outside may be to stay outside.
     *
     * @param sizeLg2 at most
     * @return log2 of its bytes
     */
    static int besideLg2(long address, int sizeLg2) {
        int differs = Long.SIZE - 1 - Long.numberOfLeadingZeros(address ^ FIRST);
        return Math.min(sizeLg2, Math.max(differs, SIZE_LG2));
    }
}
