package dev.faultline.examples.replay;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.examples.BadInput;
import dev.faultline.iommu.Disaster;
import dev.faultline.iommu.OutOfFrames;
import dev.faultline.ring.AutoAnswer;
import dev.faultline.ring.Waiting;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class TraceReplayTest {

    @TempDir
    Path folder;

    @ParameterizedTest
    @CsvSource({
        // devices, threads, frames, window, group
        "1, 1, 0, 1, 1",
        "1, 1, 1, 1, 1",
        "1, 1, 24, 1, 1",
        "1, 1, 8, 8, 1",
        "1, 1, 64, 16, 4",
        "1, 1, 64, 1, 64",
        "2, 1, 2, 1, 1",
        "2, 1, 40, 4, 2",
        "3, 1, 50, 1, 3",
        "2, 2, 40, 4, 2",
        "4, 2, 32, 8, 1",
        "3, 3, 3, 1, 1"
    })
    void everyByteIsRight(int devices, int threads, int frames, int window, int group) throws Exception {
        ReplayReport r = Traces.bundled(Traces.with(devices, threads, frames, window, group, 30_000));
        assertNull(r.problem());
        assertTrue(r.complete());
        assertEquals(30_000, r.traceAccesses());
        assertEquals(0, r.accounting().outstanding());
        assertEquals(
                r.accounting().raised(),
                r.accounting().answered(),
                r.accounting().toString());
        assertEquals(r.counters().pageRequests(), r.accounting().requests());
        assertEquals(r.accesses(), r.counters().accesses());
        assertTrue(r.accesses() > 30_000L * devices, "crossings and M make more than the trace has");
        assertTrue(r.verifiedBytes() > 0 && r.storedBytes() > 0);
        assertEquals(r.verifiedBytes() + r.storedBytes(), r.counters().bytes());
        assertTrue(r.mapped() - r.evictions() <= r.config().frames());
        assertEquals(r.accounting().raised(), r.latencyNs().getTotalCount());
        if (frames > 0) {
            assertTrue(r.evictions() > 0);
        }
    }

    @Test
    void theWholeBundledTraceUnderPressureIsRight() throws Exception {
        ReplayReport r = Traces.bundled(Traces.with(1, 1, 100, 1, 1, Long.MAX_VALUE));
        assertNull(r.problem());
        assertEquals(3_383_373, r.traceAccesses());
        assertEquals(556, r.pages());
        assertTrue(r.restored() > 100, "restored " + r.restored());
        assertTrue(r.writtenBack() > 100, "written back " + r.writtenBack());
    }

    @Test
    void whatWasStoredComesBackAfterEviction() throws Exception {
        StringBuilder text = new StringBuilder();
        for (int page = 0; page < 100; page++) {
            text.append(String.format(" S %x,8\n", 0x10_0000 + page * 4096));
        }
        for (int page = 0; page < 100; page++) {
            text.append(String.format(" L %x,32\n", 0x10_0000 + page * 4096));
        }
        try (TraceInput input = Traces.of(folder, text.toString())) {
            ReplayReport r = Traces.run(Traces.with(1, 1, 4, 1, 1, Long.MAX_VALUE), input, null);
            assertNull(r.problem());
            assertEquals(100, r.writtenBack());
            assertEquals(100, r.restored());
            assertEquals(200, r.mapped());
            assertEquals(3200, r.verifiedBytes());
            assertEquals(800, r.storedBytes());
        }
    }

    @Test
    void anAccessThatCrossesAPageIsTwoAndAModifyIsTwo() throws Exception {
        try (TraceInput input = Traces.of(folder, "I  1ffc,4\n L 1ffc,8\n S 2ffe,3\n M 5000,4\n M 3fff,2\n")) {
            ReplayReport r = Traces.run(Traces.limited(Long.MAX_VALUE), input, null);
            assertNull(r.problem());
            assertEquals(5, r.traceAccesses());
            assertEquals(1 + 2 + 1 + 2, r.loads());
            assertEquals(2 + 1 + 2, r.stores());
            assertEquals(4 + 8 + 4 + 2, r.verifiedBytes());
            assertEquals(3 + 4 + 2, r.storedBytes());
            assertEquals(5, r.pages());
        }
    }

    @Test
    void bothEndsOfTheAddressesWork() throws Exception {
        String text = String.join(
                "\n",
                List.of(
                        " S 0,8",
                        " S fffffffffff8,8",
                        " S 800000000000,8",
                        " S 7ffffffffffc,8",
                        " L 0,16",
                        " L ffffffffffe0,32",
                        " L 7fffffffffff,2"));
        try (TraceInput input = Traces.of(folder, text)) {
            assertNull(Traces.run(Traces.with(1, 1, 1, 1, 1, 100), input, null).problem());
        }
        try (TraceInput input = Traces.of(folder, text)) {
            assertNull(Traces.run(Traces.with(1, 1, 64, 8, 8, 100), input, null).problem());
        }
    }

    @ParameterizedTest
    @CsvSource({"1, 20, 1, 1", "3, 30, 1, 1", "1, 20, 8, 1", "2, 40, 4, 2", "3, 90, 8, 3"})
    void withOneDeviceThreadTheCountsRepeat(int devices, int frames, int window, int group) throws Exception {
        ReplayConfig config = Traces.with(devices, 1, frames, window, group, 60_000);
        assertEquals(counts(Traces.bundled(config)), counts(Traces.bundled(config)));
    }

    @Test
    void inVirtualTimeTheSeedDecidesEverything() throws Exception {
        long first = Long.getLong("faultline.seed", System.nanoTime());
        long late = 0;
        for (long seed = first; seed < first + 4; seed++) {
            ReplayReport r = virtual(seed);
            ReplayReport again = virtual(seed);
            assertEquals(r.virtual(), again.virtual(), "seed=" + seed);
            assertEquals(r.accounting(), again.accounting(), "seed=" + seed);
            assertEquals(r.counters(), again.counters(), "seed=" + seed);
            assertEquals(counts(r), counts(again), "seed=" + seed);
            assertEquals(r.latencyNs(), again.latencyNs(), "seed=" + seed);
            assertNotEquals(r.virtual(), virtual(seed + 4).virtual(), "seed=" + seed);
            late += r.accounting().autoAnswered();
        }
        assertTrue(late > 0, "some answers come after the deadline, seed=" + first);
    }

    /** Three devices whose pages do not fit, and a deadline that some answers miss. */
    private static ReplayReport virtual(long seed) throws Exception {
        ReplayConfig c = Traces.with(3, 1, 60, 4, 2, 30_000);
        ReplayReport r = Traces.bundled(
                new ReplayConfig(3, 1, 60, c.tableFrames(), 4, 2, c.waiting(), 20_000, c.limit(), seed, null, true));
        assertNull(r.problem());
        assertTrue(r.complete());
        assertEquals(0, r.accounting().outstanding());
        assertTrue(r.evictions() > 0);
        return r;
    }

    private static List<Long> counts(ReplayReport r) {
        assertNull(r.problem());
        return List.of(
                r.accesses(),
                r.accounting().raised(),
                r.accounting().requests(),
                r.mapped(),
                r.evictions(),
                r.writtenBack(),
                r.restored());
    }

    @ParameterizedTest
    @EnumSource(Waiting.class)
    void everyWayOfWaitingWorks(Waiting waiting) throws Exception {
        ReplayConfig c = Traces.with(2, 2, 64, 4, 1, 20_000);
        ReplayConfig free = new ReplayConfig(2, 2, 64, c.tableFrames(), 4, 1, waiting, c.deadlineNs(), c.limit(), 7);
        assertNull(Traces.bundled(free).problem());
        ReplayConfig lockstep =
                new ReplayConfig(2, 1, 64, c.tableFrames(), 4, 1, waiting, c.deadlineNs(), c.limit(), 7);
        assertNull(Traces.bundled(lockstep).problem());
    }

    @ParameterizedTest
    @EnumSource(Disaster.class)
    void everyDisasterCostsTimeAndNoData(Disaster disaster) throws Exception {
        ReplayConfig c = Traces.with(2, 2, 64, 4, 2, 20_000);
        ReplayReport r = Traces.bundled(new ReplayConfig(
                2, 2, 64, c.tableFrames(), 4, 2, c.waiting(), c.deadlineNs(), c.limit(), 7, disaster, false));
        assertNull(r.problem());
        assertEquals(disaster == Disaster.DEVICE_TLB_TIMEOUT, r.tlbTimeOuts() > 0);
        assertTrue(r.accounting().balanced(), () -> r.accounting().toString());
        assertEquals(0, r.accounting().outstanding());
    }

    @ParameterizedTest
    @EnumSource(Disaster.class)
    void aDisasterRepeatsInVirtualTime(Disaster disaster) throws Exception {
        ReplayConfig c = Traces.with(2, 1, 64, 4, 2, 10_000);
        long seed = Long.getLong("faultline.seed", System.nanoTime());
        ReplayConfig config = new ReplayConfig(
                2, 1, 64, c.tableFrames(), 4, 2, c.waiting(), c.deadlineNs(), c.limit(), seed, disaster, true);
        ReplayReport r = Traces.bundled(config);
        ReplayReport again = Traces.bundled(config);
        assertNull(r.problem(), "seed=" + seed);
        assertEquals(r.virtual(), again.virtual(), "seed=" + seed);
        assertEquals(disaster == Disaster.DEVICE_TLB_TIMEOUT, r.tlbTimeOuts() > 0, "seed=" + seed);
        assertEquals(r.accounting(), again.accounting(), "seed=" + seed);
        assertTrue(r.accounting().balanced(), () -> r.accounting().toString());
        assertEquals(0, r.accounting().outstanding());
    }

    @ParameterizedTest
    @CsvSource({"1, 1", "4, 1", "4, 2"})
    void anOverdueAnswerCostsARetryAndNoData(int window, int devices) throws Exception {
        ReplayConfig config = Traces.withDeadlineNs(
                        Traces.with(devices, devices, 0, window, 1, 2_000), TimeUnit.MILLISECONDS.toNanos(2))
                .checked();
        BackingStore slow = new BackingStore(config.seed()) {
            private int reads;

            @Override
            MemorySegment read(long key) {
                if (++reads % 10 == 0) {
                    LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(20));
                }
                return super.read(key);
            }
        };
        try (TraceInput input = TraceInput.bundled();
                Replay replay = new TraceReplay(config, input, null, slow)) {
            ReplayReport r = Traces.run(replay);
            assertNull(r.problem());
            assertTrue(
                    r.accounting().autoBy().getOrDefault(AutoAnswer.DEADLINE, 0L) > 0,
                    r.accounting().toString());
            assertEquals(r.accounting().autoAnswered(), r.restarts());
        }
    }

    @Test
    void aWrongByteIsFound() throws Exception {
        ReplayConfig config = Traces.with(2, 1, 40, 1, 1, 100_000).checked();
        BackingStore forgetful = new BackingStore(config.seed()) {
            @Override
            void write(long key) {
                byte b = incoming().get(ValueLayout.JAVA_BYTE, 0x7f8);
                incoming().set(ValueLayout.JAVA_BYTE, 0x7f8, (byte) (b ^ 1));
                for (int at = 0; at < 4096; at++) {
                    incoming().set(ValueLayout.JAVA_BYTE, at, (byte) ~incoming().get(ValueLayout.JAVA_BYTE, at));
                }
                super.write(key);
            }
        };
        try (TraceInput input = TraceInput.bundled();
                Replay replay = new TraceReplay(config, input, null, forgetful)) {
            ReplayReport r = Traces.run(replay);
            assertFalse(r.complete());
            Mismatch m = assertNotNull2(r.mismatch());
            assertEquals(m.expected().length(), m.found().length());
            assertFalse(m.expected().equals(m.found()));
            assertTrue(m.device() == 1 || m.device() == 2);
            assertTrue(m.access() > 0 && m.access() <= 100_000);
            String problem = String.valueOf(r.problem());
            assertTrue(
                    problem.contains("at 0x" + Long.toHexString(m.address()) + " expected " + m.expected()), problem);
        }
    }

    private static Mismatch assertNotNull2(@org.jspecify.annotations.Nullable Mismatch m) {
        assertNotNull(m);
        return m;
    }

    @Test
    void damageInTheMiddleIsTold() throws Exception {
        for (int threads : new int[] {1, 2}) {
            try (TraceInput input = Traces.of(folder, "I  10,1\n".repeat(20_000) + "rubbish\n")) {
                BadInput e = assertThrows(
                        BadInput.class,
                        () -> Traces.run(Traces.with(2, threads, 0, 1, 1, Long.MAX_VALUE), input, null));
                assertTrue(e.value().endsWith("line 20001"), e.value());
            }
        }
    }

    @Test
    void tooFewFramesForPageTablesAreTold() throws Exception {
        StringBuilder text = new StringBuilder();
        for (long i = 0; i < 64; i++) {
            text.append(String.format(" L %x,1\n", i << 39));
        }
        ReplayConfig c = Traces.limited(1000);
        ReplayConfig narrow = new ReplayConfig(1, 1, 8, 16, 1, 1, c.waiting(), c.deadlineNs(), c.limit(), c.seed());
        try (TraceInput input = Traces.of(folder, text.toString())) {
            assertThrows(OutOfFrames.class, () -> Traces.run(narrow, input, null));
        }
    }

    @Test
    void stoppingIsQuickAndKeepsTheFiguresSoFar() throws Exception {
        ReplayConfig config = Traces.with(2, 2, 8, 4, 1, Long.MAX_VALUE).checked();
        try (TraceInput input = TraceInput.bundled();
                Replay replay = Replay.of(config, input, null)) {
            replay.start();
            assertFalse(replay.await(100));
            long begun = System.nanoTime();
            replay.stop();
            assertTrue(replay.await(900));
            ReplayReport r = replay.report();
            assertTrue(System.nanoTime() - begun < 1_000_000_000L);
            assertFalse(r.complete());
            assertNull(r.problem());
            assertNull(replay.failure());
            assertTrue(r.accounting().balanced(), r.accounting().toString());
        }
    }

    @Test
    void aReplayThatWasNeverStartedCloses() throws Exception {
        try (TraceInput input = TraceInput.bundled();
                Replay replay = Replay.of(ReplayConfig.usual().checked(), input, null)) {
            assertEquals(0, replay.progress().done());
        }
    }

    @ParameterizedTest
    @CsvSource({
        "0, 1, 0, 1, 1, 10, --devices",
        "257, 1, 0, 1, 1, 10, --devices",
        "2, 3, 0, 1, 1, 10, --device-threads",
        "2, 0, 0, 1, 1, 10, --device-threads",
        "2, 1, 15, 4, 2, 10, --frames",
        "1, 1, 16777217, 1, 1, 10, --frames",
        "1, 1, 0, 0, 1, 10, --window",
        "1, 1, 0, 257, 1, 10, --window",
        "1, 1, 0, 1, 0, 10, --group",
        "1, 1, 0, 1, 65, 10, --group",
        "1, 1, 0, 1, 1, 0, --limit",
    })
    void impossibleSettingsAreRefusedByName(
            int devices, int threads, int frames, int window, int group, long limit, String field) {
        BadInput e = assertThrows(
                BadInput.class,
                () -> Traces.with(devices, threads, frames, window, group, limit)
                        .checked());
        assertEquals(field, e.field());
        if (field.equals("--frames") && frames == 15) {
            assertTrue(e.getMessage().contains("16 to 16777216 for 2 devices x window 4 x group 2"), e.getMessage());
        }
    }
}
