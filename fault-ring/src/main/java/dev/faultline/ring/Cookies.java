package dev.faultline.ring;

import dev.faultline.ffm.CacheLine;

/**
 * How a cookie is made: generation, slot, lane, from the highest bit to the lowest; never 0.
 *
 * <p>A lane uses its slots first-in first-out and counts a slot's generation up with each use, so with n slots in turn a
 * cookie comes again after n times 2^generationBits - 1 answers.
 *
 * @param laneBits bits that name the lane
 * @param slotBits bits that name the slot
 */
record Cookies(int laneBits, int slotBits) {
    /** With fewer bits a cookie would come again too soon to tell a late answer. */
    static final int LEAST_GENERATION_BITS = 8;

    static Cookies of(int lanes, int allocation) {
        return new Cookies(bits(lanes), bits(allocation));
    }

    /** The largest allocation that leaves enough generations. */
    static int largestAllocation(int lanes) {
        return 1 << (Integer.SIZE - LEAST_GENERATION_BITS - bits(lanes));
    }

    private static int bits(int count) {
        return Integer.numberOfTrailingZeros(CacheLine.ceilingPowerOfTwo(count));
    }

    /** What a slot holds before its first use, in a lane that takes the place of one that gave cookies up to {@code last}. */
    int startingAfter(int last, int slot, int lane) {
        int generation = last >>> (slotBits + laneBits);
        return generation << (slotBits + laneBits) | slot << laneBits | lane;
    }

    /** The slot's next cookie: one generation on, over the one that would allow a cookie of 0. */
    int next(int cookie) {
        int step = 1 << (slotBits + laneBits);
        int next = cookie + step;
        return next >>> (slotBits + laneBits) == 0 ? next + step : next;
    }

    int slot(int cookie) {
        return cookie >>> laneBits & (1 << slotBits) - 1;
    }
}
