package dev.faultline.ffm;

/**
 * The unit in which two cores take memory from each other, and the arithmetic that keeps words of different owners apart.
 *
 * <p>Threads: stateless. Units: bytes. {@link #BYTES} is two 64-byte lines, because current x86-64 cores fetch lines in
 * pairs and some AArch64 cores have lines of 128 bytes.
 */
public final class CacheLine {
    /** The distance in bytes at which two words no longer disturb each other. */
    public static final int BYTES = 128;

    private CacheLine() {}

    /**
     * The smallest multiple of {@link #BYTES} that is not below {@code bytes}.
     *
     * @param bytes a size or offset, 0 or more
     * @return the aligned size or offset
     * @throws IllegalArgumentException if {@code bytes} is negative, or so large that no such multiple exists
     */
    public static long alignUp(long bytes) {
        if (bytes < 0 || bytes > Long.MAX_VALUE - (BYTES - 1)) {
            throw new IllegalArgumentException("bytes=" + bytes + ": allowed 0 to " + (Long.MAX_VALUE - (BYTES - 1)));
        }
        return (bytes + BYTES - 1) & -BYTES;
    }

    /**
     * Whether {@code value} is a power of two.
     *
     * @param value any number
     * @return true for 1, 2, 4 and so on
     */
    public static boolean isPowerOfTwo(long value) {
        return value > 0 && (value & (value - 1)) == 0;
    }

    /**
     * The smallest power of two that is not below {@code value}.
     *
     * @param value 1 to 2^30
     * @return the power of two
     * @throws IllegalArgumentException if {@code value} is outside that range
     */
    public static int ceilingPowerOfTwo(int value) {
        if (value < 1 || value > 1 << 30) {
            throw new IllegalArgumentException("value=" + value + ": allowed 1 to " + (1 << 30));
        }
        return value == 1 ? 1 : Integer.highestOneBit(value - 1) << 1;
    }
}
