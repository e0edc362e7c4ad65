package dev.faultline.bench.lab;

import static dev.faultline.bench.contender.Contender.PINGPONG;
import static dev.faultline.bench.lab.Slices.clean;
import static dev.faultline.bench.lab.Slices.placed;
import static dev.faultline.bench.lab.Slices.with;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.bench.contender.Contender;
import dev.faultline.bench.contender.Gauge;
import dev.faultline.bench.contender.Kind;
import dev.faultline.bench.contender.Slice;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.Test;

class RatioTest {

    private static final Contender QUEUE_W1 = Kind.QUEUE.at(1);
    private static final Contender LOOP_W1 = Kind.LOOP.at(1);
    private static final Contender QUEUE_W64 = Kind.QUEUE.at(64);
    private static final Contender DISRUPTOR_W64 = Kind.DISRUPTOR.at(64);
    private static final Contender AGRONA_W64 = Kind.AGRONA.at(64);
    private static final Contender JCTOOLS_W64 = Kind.JCTOOLS.at(64);
    private static final RatioKey QUEUE_W1_VS_PINGPONG = key("queue.w1.vs_pingpong");
    private static final RatioKey QUEUE_W1_VS_BEST_RIVAL = key("queue.w1.vs_best_rival");
    private static final RatioKey QUEUE_W64_VS_BEST_RIVAL = key("queue.w64.vs_best_rival");
    private static final RatioKey QUEUE_BYTES = key("queue.bytes_per_round_trip");
    private static final RatioKey LOOP_W1_VS_QUEUE = key("loop.w1.vs_queue");

    private final List<PlacedSlice> slices = new ArrayList<>();

    private static RatioKey key(String name) {
        return RatioKey.named(name).getFirst();
    }

    private void rounds(int count, Contender contender, double ns) {
        for (int round = 0; round < count; round++) {
            slices.add(placed(contender, round, clean(ns), 100));
        }
    }

    private Measured measured() {
        return Measured.of(slices, Map.of(), Map.of(), Map.of(), 1);
    }

    private static Ratio.Interval figures(Ratio ratio) {
        assertNull(ratio.reason());
        return Objects.requireNonNull(ratio.interval());
    }

    @Test
    void timeAgainstTheYardstickIsTheMedianOverTheSlices() {
        rounds(9, QUEUE_W1, 150);
        slices.add(placed(QUEUE_W1, 9, clean(1500), 100));
        Ratio ratio = Ratio.of(QUEUE_W1_VS_PINGPONG, measured());
        assertEquals(1.5, figures(ratio).value(), 1e-9);
        assertEquals(10, ratio.slices());
        assertEquals(PINGPONG, ratio.against());
    }

    @Test
    void eachSliceIsDividedByItsOwnNeighbours() {
        // The machine slows down on the way; the ratio does not.
        for (int round = 0; round < 9; round++) {
            double yardstickNs = 100 + 5 * round;
            slices.add(placed(QUEUE_W1, round, clean(1.25 * yardstickNs), yardstickNs));
        }
        Ratio.Interval figures = figures(Ratio.of(QUEUE_W1_VS_PINGPONG, measured()));
        assertEquals(1.25, figures.lo(), 1e-6);
        assertEquals(1.25, figures.hi(), 1e-6);
    }

    @Test
    void eightSlicesAreTooFew() {
        rounds(8, QUEUE_W1, 150);
        Ratio ratio = Ratio.of(QUEUE_W1_VS_PINGPONG, measured());
        assertNull(ratio.interval());
        assertEquals(8, ratio.slices());
        assertTrue(Objects.requireNonNull(ratio.reason()).contains("kept=8, needed=9"), ratio.reason());
    }

    @Test
    void slicesSetAsideDoNotCount() {
        rounds(8, QUEUE_W1, 150);
        slices.add(placed(QUEUE_W1, 8, with(150, 50_000_000, 0, 3), 100));
        slices.add(placed(QUEUE_W1, 9, clean(150), 500));
        assertEquals(8, Ratio.of(QUEUE_W1_VS_PINGPONG, measured()).slices());
    }

    @Test
    void rateAgainstRivalsIsAgainstTheFastest() {
        rounds(9, QUEUE_W64, 10);
        rounds(9, AGRONA_W64, 40);
        rounds(9, DISRUPTOR_W64, 20);
        rounds(9, JCTOOLS_W64, 30);
        Ratio ratio = Ratio.of(QUEUE_W64_VS_BEST_RIVAL, measured());
        assertEquals(2.0, figures(ratio).value(), 1e-9);
        assertEquals(DISRUPTOR_W64, ratio.against());
        assertEquals(
                4.0,
                Objects.requireNonNull(Ratio.byRival(QUEUE_W64_VS_BEST_RIVAL, measured())
                                .get(AGRONA_W64))
                        .value(),
                1e-9);
    }

    @Test
    void theFastestRivalIsFastestByItsMedianNotByALuckySlice() {
        rounds(11, QUEUE_W64, 10);
        rounds(11, DISRUPTOR_W64, 20);
        rounds(10, JCTOOLS_W64, 30);
        slices.add(placed(JCTOOLS_W64, 10, clean(1), 100));
        rounds(11, AGRONA_W64, 40);
        assertEquals(
                DISRUPTOR_W64, Ratio.of(QUEUE_W64_VS_BEST_RIVAL, measured()).against());
    }

    @Test
    void withoutOneRivalNobodyKnowsWhoIsBest() {
        rounds(9, QUEUE_W64, 10);
        rounds(9, AGRONA_W64, 40);
        rounds(9, DISRUPTOR_W64, 20);
        Ratio ratio = Ratio.of(QUEUE_W64_VS_BEST_RIVAL, measured());
        assertNull(ratio.interval());
        assertTrue(Objects.requireNonNull(ratio.reason()).startsWith("jctools.w64"), ratio.reason());
    }

    @Test
    void onlyRoundsThatKeptBothArePairs() {
        rounds(12, QUEUE_W1, 100);
        for (int round = 3; round < 15; round++) {
            slices.add(placed(LOOP_W1, round, clean(300), 100));
        }
        Ratio ratio = Ratio.of(LOOP_W1_VS_QUEUE, measured());
        assertEquals(9, ratio.slices());
        assertEquals(3.0, figures(ratio).value(), 1e-9);
    }

    @Test
    void aContenderThatFailedIsTheReason() {
        rounds(9, QUEUE_W1, 100);
        Ratio ratio = Ratio.of(
                LOOP_W1_VS_QUEUE, Measured.of(slices, Map.of(), Map.of("loop.w1", "ended with status 1"), Map.of(), 1));
        assertNull(ratio.interval());
        assertEquals("loop.w1: ended with status 1", ratio.reason());
    }

    @Test
    void aContenderOfAnotherRatioThatFailedIsNone() {
        rounds(9, QUEUE_W1, 100);
        Ratio ratio = Ratio.of(
                QUEUE_W1_VS_PINGPONG,
                Measured.of(slices, Map.of(), Map.of("loop.w1", "ended with status 1"), Map.of(), 1));
        assertNotNull(ratio.interval());
    }

    private Measured read(Gauge gauge, List<Double> figures) {
        return Measured.of(slices, Map.of(gauge, figures), Map.of(), Map.of(), 1);
    }

    @Test
    void aGaugeIsTheMedianOfItsReadings() {
        List<Double> figures = List.of(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 1000.0);
        Ratio ratio = Ratio.of(key("idle.park.cpu_percent"), read(Gauge.IDLE_PARK, figures));
        assertEquals(5, figures(ratio).value());
        assertEquals(9, ratio.slices());
    }

    @Test
    void eightReadingsAreTooFew() {
        List<Double> figures = Collections.nCopies(8, 1.0);
        Ratio ratio = Ratio.of(key("idle.park.cpu_percent"), read(Gauge.IDLE_PARK, figures));
        assertNull(ratio.interval());
        assertTrue(Objects.requireNonNull(ratio.reason()).contains("readings=8, needed=9"), ratio.reason());
    }

    @Test
    void aGaugeThatFailedIsTheReason() {
        Measured failed = Measured.of(slices, Map.of(), Map.of("idle.park", "ended with status 1"), Map.of(), 1);
        assertEquals(
                "idle.park: ended with status 1",
                Ratio.of(key("idle.park.cpu_percent"), failed).reason());
    }

    @Test
    void nothingMeasuredIsNoValue() {
        for (RatioKey key : RatioKey.ALL) {
            Ratio ratio = Ratio.of(key, measured());
            assertNull(ratio.interval());
            assertNotNull(ratio.reason());
        }
    }

    @Test
    void timeAgainstRivalsIsAgainstTheFastestToo() {
        rounds(9, QUEUE_W1, 150);
        rounds(9, Kind.AGRONA.at(1), 120);
        rounds(9, Kind.DISRUPTOR.at(1), 200);
        rounds(9, Kind.JCTOOLS.at(1), 130);
        Ratio ratio = Ratio.of(QUEUE_W1_VS_BEST_RIVAL, measured());
        assertEquals(1.25, figures(ratio).value(), 1e-9);
        assertEquals(Kind.AGRONA.at(1), ratio.against());
    }

    @Test
    void aContenderThatIsAbsentIsTheReason() {
        rounds(9, QUEUE_W64, 10);
        Measured without = Measured.of(slices, Map.of(), Map.of(), Map.of("agrona.w64", "cores=2, needed=5"), 1);
        Ratio ratio = Ratio.of(QUEUE_W64_VS_BEST_RIVAL, without);
        assertNull(ratio.interval());
        assertEquals("agrona.w64: cores=2, needed=5", ratio.reason());
    }

    @Test
    void whatIsAllocatedNowAndThenCounts() {
        rounds(9, QUEUE_W64, 10);
        slices.add(placed(QUEUE_W64, 9, new Slice(100, 100, 0, 0, 0, 300, 200, 1_000_000), 100));
        Ratio ratio = Ratio.of(QUEUE_BYTES, measured());
        assertEquals(500.0 / 10_000_000, figures(ratio).value(), 1e-12);
        assertEquals(0, figures(ratio).lo());
        assertEquals(10, ratio.slices());
    }

    @Test
    void aFewRoundTripsDoNotShowThatNothingIsAllocated() {
        for (int round = 0; round < 9; round++) {
            slices.add(placed(QUEUE_W64, round, new Slice(100, 100, 0, 0, 0, 0, 0, 100), 100));
        }
        Ratio ratio = Ratio.of(QUEUE_BYTES, measured());
        assertNull(ratio.interval());
        assertEquals("round trips=900, needed=1000000", ratio.reason());
    }
}
