package dev.faultline.examples.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.faultline.examples.cli.FaultlineProcess.Ended;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The replay as a user meets it: exit status, standard output, standard error, signals. */
class ReplayProcessTest {
    private static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    @TempDir
    Path folder;

    @Test
    void theTableGoesToStandardOutputAndNothingElseAnywhere() throws Exception {
        Ended e = FaultlineProcess.run(folder, "replay", "--limit", "20000", "--frames", "40");
        assertEquals(0, e.status(), e.err());
        assertEquals("", e.err());
        for (String part : List.of("accesses", "TLB hits", "= answered", "raised to retried", "evicted", "verified")) {
            assertTrue(e.out().contains(part), e.out());
        }
        assertTrue(e.out().endsWith("every byte is right\n"), e.out());
        assertFalse(e.out().contains("\u001b"), "no colours where nobody looks");
    }

    @Test
    void quietSaysNothing() throws Exception {
        Ended e = FaultlineProcess.run(folder, "replay", "--limit", "1000", "--quiet");
        assertEquals(0, e.status());
        assertEquals("", e.out());
        assertEquals("", e.err());
    }

    @Test
    void aSeedIsARunInVirtualTime() throws Exception {
        JsonNode first = virtual("7");
        JsonNode again = virtual("7");
        for (String part :
                List.of("virtual", "faults", "paging", "device_tlb", "iotlb", "restarts", "verified_bytes")) {
            assertEquals(withoutRate(first.get(part)), withoutRate(again.get(part)), part);
        }
        assertTrue(first.at("/virtual/elapsed_ns").asLong() > 0);
        assertFalse(first.get("virtual").equals(virtual("8").get("virtual")), "another seed, another run");
        Ended refused = FaultlineProcess.run(folder, "replay", "--virtual", "--wait", "spin");
        assertEquals(2, refused.status());
        assertTrue(refused.err().contains("no --wait with --virtual"), refused.err());
    }

    private JsonNode virtual(String seed) throws Exception {
        Ended e = FaultlineProcess.run(
                folder, "replay", "--virtual", "--seed", seed, "--limit", "20000", "--devices", "2", "--json");
        assertEquals(0, e.status(), e.err());
        return JSON.readTree(e.out());
    }

    /** Real time is in nothing but the rate. */
    private static JsonNode withoutRate(JsonNode node) {
        return node instanceof ObjectNode object ? object.without("faults_per_s") : node;
    }

    @Test
    void jsonIsOneObjectWithEverythingInIt() throws Exception {
        Ended e = FaultlineProcess.run(
                folder, "replay", "--limit", "20000", "--frames", "16", "--json", "--seed", "9", "--deadline", "500ms");
        assertEquals(0, e.status(), e.err());
        assertEquals("", e.err());
        JsonNode node = JSON.readTree(e.out());
        assertEquals(
                List.of("schema", "command", "version", "ok", "interrupted", "seed", "elapsed_s", "machine"),
                names(node).subList(0, 8));
        assertEquals(List.of("cpu", "cores", "kernel", "jdk", "flags"), names(node.get("machine")));
        assertEquals(
                List.of(
                        "requests",
                        "raised",
                        "answered",
                        "auto_answered",
                        "auto_by",
                        "dropped",
                        "dropped_by",
                        "outstanding",
                        "answers",
                        "faults_per_s",
                        "latency_ns",
                        "bytes_per_fault"),
                names(node.get("faults")));
        assertEquals(List.of("p50", "p99", "p999", "max", "count"), names(node.at("/faults/latency_ns")));
        assertEquals("replay", node.get("command").asText());
        assertEquals(Faultline.VERSION, node.get("version").asText());
        assertTrue(node.get("ok").asBoolean());
        assertFalse(node.get("interrupted").asBoolean());
        assertEquals(9, node.get("seed").asLong());
        assertEquals(16, node.at("/options/frames").asInt());
        assertEquals(500_000_000, node.at("/options/deadline_ns").asLong());
        assertEquals(20_000, node.get("trace_accesses").asLong());
        assertEquals(
                node.at("/faults/raised").asLong(), node.at("/faults/answered").asLong());
        assertEquals(
                node.at("/faults/raised").asLong(),
                node.at("/faults/latency_ns/count").asLong());
        assertEquals(0, node.at("/faults/outstanding").asLong());
        assertTrue(node.at("/paging/evictions").asLong() > 0);
        assertFalse(node.has("error"));
    }

    @Test
    void standardInputIsATraceToo() throws Exception {
        FaultlineProcess p = FaultlineProcess.start(folder, "replay", "-", "--json");
        try (OutputStream in = new GZIPOutputStream(p.process().getOutputStream())) {
            in.write("I  1000,4\r\n==1== words\r\n S 2000,8\r\n".getBytes(StandardCharsets.US_ASCII));
        }
        Ended e = p.end();
        assertEquals(0, e.status(), e.err());
        assertEquals(2, JSON.readTree(e.out()).get("trace_accesses").asLong());
    }

    @Test
    void aRecordingCanBeReplayed() throws Exception {
        Ended first = FaultlineProcess.run(
                folder,
                "replay",
                "--limit",
                "5000",
                "--devices",
                "2",
                "--frames",
                "20",
                "--record",
                "f.jsonl",
                "--json");
        assertEquals(0, first.status(), first.err());
        long raised = JSON.readTree(first.out()).at("/faults/raised").asLong();
        List<String> lines = Files.readAllLines(folder.resolve("f.jsonl"));
        assertEquals(raised, lines.size());
        for (String line : lines) {
            JSON.readTree(line);
        }
        Ended second = FaultlineProcess.run(folder, "replay", "f.jsonl", "--window", "4", "--json");
        assertEquals(0, second.status(), second.err());
        JsonNode node = JSON.readTree(second.out());
        assertEquals("fault_stream", node.get("source").asText());
        assertEquals(raised, node.at("/faults/answered").asLong());
        assertEquals(List.of("f.jsonl"), leftOver());
        Ended table = FaultlineProcess.run(folder, "replay", "f.jsonl");
        assertTrue(table.out().endsWith("every group was answered once\n"), table.out());
    }

    @Test
    void helpAndVersionGoToStandardOutput() throws Exception {
        Ended help = FaultlineProcess.run(folder, "replay", "--help");
        assertEquals(0, help.status());
        for (String option : List.of(
                "--devices",
                "--device-threads",
                "--frames",
                "--window",
                "--group",
                "--wait",
                "--deadline",
                "--limit",
                "--seed",
                "--record",
                "--json",
                "--quiet",
                "--help",
                "--version",
                "TRACE")) {
            assertTrue(help.out().contains(option), option);
        }
        Ended version = FaultlineProcess.run(folder, "replay", "--version");
        assertEquals("faultline " + Faultline.VERSION + "\n", version.out());
        Ended nothing = FaultlineProcess.run(folder);
        assertEquals(2, nothing.status());
        assertEquals("", nothing.out());
        assertTrue(nothing.err().contains("replay"), nothing.err());
    }

    @ParameterizedTest
    @CsvSource({"INT, 130, true", "TERM, 143, true", "INT, 130, false"})
    void aSignalEndsItWithinASecondAndTheFiguresSoFar(String signal, int status, boolean json) throws Exception {
        List<String> words = new ArrayList<>(List.of("replay", "--frames", "1", "--devices", "1", "--record", "r"));
        if (json) {
            words.add("--json");
        }
        FaultlineProcess p = FaultlineProcess.start(folder, words.toArray(String[]::new));
        awaitPartial();
        Thread.sleep(500);
        long before = System.nanoTime();
        p.signal(signal);
        Ended e = p.end();
        long ms = (System.nanoTime() - before) / 1_000_000;
        assertEquals(status, e.status(), e.err());
        // A second is the promise; on a machine that is busy with other things its threads may have to wait for a core.
        assertTrue(ms < 3_000, "took " + ms + " ms");
        assertEquals("", e.err());
        if (json) {
            JsonNode node = JSON.readTree(e.out());
            assertTrue(node.get("interrupted").asBoolean());
            assertFalse(node.get("ok").asBoolean());
            assertTrue(node.get("accesses").asLong() > 0, e.out());
        } else {
            assertTrue(e.out().endsWith("interrupted: the figures are those so far\n"), e.out());
        }
        assertEquals(List.of(), leftOver());
    }

    /** The recording is opened just before the replay begins. */
    private void awaitPartial() throws Exception {
        for (int i = 0; i < 3000 && leftOver().isEmpty(); i++) {
            Thread.sleep(10);
        }
    }

    @Test
    void aSignalEndsItWhileStandardInputIsSilent() throws Exception {
        FaultlineProcess p = FaultlineProcess.start(folder, "replay", "-", "--json", "--record", "r");
        OutputStream in = p.process().getOutputStream();
        in.write("I  1000,4\n".repeat(20_000).getBytes(StandardCharsets.US_ASCII));
        in.flush();
        awaitPartial();
        Thread.sleep(500);
        long before = System.nanoTime();
        p.signal("INT");
        Ended e = p.end();
        assertTrue(System.nanoTime() - before < 3_000_000_000L);
        assertEquals(130, e.status(), e.err());
        assertTrue(JSON.readTree(e.out()).get("interrupted").asBoolean());
        assertEquals(List.of(), leftOver());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "nothere.trace                    | TRACE nothere.trace: no such file",
                "-- .                             | TRACE .: is a directory",
                "cut.gz                           | TRACE cut.gz: the gzip stream ends too early",
                "flipped.gz                       | TRACE flipped.gz: the gzip stream is damaged",
                "malformed                        | TRACE malformed line 3: not an access: \"rubbish\"",
                "overlong                         | TRACE overlong line 1: longer than 256 bytes",
                "beyond                           | TRACE beyond line 1: address out of range",
                "words                            | TRACE words: has no access",
                "empty                            | TRACE empty: has no access",
                "brace                            | TRACE brace line 1: not JSON",
                "good --frames 3 --devices 4      | --frames 3: too few; allowed: 4 to 16777216 for 4 devices x window"
                        + " 1",
                "good --frames 0                  | --frames 0: too few; allowed: 1",
                "good --window 0                  | --window 0: too few; allowed: 1 to 256",
                "good --window x                  | --window x: cannot be used; allowed: a whole number",
                "good --group 65                  | --group 65: too many; allowed: 1 to 64",
                "good --devices 0                 | --devices 0: too few; allowed: 1 to 256",
                "good --devices 99999999999       | --devices 99999999999: cannot be used; allowed: a whole number",
                "good --device-threads 2          | --device-threads 2: too many; allowed: 1 to 1",
                "good --deadline soon             | --deadline soon: cannot be used; allowed: a whole number with ns",
                "good --deadline 2000m            | --deadline",
                "good --wait long                 | --wait long: cannot be used; allowed: spin, yield, park or eventfd",
                "good --limit 0                   | --limit 0: too few; allowed: 1 or more",
                "good --record good               | --record good: is the input",
                "good --record no/such            | --record no/such: there is no folder",
                "good --record .                  | --record .: is a directory",
                "good --record /dev/full          | --record /dev/full: is not a regular file",
                "good --no-such                   | --no-such: unknown",
                "good more                        | COMMAND more: unknown",
                "good --seed                      | --seed: has no value",
                "record --devices 2               | --devices: is decided by the recording",
            })
    void badInputIsOneLineAndStatusTwo(String words, String said) throws Exception {
        prepareBadFiles();
        List<String> before = leftOver();
        List<String> all = new ArrayList<>(List.of("replay", "--json"));
        all.addAll(Arrays.asList(words.strip().split(" +")));
        Ended e = FaultlineProcess.run(folder, all.toArray(String[]::new));
        assertEquals(2, e.status(), e.err());
        assertEquals(1, e.err().lines().count(), e.err());
        assertTrue(e.err().startsWith("faultline replay: " + said.strip()), e.err());
        assertTrue(e.err().contains("; allowed: "), e.err());
        JsonNode node = JSON.readTree(e.out());
        assertFalse(node.get("ok").asBoolean());
        assertEquals(List.of("kind", "message", "field", "value", "allowed"), names(node.get("error")));
        assertEquals("bad_input", node.at("/error/kind").asText());
        assertEquals(before, leftOver());
    }

    @Test
    void withoutJsonBadInputLeavesStandardOutputEmpty() throws Exception {
        Ended e = FaultlineProcess.run(folder, "replay", "nothere");
        assertEquals(2, e.status());
        assertEquals("", e.out());
        assertEquals(1, e.err().lines().count(), e.err());
    }

    @Test
    void anUnreadableFileIsBadInput() throws Exception {
        Path file = Files.writeString(folder.resolve("secret"), "I  10,1\n");
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("---------"));
        Assumptions.assumeFalse(Files.isReadable(file), "who runs this may read everything");
        Ended e = FaultlineProcess.run(folder, "replay", "secret");
        assertEquals(2, e.status());
        assertTrue(e.err().contains("TRACE secret: cannot be read (permission)"), e.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"nonsense", "--nonsense"})
    void anUnknownCommandIsBadInput(String word) throws Exception {
        Ended e = FaultlineProcess.run(folder, word);
        assertEquals(2, e.status());
        assertEquals("", e.out());
        assertTrue(e.err().startsWith("faultline: ") && e.err().contains("unknown"), e.err());
    }

    @Test
    void moreMemoryThanThereIsIsTheMachinesLack() throws Exception {
        Ended e = FaultlineProcess.run(
                folder, "replay", "--json", "--limit", "10", "--frames", "16777216", "--table-frames", "16777216");
        Assumptions.assumeTrue(e.status() != 0, "this machine has 128 GiB to spare");
        assertEquals(3, e.status(), e.err());
        assertEquals("lacking", JSON.readTree(e.out()).at("/error/kind").asText());
    }

    private void prepareBadFiles() throws IOException {
        Files.writeString(folder.resolve("good"), "I  1000,4\n");
        Files.writeString(folder.resolve("malformed"), "I  1000,4\n==1== \nrubbish\nI  1000,4\n");
        Files.writeString(folder.resolve("overlong"), " L " + "1".repeat(5000) + ",1\n");
        Files.writeString(folder.resolve("beyond"), " L 1000000000000,1\n");
        Files.writeString(folder.resolve("words"), "==1== Lackey\n==1== \n");
        Files.writeString(folder.resolve("empty"), "");
        Files.writeString(folder.resolve("brace"), "{ this is not JSON\n");
        Files.writeString(
                folder.resolve("record"),
                "{\"t_ns\":5,\"device\":1,\"pasid\":1,\"group\":0,\"addresses\":[\"0x1000\"],\"access\":[\"r\"]}\n");
        Path gz = folder.resolve("cut.gz");
        try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(gz))) {
            for (int i = 0; i < 5000; i++) {
                out.write((" L " + Integer.toHexString(i * i) + ",1\n").getBytes(StandardCharsets.US_ASCII));
            }
        }
        byte[] whole = Files.readAllBytes(gz);
        Files.write(gz, Arrays.copyOf(whole, whole.length / 2));
        whole[whole.length - 5] ^= 1;
        Files.write(folder.resolve("flipped.gz"), whole);
    }

    private List<String> leftOver() throws IOException {
        try (Stream<Path> all = Files.list(folder)) {
            return all.map(p -> String.valueOf(p.getFileName())).sorted().toList();
        }
    }

    private static List<String> names(JsonNode node) {
        List<String> names = new ArrayList<>();
        node.fieldNames().forEachRemaining(names::add);
        return names;
    }
}
