package dev.faultline.bench.lab;

import static dev.faultline.bench.lab.Sieve.Verdict.FAR;
import static dev.faultline.bench.lab.Sieve.Verdict.KEPT;
import static dev.faultline.bench.lab.Sieve.Verdict.PREEMPTED;
import static dev.faultline.bench.lab.Slices.clean;
import static dev.faultline.bench.lab.Slices.placed;
import static dev.faultline.bench.lab.Slices.with;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.bench.contender.Contender;
import dev.faultline.bench.contender.Kind;
import dev.faultline.bench.contender.Slice;
import java.util.List;
import org.junit.jupiter.api.Test;

class SieveTest {

    private static final Contender QUEUE_W1 = Kind.QUEUE.at(1);

    private static final long ONE_MS = 1_000_000;

    @Test
    void keepsAnUndisturbedSliceBetweenNearYardsticks() {
        PlacedSlice slice = placed(QUEUE_W1, 0, clean(150), 100);
        assertEquals(KEPT, Sieve.of(List.of(slice)).verdict(slice));
    }

    @Test
    void keepsASlowContenderWhateverItsSpeed() {
        PlacedSlice slow = placed(QUEUE_W1, 0, clean(100_000), 100);
        assertEquals(KEPT, Sieve.of(List.of(slow)).verdict(slow));
    }

    @Test
    void setsAsideASliceThatWaitedForItsCore() {
        PlacedSlice waited = placed(QUEUE_W1, 0, with(100, 20 * ONE_MS, 0, 1), 100);
        assertEquals(PREEMPTED, Sieve.of(List.of(waited)).verdict(waited));
    }

    @Test
    void keepsASliceThatWasInterruptedForAMoment() {
        // 100 ms of round trips, 20 us without a core.
        PlacedSlice brief = placed(QUEUE_W1, 0, with(100, 20_000, 0, 1), 100);
        assertEquals(KEPT, Sieve.of(List.of(brief)).verdict(brief));
    }

    @Test
    void countsSwitchesWhereTheKernelDoesNotTellTheTime() {
        assertTrue(Sieve.isPreempted(with(100, Slice.UNKNOWN, 0, 1)));
        assertFalse(Sieve.isPreempted(with(100, Slice.UNKNOWN, 0, 0)));
    }

    @Test
    void setsAsideASliceThatStalledThoughNoThreadWaited() {
        PlacedSlice stalled = placed(QUEUE_W1, 0, with(100, 0, 20 * ONE_MS, 0), 100);
        assertEquals(PREEMPTED, Sieve.of(List.of(stalled)).verdict(stalled));
    }

    @Test
    void setsAsideASliceWhoseNeighbourWasPreempted() {
        Slice preempted = with(100, 20 * ONE_MS, 0, 1);
        PlacedSlice after = new PlacedSlice(QUEUE_W1, 0, clean(150), clean(100), preempted);
        PlacedSlice before = new PlacedSlice(QUEUE_W1, 1, clean(150), preempted, clean(100));
        Sieve sieve = Sieve.of(List.of(before, after));
        assertEquals(PREEMPTED, sieve.verdict(before));
        assertEquals(PREEMPTED, sieve.verdict(after));
    }

    @Test
    void setsAsideSlicesOnCoresFarApart() {
        PlacedSlice near = placed(QUEUE_W1, 0, clean(150), 100);
        PlacedSlice far = placed(QUEUE_W1, 1, clean(700), 500);
        PlacedSlice between = new PlacedSlice(QUEUE_W1, 2, clean(400), clean(100), clean(500));
        Sieve sieve = Sieve.of(List.of(near, near, far, between));
        assertEquals(KEPT, sieve.verdict(near));
        assertEquals(FAR, sieve.verdict(far));
        assertEquals(FAR, sieve.verdict(between));
    }

    @Test
    void nearIsWhatTheFastestQuartileSays() {
        PlacedSlice usual = placed(QUEUE_W1, 0, clean(700), 500);
        Sieve sieve = Sieve.of(List.of(usual, usual, usual));
        assertEquals(KEPT, sieve.verdict(usual), "a machine whose cores are always far apart is measured as it is");
    }

    @Test
    void aPreemptedYardstickDoesNotSayWhatNearIs() {
        // Both were preempted, and would otherwise be the fastest.
        Slice preempted = with(10, 20 * ONE_MS, 0, 1);
        PlacedSlice odd = new PlacedSlice(QUEUE_W1, 0, clean(150), preempted, preempted);
        PlacedSlice usual = placed(QUEUE_W1, 1, clean(150), 100);
        assertEquals(KEPT, Sieve.of(List.of(odd, odd, odd, usual)).verdict(usual));
    }
}
