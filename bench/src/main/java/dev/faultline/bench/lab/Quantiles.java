package dev.faultline.bench.lab;

import java.util.Arrays;

/** Quantiles of a handful of figures: the middle of what was seen, whatever the outliers say. */
public final class Quantiles {

    private final double[] sorted;

    private Quantiles(double[] sorted) {
        this.sorted = sorted;
    }

    /**
     * Takes the figures.
     *
     * @param figures one or more, in any order
     * @return their quantiles
     * @throws IllegalArgumentException if there is none
     */
    public static Quantiles of(double... figures) {
        if (figures.length == 0) {
            throw new IllegalArgumentException("figures=0: a quantile needs one");
        }
        double[] sorted = figures.clone();
        Arrays.sort(sorted);
        return new Quantiles(sorted);
    }

    /**
     * The figure below which the given share lies; between two figures, the point on the line from one to the other.
     *
     * @param share 0 to 1
     * @return the quantile
     */
    public double at(double share) {
        double position = share * (sorted.length - 1);
        int below = (int) Math.floor(position);
        int above = Math.min(below + 1, sorted.length - 1);
        return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
    }

    /**
     * The middle.
     *
     * @return the quantile at one half
     */
    public double median() {
        return at(0.5);
    }

    /**
     * Where the middle half begins.
     *
     * @return the quantile at one quarter
     */
    public double lowerQuartile() {
        return at(0.25);
    }

    /**
     * Where the middle half ends.
     *
     * @return the quantile at three quarters
     */
    public double upperQuartile() {
        return at(0.75);
    }
}
