package dev.faultline.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.faultline.bench.lab.RatioKey;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The laboratory as its users start it. */
class LabSmokeTest {

    @TempDir
    private Path directory;

    private record Outcome(int status, String out, String err) {}

    private Process start(String... options) throws IOException {
        List<String> command = new ArrayList<>();
        // Whoever runs the tests in the background has interrupts ignored, and his children inherit that.
        command.addAll(List.of("env", "--default-signal=INT"));
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(List.of("--enable-native-access=ALL-UNNAMED", "-cp", System.getProperty("java.class.path")));
        command.add(Lab.class.getName());
        command.addAll(List.of(options));
        return new ProcessBuilder(command)
                .redirectOutput(directory.resolve("out").toFile())
                .redirectError(directory.resolve("err").toFile())
                .start();
    }

    private Outcome outcome(Process process, long limitS) throws IOException, InterruptedException {
        boolean hasEnded = process.waitFor(limitS, TimeUnit.SECONDS);
        if (!hasEnded) {
            process.destroyForcibly();
        }
        String err = Files.readString(directory.resolve("err"));
        assertTrue(hasEnded, "still running after " + limitS + " s: " + err);
        return new Outcome(process.exitValue(), Files.readString(directory.resolve("out")), err);
    }

    @Test
    void printsEveryRatioAsOneJsonObject() throws IOException, InterruptedException {
        Outcome outcome = outcome(start("--ratios", "--json", "--slices", "1", "--slice-ms", "1", "--jvms", "1"), 100);
        assertEquals(0, outcome.status(), outcome.err());
        JsonNode root = new ObjectMapper().readTree(outcome.out());
        assertEquals("lab", root.path("command").asText());
        assertTrue(root.path("ok").asBoolean(), outcome.out());
        assertFalse(root.path("interrupted").asBoolean(true));
        for (String field : List.of("schema", "version", "seed", "elapsed_s")) {
            assertTrue(root.hasNonNull(field), field);
        }
        for (String field : List.of("cpu", "cores", "kernel", "jdk", "flags")) {
            assertTrue(root.path("machine").hasNonNull(field), field);
        }
        for (String key : RatioKey.keys()) {
            JsonNode ratio = root.path("ratios").path(key);
            for (String field : List.of("value", "lo", "hi", "slices", "better", "reason")) {
                assertTrue(ratio.has(field), key + "." + field);
            }
            assertTrue(ratio.get("value").isNull(), "one slice is no measurement");
            assertTrue(ratio.hasNonNull("reason"), "no value, no reason");
        }
        for (JsonNode contender : root.path("contenders")) {
            assertTrue(contender.path("failed").isNull(), contender.toString());
        }
    }

    @Test
    void badOptionsAreSaidInALineAndEndWithTwo() throws IOException, InterruptedException {
        for (String[] options : new String[][] {
            {"--slices", "0"},
            {"--slices", "many"},
            {"--slice-ms", "1001"},
            {"--only", "queue.w2"},
            {"--only", "queue.w6"},
            {"--no-such-option"}
        }) {
            Outcome outcome = outcome(start(options), 20);
            assertEquals(2, outcome.status(), String.join(" ", options));
            String said = outcome.err().lines().findFirst().orElse("");
            assertTrue(said.contains(options[0]), said);
            assertEquals("", outcome.out());
        }
    }

    @Test
    void anInterruptedRunSaysWhatWasDoneSoFar() throws IOException, InterruptedException {
        Process process = start("--json", "--slices", "1000", "--slice-ms", "20", "--jvms", "1");
        assertFalse(process.waitFor(3, TimeUnit.SECONDS), "ended before it was interrupted");
        Process kill = new ProcessBuilder("kill", "-INT", Long.toString(process.pid())).start();
        assertEquals(0, kill.waitFor());
        Outcome outcome = outcome(process, 10);
        assertEquals(130, outcome.status(), outcome.err());
        JsonNode root = new ObjectMapper().readTree(outcome.out());
        assertTrue(root.path("interrupted").asBoolean());
        assertEquals(RatioKey.keys().size(), root.path("ratios").size());
        assertEquals(0, process.descendants().count());
    }
}
