package dev.faultline.iommu;

/**
 * Addresses from one to another, neither of which is compared by sign.
 *
 * @param first the first address
 * @param last the last one
 */
public record IovaRange(long first, long last) {
    boolean overlaps(long from, long to) {
        return Long.compareUnsigned(first, to) <= 0 && Long.compareUnsigned(from, last) <= 0;
    }

    @Override
    public String toString() {
        return "0x" + Long.toHexString(first) + " to 0x" + Long.toHexString(last);
    }
}
