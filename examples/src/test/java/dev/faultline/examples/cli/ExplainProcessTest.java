package dev.faultline.examples.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.faultline.examples.cli.FaultlineProcess.Ended;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Walks told to a user. */
class ExplainProcessTest {
    private static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    @TempDir
    Path folder;

    @Test
    void tellsAWalkInWords() throws Exception {
        Ended e = FaultlineProcess.run(folder, "explain", "0x1234");
        assertEquals(0, e.status(), e.err());
        assertEquals(6, e.out().lines().count(), e.out());
        assertTrue(e.out().startsWith("0x1234 in x86-64, 4 levels"), e.out());
        assertTrue(e.out().contains("(P RW US A D XD): page of 4 KiB at 0x100100000"), e.out());
        assertTrue(e.out().contains("physical address 0x100100234, page of 4.00 KiB, allowed: read write"), e.out());
    }

    @Test
    void tellsEveryFormat() throws Exception {
        for (String format : new String[] {"x86", "vtd-second", "arm", "arm-second"}) {
            JsonNode node = json("--format", format, "0x200fff");
            assertEquals(3, node.get("steps").size());
            assertEquals("0x100200fff", node.get("physical").asText());
            assertEquals(2 << 20, node.get("bytes").asInt());
            assertTrue(node.get("rights").asText().startsWith("read write"), node::toString);
        }
    }

    @Test
    void tellsBothStages() throws Exception {
        for (String format : new String[] {"x86", "arm"}) {
            JsonNode node = json("--format", format, "--nested", "4660");
            assertEquals("0x1234", node.get("address").asText());
            assertEquals(4 * (3 + 1) + 3, node.get("steps").size(), "large pages below: three reads each");
            assertEquals(2, node.get("steps").get(0).get("stage").asInt());
            assertEquals("0x10000", node.get("steps").get(0).get("input").asText(), "the guest's root");
            assertEquals("0x100100234", node.get("physical").asText());
            assertEquals(4096, node.get("bytes").asInt());
            assertTrue(node.toString().contains("dirty, accessed"), node::toString);
            String rights =
                    json("--format", format, "--nested", "0x2000").get("rights").asText();
            assertTrue(rights.startsWith("read") && !rights.contains("write"), rights);
        }
    }

    @Test
    void tellsWhyAnAddressEndsNowhere() throws Exception {
        JsonNode node = json("0x3000");
        assertFalse(node.get("translated").asBoolean());
        assertTrue(node.get("physical").isNull());
        assertEquals("not present", node.get("end").asText());
        Ended e = FaultlineProcess.run(folder, "explain", "0x8000_0000_0000");
        assertEquals(0, e.status(), e.err());
        assertTrue(
                e.out().contains("ends nowhere: not an address that is translated, allowed 0 to 0x7fffffffffff"),
                e.out());
    }

    @Test
    void namesBadInput() throws Exception {
        Ended e = FaultlineProcess.run(folder, "explain", "--json", "0xq");
        assertEquals(2, e.status());
        JsonNode error = JSON.readTree(e.out()).get("error");
        assertEquals("ADDRESS", error.get("field").asText());
        assertEquals("0xq", error.get("value").asText());
        assertEquals(
                2, FaultlineProcess.run(folder, "explain", "--format", "sparc").status());
        e = FaultlineProcess.run(folder, "explain", "--format", "vtd-second", "--nested");
        assertEquals(2, e.status());
        assertTrue(e.err().contains("x86 or arm with --nested"), e.err());
    }

    private JsonNode json(String... words) throws Exception {
        String[] all = new String[words.length + 2];
        all[0] = "explain";
        all[1] = "--json";
        System.arraycopy(words, 0, all, 2, words.length);
        Ended e = FaultlineProcess.run(folder, all);
        assertEquals(0, e.status(), e.err());
        JsonNode node = JSON.readTree(e.out());
        assertEquals("explain", node.get("command").asText());
        assertTrue(node.get("ok").asBoolean());
        return node;
    }
}
