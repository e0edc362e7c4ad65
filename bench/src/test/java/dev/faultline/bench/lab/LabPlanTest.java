package dev.faultline.bench.lab;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.bench.contender.Contender;
import dev.faultline.bench.contender.Kind;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class LabPlanTest {

    private static LabPlan plan(List<RatioKey> ratios) {
        return new LabPlan(ratios, 9, 20, 1, 100, 1, 1000);
    }

    @Test
    void everyContenderIsInOnePanel() {
        LabPlan plan = plan(RatioKey.ALL);
        Set<Contender> seen = new HashSet<>();
        for (Set<Contender> panel : plan.panels()) {
            assertTrue(!panel.isEmpty());
            panel.forEach(contender -> assertTrue(seen.add(contender), contender.key()));
        }
        assertEquals(plan.contenders(), seen);
    }

    @Test
    void whoSharesARatioIsInThePanelOfTheOthers() {
        LabPlan plan = plan(RatioKey.ALL);
        for (RatioKey ratio : RatioKey.ALL) {
            assertEquals(
                    ratio.contenders().isEmpty() ? 0 : 1,
                    plan.panels().stream()
                            .filter(panel -> ratio.contenders().stream().anyMatch(panel::contains))
                            .filter(panel -> panel.containsAll(ratio.contenders()))
                            .count(),
                    ratio.key());
        }
    }

    @Test
    void contendersThatAreNeverComparedAreApart() {
        LabPlan plan = plan(RatioKey.ALL);
        assertTrue(plan.panels().stream()
                .noneMatch(panel -> panel.containsAll(Set.of(Kind.QUEUE.at(8), Kind.QUEUE.at(64)))));
    }

    @Test
    void theYardstickIsInNone() {
        assertTrue(!plan(RatioKey.ALL).contenders().contains(Contender.PINGPONG));
    }
}
