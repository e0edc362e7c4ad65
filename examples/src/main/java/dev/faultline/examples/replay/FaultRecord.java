package dev.faultline.examples.replay;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MappingIterator;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.faultline.examples.BadInput;
import java.io.BufferedReader;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.zip.ZipException;
import org.jspecify.annotations.Nullable;

/**
 * One group of a recorded fault stream.
 *
 * <p>Immutable by convention: the arrays are the record's own. Units: {@code atNs} nanoseconds from the start of the run,
 * addresses in bytes.
 *
 * @param atNs when it was raised
 * @param device the device's id
 * @param pasid the PASID, or -1 for none
 * @param group the device's index for the group
 * @param addresses what was asked for
 * @param access the access wanted of each, bits of {@link dev.faultline.ffm.PageFaultLayout}
 */
@SuppressWarnings("ArrayRecordComponent") // read once, line by line; nobody compares records
record FaultRecord(long atNs, int device, int pasid, int group, long[] addresses, int[] access) {
    /** What a bit of an access is written as: read, write, execute, privileged. */
    static final String ACCESS_LETTERS = "rwxp";

    static final int LARGEST_GROUP = 2048;

    private static final String ALLOWED = "lines as --record writes them: {\"t_ns\":0,\"device\":1,\"pasid\":1,"
            + "\"group\":0,\"addresses\":[\"0x1000\"],\"access\":[\"r\"]}";

    /** Reads a stream of records, a line at a time. Threads: one. Ownership: the stream stays the caller's. */
    static final class Reader {
        private static final ObjectMapper JSON =
                new ObjectMapper().enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION);
        private static final int LONGEST_LINE = 1 << 18;

        private final BufferedReader in;
        private final String name;
        private final StringBuilder text = new StringBuilder();
        private long line;

        Reader(InputStream in, String name) {
            this.in = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8));
            this.name = name;
        }

        @Nullable
        FaultRecord next() throws BadInput, IOException {
            while (readLine()) {
                if (!text.toString().isBlank()) {
                    return parse(text.toString());
                }
            }
            return null;
        }

        private boolean readLine() throws BadInput, IOException {
            text.setLength(0);
            line++;
            try {
                int c;
                while ((c = in.read()) >= 0 && c != '\n') {
                    if (text.length() == LONGEST_LINE) {
                        throw bad("longer than " + LONGEST_LINE + " characters");
                    }
                    text.append((char) c);
                }
                return c >= 0 || !text.isEmpty();
            } catch (EOFException | ZipException e) {
                throw new BadInput("TRACE", name, "the gzip stream ends too early or is damaged", "a whole gzip file");
            }
        }

        private FaultRecord parse(String json) throws BadInput {
            JsonNode node;
            try (MappingIterator<JsonNode> values =
                    JSON.readerFor(JsonNode.class).readValues(json)) {
                node = values.next();
                if (values.hasNext()) {
                    throw bad("more than one object");
                }
            } catch (JsonProcessingException e) {
                throw bad("not JSON ("
                        + e.getOriginalMessage().lines().findFirst().orElse("") + ")");
            } catch (IOException | RuntimeException e) {
                throw bad("not JSON");
            }
            if (!node.isObject()) {
                throw bad("not an object");
            }
            long atNs = number(node, "t_ns", Long.MAX_VALUE);
            int device = (int) number(node, "device", Integer.MAX_VALUE);
            int pasid = node.has("pasid") ? (int) number(node, "pasid", (1 << 20) - 1) : -1;
            int group = (int) number(node, "group", Integer.MAX_VALUE);
            JsonNode addresses = array(node, "addresses");
            JsonNode access = array(node, "access");
            if (addresses.isEmpty() || addresses.size() > LARGEST_GROUP || addresses.size() != access.size()) {
                throw bad("addresses and access must be arrays of one length, 1 to " + LARGEST_GROUP);
            }
            long[] at = new long[addresses.size()];
            int[] wanted = new int[at.length];
            for (int i = 0; i < at.length; i++) {
                at[i] = address(addresses.get(i));
                wanted[i] = access(access.get(i));
            }
            return new FaultRecord(atNs, device, pasid, group, at, wanted);
        }

        private long number(JsonNode node, String key, long most) throws BadInput {
            JsonNode value = node.path(key);
            if (!value.isIntegralNumber()
                    || !value.canConvertToLong()
                    || value.longValue() < 0
                    || value.longValue() > most) {
                throw bad("\"" + key + "\" is not a whole number from 0 to " + most);
            }
            return value.longValue();
        }

        private JsonNode array(JsonNode node, String key) throws BadInput {
            JsonNode value = node.path(key);
            if (!value.isArray()) {
                throw bad("\"" + key + "\" is not an array");
            }
            return value;
        }

        private long address(JsonNode node) throws BadInput {
            String hex = node.asText();
            if (node.isTextual() && hex.matches("0x[0-9a-fA-F]{1,12}")) {
                return Long.parseLong(hex, 2, hex.length(), 16);
            }
            throw bad("an address is not \"0x\" and up to 12 hexadecimal digits");
        }

        private int access(JsonNode node) throws BadInput {
            String letters = node.asText();
            int bits = 0;
            for (int i = 0; i < letters.length(); i++) {
                int bit = ACCESS_LETTERS.indexOf(letters.charAt(i));
                if (bit < 0) {
                    bits = 0;
                    break;
                }
                bits |= 1 << bit;
            }
            if (!node.isTextual() || bits == 0) {
                throw bad("an access is not of the letters " + ACCESS_LETTERS);
            }
            return bits;
        }

        private BadInput bad(String problem) {
            return new BadInput("TRACE", name + " line " + line, problem, ALLOWED);
        }
    }
}
