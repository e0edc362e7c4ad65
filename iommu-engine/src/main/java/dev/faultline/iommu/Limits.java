package dev.faultline.iommu;

import dev.faultline.ffm.CacheLine;

/** Checks of configured values; a refusal names the field, the value and what is allowed. */
final class Limits {
    private Limits() {}

    static void inRange(String field, long value, long from, long to) {
        if (value < from || value > to) {
            throw new IllegalArgumentException(field + "=" + value + ": allowed " + from + " to " + to);
        }
    }

    static void powerOfTwo(String field, int value, int from, int to) {
        if (value < from || value > to || !CacheLine.isPowerOfTwo(value)) {
            throw new IllegalArgumentException(
                    field + "=" + value + ": allowed powers of two from " + from + " to " + to);
        }
    }
}
