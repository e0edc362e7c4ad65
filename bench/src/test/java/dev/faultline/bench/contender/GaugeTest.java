package dev.faultline.bench.contender;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class GaugeTest {

    private static final long SAMPLE_NS = 100_000_000;

    @ParameterizedTest
    @EnumSource
    void isFoundByItsName(Gauge gauge) {
        assertTrue(Gauge.isOne(gauge.key()));
        assertEquals(gauge, Gauge.of(gauge.key()));
        assertFalse(Gauge.isOne(gauge.key() + ".w1"));
    }

    @Test
    void anIdleQueueTakesAShareOfACore() throws InterruptedException {
        // A wide limit: what is looked at is that somebody's time is counted, not how little it is.
        double percent = Gauge.IDLE_PARK.open().sample(SAMPLE_NS);
        assertTrue(percent >= 0 && percent < 50, "percent=" + percent);
    }

    @Test
    void anOpenGroupTakesItsRecordAtLeast() throws InterruptedException {
        double bytes = Gauge.OUTSTANDING_BYTES.open().sample(0);
        assertTrue(bytes > 40 && bytes < 2048, "bytes=" + bytes);
    }
}
