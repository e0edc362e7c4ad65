package dev.faultline.bench.lab;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.List;
import org.junit.jupiter.api.Test;

class RatioKeyTest {

    @Test
    void everyRatioIsFoundByItsWholeNameAlone() {
        for (String key : RatioKey.keys()) {
            assertEquals(
                    List.of(key),
                    RatioKey.named(key).stream().map(RatioKey::key).toList());
        }
        assertEquals(RatioKey.keys().size(), new HashSet<>(RatioKey.keys()).size());
    }

    @Test
    void theWordsItBeginsWithNameSeveral() {
        List<RatioKey> named = RatioKey.named("queue.w64");
        assertTrue(named.size() > 1);
        assertTrue(named.stream().allMatch(ratio -> ratio.key().startsWith("queue.w64.")));
    }

    @Test
    void halfAWordNamesNone() {
        assertEquals(List.of(), RatioKey.named("queue.w6"));
        assertEquals(List.of(), RatioKey.named(""));
        assertEquals(List.of(), RatioKey.named("queue."));
    }
}
