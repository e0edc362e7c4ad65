package dev.faultline.bench.lab;

import dev.faultline.bench.contender.Contender;
import java.util.EnumSet;
import java.util.Set;

/**
 * What a run is to do.
 *
 * @param ratios which ratios
 * @param slices pairs of slices wanted for each
 * @param sliceMs length of a slice
 * @param jvms fresh processes for each contender
 * @param warmUpMs how long each process runs before its slices count
 * @param seed of the order in which contenders take their turns
 * @param limitMs no new round begins after this
 */
public record LabPlan(Set<RatioKey> ratios, int slices, int sliceMs, int jvms, int warmUpMs, long seed, long limitMs) {

    /**
     * Who must be measured, beside the yardstick.
     *
     * @return the contenders
     */
    Set<Contender> contenders() {
        Set<Contender> contenders = EnumSet.noneOf(Contender.class);
        ratios.forEach(ratio -> contenders.addAll(ratio.contenders()));
        return contenders;
    }
}
