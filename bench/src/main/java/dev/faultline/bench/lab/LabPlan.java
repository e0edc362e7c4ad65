package dev.faultline.bench.lab;

import dev.faultline.bench.contender.Contender;
import dev.faultline.bench.contender.Gauge;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.LinkedHashSet;
import java.util.List;
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
 * @param limitMs about how long the run may take
 */
public record LabPlan(List<RatioKey> ratios, int slices, int sliceMs, int jvms, int warmUpMs, long seed, long limitMs) {

    /** Keeps a copy. */
    public LabPlan {
        ratios = List.copyOf(ratios);
    }

    /**
     * Who must be measured, beside the yardstick.
     *
     * @return the contenders
     */
    Set<Contender> contenders() {
        Set<Contender> contenders = new LinkedHashSet<>();
        ratios.forEach(ratio -> contenders.addAll(ratio.contenders()));
        return contenders;
    }

    /**
     * What is read beside the slices.
     *
     * @return the gauges
     */
    Set<Gauge> gauges() {
        Set<Gauge> gauges = EnumSet.noneOf(Gauge.class);
        ratios.forEach(ratio -> gauges.addAll(ratio.gauges()));
        return gauges;
    }

    /**
     * Who takes turns with whom: contenders that share a ratio, directly or through others.
     *
     * @return the panels, which have no contender in common
     */
    List<Set<Contender>> panels() {
        List<Set<Contender>> panels = new ArrayList<>();
        for (RatioKey ratio : ratios) {
            Set<Contender> joined = new LinkedHashSet<>(ratio.contenders());
            List<Set<Contender>> apart = new ArrayList<>();
            for (Set<Contender> panel : panels) {
                if (Collections.disjoint(panel, ratio.contenders())) {
                    apart.add(panel);
                } else {
                    joined.addAll(panel);
                }
            }
            if (!joined.isEmpty()) {
                apart.add(joined);
            }
            panels = apart;
        }
        return panels;
    }
}
