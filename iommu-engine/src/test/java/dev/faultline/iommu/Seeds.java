package dev.faultline.iommu;

import java.util.Random;

/** Random numbers that a failed test can be given again: {@code -Dfaultline.seed=N}. */
public final class Seeds {
    private Seeds() {}

    public static Random random(String test) {
        long seed = Long.getLong("faultline.seed", System.nanoTime());
        System.out.println(test + " seed " + seed);
        return new Random(seed);
    }
}
