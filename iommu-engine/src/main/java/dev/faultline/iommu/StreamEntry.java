package dev.faultline.iommu;

import dev.faultline.iommu.table.StreamWalk;
import dev.faultline.iommu.table.Walk;
import dev.faultline.iommu.table.Walker;

/**
 * What a guest's SMMUv3 says of a device: the first two double words of its stream table entry.
 *
 * <p>Immutable. Source: Arm SMMUv3 architecture, stream table entry.
 *
 * @param first V, Config, S1Fmt, S1ContextPtr, S1CDMax
 * @param second S1DSS, S1CIR, S1COR, S1CSH, S1STALLD, EATS
 */
public record StreamEntry(long first, long second) {
    /** What a device's accesses become. */
    public enum Config {
        /** They end, and nobody is told. */
        ABORT,
        /** They are translated by the second stage alone; they may carry no PASID. */
        BYPASS,
        /** They are translated by the first stage of their PASID, over the second. */
        TRANSLATE
    }

    private static final int ABORT = 0;
    private static final int BYPASS = 4;
    private static final int TRANSLATE = 5;
    private static final long S1STALLD = 1L << 27;
    private static final long POINTER = 0x000f_ffff_ffff_ffc0L;

    /**
     * What accesses become.
     *
     * @return ABORT unless it is valid
     * @throws IllegalStateException if it says what a guest cannot say: a second stage of its own
     */
    public Config config() {
        if ((first & 1) == 0) {
            return Config.ABORT;
        }
        return switch ((int) (first >>> 1) & 7) {
            case ABORT -> Config.ABORT;
            case BYPASS -> Config.BYPASS;
            case TRANSLATE -> Config.TRANSLATE;
            default -> throw new IllegalStateException(this + ": allowed Config 0, 4, 5");
        };
    }

    /**
     * Whether no access of the device stalls in the first stage.
     *
     * @return as S1STALLD says
     */
    public boolean neverStalls() {
        return (second & S1STALLD) != 0;
    }

    /**
     * Whether the device may ask for translations and pages.
     *
     * @return true if EATS is full ATS; what it says counts only if it translates
     */
    public boolean hasAts() {
        return config() == Config.BYPASS || (second >>> 28 & 3) == 1;
    }

    /** The walk that it says, over a second stage. */
    Walk walk(Walker secondStage) {
        return switch (config()) {
            case ABORT -> StreamWalk.abort(secondStage);
            case BYPASS -> StreamWalk.bypass(secondStage);
            case TRANSLATE ->
                StreamWalk.of(
                        secondStage,
                        new StreamWalk.Contexts(
                                first & POINTER,
                                (int) (first >>> 4) & 3,
                                (int) (first >>> 59),
                                (int) second & 3,
                                neverStalls(),
                                hasAts()));
        };
    }

    @Override
    public String toString() {
        return "StreamEntry[0x" + Long.toHexString(first) + ", 0x" + Long.toHexString(second) + "]";
    }
}
