package dev.faultline.iommu.tlb;

/**
 * Ranges as ATS writes them, in completions and in invalidations: an address whose lower bits tell the size, and the bit S.
 *
 * <p>S clear is 4 KiB. S set with {@code t} consecutive ones from bit 12 upwards is {@code 2^(13 + t)} bytes, naturally aligned; all ones but the uppermost bit,
 * and all ones, are everything. Source: PCI Express Base Specification, Address Translation Services.
 *
 * <p>A size is the binary logarithm of the pages of 4 KiB: 0 to {@link #EVERYTHING}.
 */
public final class AtsRange {
    /** The size of all addresses. */
    public static final int EVERYTHING = 52;
    /** S, in the word of an invalidation or a completion. */
    public static final long S = 1 << 11;

    private static final int PAGE_SHIFT = 12;

    private AtsRange() {}

    /**
     * Writes a range.
     *
     * @param address any in the range
     * @param size log2 of the pages of 4 KiB, 0 to {@link #EVERYTHING}
     * @return address and S; the bits below S are 0
     */
    public static long encode(long address, int size) {
        if (size < 0 || size > EVERYTHING) {
            throw new IllegalArgumentException("size=" + size + ": allowed 0 to " + EVERYTHING);
        }
        if (size == 0) {
            return address & -1L << PAGE_SHIFT;
        }
        // All addresses have no bit of their own left: bit 63 is the zero that ends the ones.
        long base = size == EVERYTHING ? 0 : address & -1L << (PAGE_SHIFT + size);
        long ones = (1L << (PAGE_SHIFT + size - 1)) - (1L << PAGE_SHIFT);
        return base | ones | S;
    }

    /**
     * Reads a range's size.
     *
     * @param word address and S; other bits below 12 do not matter
     * @return log2 of the pages of 4 KiB
     */
    public static int size(long word) {
        if ((word & S) == 0) {
            return 0;
        }
        int ones = Long.numberOfTrailingZeros(~(word >> PAGE_SHIFT));
        return Math.min(ones + 1, EVERYTHING);
    }

    /**
     * Reads where a range begins.
     *
     * @param word address and S
     * @return its first address
     */
    public static long base(long word) {
        int size = size(word);
        return size == EVERYTHING ? 0 : word & -1L << (PAGE_SHIFT + size);
    }

    /**
     * The smallest range that holds some bytes.
     *
     * @param first the first
     * @param last the last, not below it as an unsigned number
     * @return log2 of the pages of 4 KiB
     */
    public static int covering(long first, long last) {
        int bits = Long.SIZE - Long.numberOfLeadingZeros(first ^ last);
        return Math.max(bits - PAGE_SHIFT, 0);
    }
}
