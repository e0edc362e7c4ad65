package dev.faultline.examples.replay;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

class PageIndexTest {

    @Test
    void agreesWithAHashMapOverRandomCalls() {
        long seed = System.nanoTime();
        Random random = new Random(seed);
        PageIndex index = new PageIndex(1);
        Map<Long, Integer> oracle = new HashMap<>();
        for (int i = 0; i < 200_000; i++) {
            long key = random.nextInt(500) * 0x1000L;
            switch (random.nextInt(3)) {
                case 0 -> {
                    if (!oracle.containsKey(key)) {
                        index.add(key, i);
                        oracle.put(key, i);
                    }
                }
                case 1 -> assertEquals(oracle.getOrDefault(key, PageIndex.NONE), index.get(key), "seed " + seed);
                default -> {
                    Integer removed = oracle.remove(key);
                    assertEquals(removed == null ? PageIndex.NONE : removed, index.remove(key), "seed " + seed);
                }
            }
            assertEquals(oracle.size(), index.size(), "seed " + seed);
        }
    }
}
