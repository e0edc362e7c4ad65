package dev.faultline.examples.replay;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.examples.BadInput;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class FaultStreamReplayTest {
    private static final String GOOD =
            "{\"t_ns\":5,\"device\":1,\"pasid\":1,\"group\":0,\"addresses\":[\"0x1000\"],\"access\":[\"r\"]}\n";

    @TempDir
    Path folder;

    @Test
    void aRecordingIsRaisedAgainGroupByGroup() throws Exception {
        Path first = folder.resolve("first.jsonl");
        Path second = folder.resolve("second.jsonl");
        ReplayReport recorded;
        try (TraceInput input = TraceInput.bundled();
                FaultRecorder recorder = FaultRecorder.open(first, null)) {
            recorded = Traces.run(Traces.with(2, 1, 40, 4, 2, 20_000), input, recorder);
            recorder.keep();
        }
        assertEquals(recorded.accounting().raised(), recorded.recorded());
        assertEquals(recorded.recorded(), Files.readAllLines(first).size());

        try (TraceInput input = TraceInput.file(first);
                FaultRecorder recorder = FaultRecorder.open(second, first)) {
            assertTrue(input.isFaultStream());
            ReplayReport again = Traces.run(Traces.with(1, 1, 40, 8, 1, Long.MAX_VALUE), input, recorder);
            recorder.keep();
            assertNull(again.problem());
            assertTrue(again.complete());
            assertEquals(recorded.accounting().raised(), again.accounting().raised());
            assertEquals(recorded.accounting().requests(), again.accounting().requests());
            assertEquals(again.accounting().raised(), again.accounting().answered());
            assertEquals(again.accounting().raised(), again.latencyNs().getTotalCount());
            assertEquals(2, again.spaces());
            assertTrue(again.evictions() > 0);
        }
        assertEquals(withoutTimes(first), withoutTimes(second));
        assertEquals(List.of("first.jsonl", "second.jsonl"), names());
    }

    private static List<String> withoutTimes(Path file) throws IOException {
        try (Stream<String> lines = Files.lines(file)) {
            return lines.map(l -> l.replaceFirst("\"t_ns\":\\d+,", "")).toList();
        }
    }

    private List<String> names() throws IOException {
        try (Stream<Path> all = Files.list(folder)) {
            return all.map(p -> String.valueOf(p.getFileName())).sorted().toList();
        }
    }

    @Test
    void readsWhatARecordSays() throws Exception {
        String text = "\n{\"t_ns\":7,\"device\":3,\"group\":12,"
                + "\"addresses\":[\"0xffff800000000\",\"0xFFF000\"],\"access\":[\"rw\",\"xp\"]}\r\n" + GOOD.strip();
        text = text.replace("0xffff800000000", "0x7fff80000000");
        FaultRecord.Reader reader = reader(text);
        FaultRecord r = reader.next();
        assertNotNull(r);
        assertEquals(7, r.atNs());
        assertEquals(3, r.device());
        assertEquals(-1, r.pasid());
        assertEquals(12, r.group());
        assertArrayEquals(new long[] {0x7fff_8000_0000L, 0xfff000}, r.addresses());
        assertArrayEquals(new int[] {3, 12}, r.access());
        assertNotNull(reader.next());
        assertNull(reader.next());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{",
                "{}",
                "[]",
                "7",
                "{} {}",
                "{\"t_ns\":0,\"device\":1,\"pasid\":1,\"group\":0,\"addresses\":[],\"access\":[]}",
                "{\"t_ns\":0,\"device\":1,\"pasid\":1,\"group\":0,\"addresses\":[\"0x1\"],\"access\":[]}",
                "{\"t_ns\":0,\"device\":1,\"pasid\":1,\"group\":0,\"addresses\":[4096],\"access\":[\"r\"]}",
                "{\"t_ns\":0,\"device\":1,\"pasid\":1,\"group\":0,\"addresses\":[\"0x1000000000000\"],\"access\":[\"r\"]}",
                "{\"t_ns\":0,\"device\":1,\"pasid\":1,\"group\":0,\"addresses\":[\"0x1\"],\"access\":[\"z\"]}",
                "{\"t_ns\":0,\"device\":1,\"pasid\":1,\"group\":0,\"addresses\":[\"0x1\"],\"access\":[\"\"]}",
                "{\"t_ns\":0,\"device\":-1,\"pasid\":1,\"group\":0,\"addresses\":[\"0x1\"],\"access\":[\"r\"]}",
                "{\"t_ns\":0,\"device\":1.5,\"pasid\":1,\"group\":0,\"addresses\":[\"0x1\"],\"access\":[\"r\"]}",
                "{\"t_ns\":0,\"device\":1,\"pasid\":1048576,\"group\":0,\"addresses\":[\"0x1\"],\"access\":[\"r\"]}",
                "{\"t_ns\":0,\"t_ns\":0,\"device\":1,\"group\":0,\"addresses\":[\"0x1\"],\"access\":[\"r\"]}",
                "I  1000,4"
            })
    void refusesALineThatIsNoRecord(String line) {
        FaultRecord.Reader reader = reader(GOOD + line + "\n");
        BadInput e = assertThrows(BadInput.class, () -> {
            while (reader.next() != null) {}
        });
        assertEquals("test line 2", e.value());
        assertEquals(1, e.getMessage().lines().count(), e.getMessage());
    }

    @Test
    void refusesAnEndlessLine() {
        BadInput e = assertThrows(
                BadInput.class, () -> reader("{" + " ".repeat(1 << 20)).next());
        assertTrue(e.getMessage().contains("longer than"), e.getMessage());
    }

    @Test
    void aGroupIndexBeyondTheWireIsRefusedNotRaised() throws Exception {
        try (TraceInput input = Traces.of(folder, GOOD.replace("\"group\":0", "\"group\":2147483647"))) {
            ReplayReport r = Traces.run(Traces.limited(10), input, null);
            assertNull(r.problem());
            assertEquals(1, r.accounting().raised());
        }
    }

    @Test
    void aRecordingThatIsNotKeptLeavesNothing() throws Exception {
        Path target = Files.writeString(folder.resolve("kept"), "old");
        try (FaultRecorder recorder = FaultRecorder.open(target, null)) {
            assertEquals(2, names().size());
            assertEquals(0, recorder.groups());
        }
        assertEquals(List.of("kept"), names());
        assertEquals("old", Files.readString(target));
    }

    @Test
    void targetsThatCannotBeAreRefused() throws Exception {
        Path input = Files.writeString(folder.resolve("input"), "x");
        Path link = Files.createSymbolicLink(folder.resolve("link"), input);
        for (Path target :
                List.of(folder, folder.resolve("no/such"), input, link, Path.of("/dev/full"), input.resolve("below"))) {
            BadInput e = assertThrows(BadInput.class, () -> FaultRecorder.open(target, input), target.toString());
            assertEquals("--record", e.field());
            assertEquals(target.toString(), e.value());
            assertFalse(e.allowed().isEmpty());
        }
        assertEquals(List.of("input", "link"), names());
    }

    private static FaultRecord.Reader reader(String text) {
        return new FaultRecord.Reader(new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8)), "test");
    }
}
