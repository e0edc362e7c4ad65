package dev.faultline.examples.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.faultline.examples.cli.FaultlineProcess.Ended;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Recordings given by a user. */
class ConformProcessTest {
    private static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    private static final String HEADER =
            "{\"header\":true,\"kernel\":\"x\",\"later\":[1],\"memory\":{\"arena\":\"0x100000000\",\"arena_len\":65536,"
                    + "\"read_only_page\":\"0x100100000\"}}\n";
    private static final String OPEN =
            "{\"group\":\"g\",\"step\":1,\"op\":\"open\",\"path\":\"/dev/iommu\",\"flags\":2,"
                    + "\"as\":\"iommu\",\"ret\":3,\"errno\":\"0\"}\n";

    /** With the id it should give. */
    private static String queue(int step, int id) {
        return "{\"group\":\"g\",\"step\":" + step + ",\"case\":\"a_queue\",\"op\":\"ioctl\",\"fd\":\"iommu\",\"name\":"
                + "\"IOMMU_FAULT_QUEUE_ALLOC\",\"request\":\"0x3b8e\",\"in_hex\":\"10000000000000000000000000000000\","
                + "\"ret\":0,\"errno\":\"0\",\"out_hex\":\"1000000000000000" + "0" + id + "0000000" + (id + 3)
                + "000000\"}\n";
    }

    @TempDir
    Path folder;

    private Ended conform(String text, String... options) throws Exception {
        Path file = folder.resolve("a.jsonl");
        Files.writeString(file, text);
        String[] words = new String[options.length + 2];
        words[0] = "conform";
        System.arraycopy(options, 0, words, 1, options.length);
        words[options.length + 1] = file.toString();
        return FaultlineProcess.run(folder, words);
    }

    private static String last(Ended e) {
        return e.out().lines().toList().getLast();
    }

    @Test
    void saysThatEverythingIsAsRecorded() throws Exception {
        Ended e = conform(HEADER + OPEN + queue(2, 1) + queue(3, 2));
        assertEquals(0, e.status(), e.err());
        assertEquals(2, e.out().lines().count(), e.out());
        assertEquals("3 passed, 0 failed", last(e));
    }

    @Test
    void saysEveryDifferenceAndGoesOn() throws Exception {
        Ended e = conform(HEADER + OPEN + queue(2, 2) + queue(3, 2) + queue(4, 4));
        assertEquals(1, e.status(), e.err());
        assertEquals("2 passed, 2 failed", last(e));
        String first = e.out().lines().findFirst().orElseThrow();
        assertTrue(first.startsWith("g step 2 (a_queue), ioctl IOMMU_FAULT_QUEUE_ALLOC: struct"), first);
        assertTrue(first.contains("expected 10000000000000000200000005000000"), first);
        assertTrue(first.contains("actual 10000000000000000100000004000000"), first);
    }

    @Test
    void stopsAtTheFirst() throws Exception {
        Ended e = conform(HEADER + OPEN + queue(2, 2) + queue(3, 2) + queue(4, 4), "--first");
        assertEquals(1, e.status(), e.err());
        assertEquals("1 passed, 1 failed", last(e));
    }

    @Test
    void givesOneObject() throws Exception {
        Ended e = conform(HEADER + OPEN + queue(2, 2), "--json");
        assertEquals(1, e.status(), e.err());
        JsonNode node = JSON.readTree(e.out());
        assertEquals("conform", node.get("command").asText());
        assertFalse(node.get("ok").asBoolean());
        assertEquals(1, node.get("passed").asInt());
        assertEquals(1, node.get("failed").asInt());
        JsonNode difference = node.get("files").get(0).get("differences").get(0);
        assertEquals("g", difference.get("group").asText());
        assertEquals(2, difference.get("step").asInt());
        assertEquals("a_queue", difference.get("case").asText());
        assertEquals("mismatch", node.get("error").get("kind").asText());
    }

    @Test
    void takesGroupsOneAfterAnotherEachInAProcessOfItsOwn() throws Exception {
        String second = (OPEN + queue(2, 1)).replace("\"group\":\"g\"", "\"group\":\"h\"");
        Ended e = conform(HEADER + OPEN + queue(2, 1) + second + HEADER + OPEN + queue(2, 1));
        assertEquals(0, e.status(), e.out() + e.err());
        assertEquals("6 passed, 0 failed", last(e));
    }

    @Test
    void performsWhatIsNotExactAndDoesNotCountIt() throws Exception {
        String notExact = queue(2, 5).replace("\"ret\":0", "\"exact\":false,\"ret\":0");
        Ended e = conform(HEADER + OPEN + notExact + queue(3, 2));
        assertEquals(0, e.status(), e.out() + e.err());
        assertEquals("2 passed, 0 failed", last(e));
    }

    @Test
    void failsAnOperationItDoesNotKnow() throws Exception {
        String line = "{\"group\":\"g\",\"step\":2,\"op\":\"dance\",\"ret\":0}\n";
        Ended e = conform(HEADER + OPEN + line);
        assertEquals(1, e.status(), e.err());
        assertEquals("1 passed, 1 failed", last(e));
        e = conform(HEADER + OPEN + line.replace("\"ret\"", "\"exact\":false,\"ret\""));
        assertEquals(0, e.status(), e.err());
        assertEquals("1 passed, 0 failed", last(e));
    }

    @Test
    void copiesOfDescriptorsAreClosedOneByOne() throws Exception {
        String dup =
                "{\"group\":\"g\",\"step\":3,\"op\":\"dup\",\"fd\":\"fault\",\"as\":\"copy\",\"ret\":5,\"errno\":\"0\"}\n";
        String close = "{\"group\":\"g\",\"step\":4,\"op\":\"close\",\"fd\":\"fault\",\"ret\":0,\"errno\":\"0\"}\n";
        String destroy = "{\"group\":\"g\",\"step\":5,\"op\":\"ioctl\",\"fd\":\"iommu\",\"name\":\"IOMMU_DESTROY\","
                + "\"in_hex\":\"0800000001000000\",\"ret\":-1,\"errno\":\"EBUSY\",\"out\":\"unchanged\"}\n";
        String read =
                "{\"group\":\"g\",\"step\":6,\"op\":\"read\",\"fd\":\"copy\",\"count\":40,\"buf\":\"0x100000000\","
                        + "\"writable\":40,\"ret\":0,\"errno\":\"0\",\"touched\":0}\n";
        Ended e = conform(HEADER + OPEN + queue(2, 1) + dup + close + destroy + read);
        assertEquals(0, e.status(), e.out() + e.err());
        assertEquals("6 passed, 0 failed", last(e));
    }

    @Test
    void refusesWhatIsNoRecording() throws Exception {
        refused("op", "line 2", conform(HEADER + "{\"group\":\"g\",\"step\":1}\n"));
        refused("FILE", "line 3 column", conform(HEADER + OPEN + "{\"group\":\n"));
        refused("header", "line 1", conform(OPEN));
        refused("FILE", "a.jsonl", conform(""));
        refused("memory", "line 1", conform("{\"header\":true}\n" + OPEN));
        refused("memory.arena_len", "line 1", conform(HEADER.replace("65536", "-1") + OPEN));
        refused("in_hex", "line 3", conform(HEADER + OPEN + queue(2, 1).replace("\"10000000", "\"1000000x")));
        refused("fd", "line 3", conform(HEADER + OPEN + queue(2, 1).replace("\"fd\":\"iommu\",", "")));
        refused("FILE", "gone.jsonl", FaultlineProcess.run(folder, "conform", "gone.jsonl"));
        refused("FILE", "", FaultlineProcess.run(folder, "conform"));
    }

    private static void refused(String field, String where, Ended e) throws IOException {
        assertEquals(2, e.status(), e.out() + e.err());
        assertTrue(e.err().contains(field) && e.err().contains(where), e.err());
        assertEquals("", e.out());
    }
}
