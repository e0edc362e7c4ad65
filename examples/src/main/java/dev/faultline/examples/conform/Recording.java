package dev.faultline.examples.conform;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.faultline.examples.BadInput;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/**
 * A conversation recorded from a kernel: JSON, a line a call, with a header first. A later header, or a new group, begins a new
 * process.
 *
 * <p>Immutable.
 *
 * @param name the file
 * @param lines the headers and the calls, in order; the first is a header
 */
public record Recording(String name, List<RecordedLine> lines) {
    private static final String FIELD = "FILE";
    private static final String ALLOWED = "a readable recording, one JSON object a line, or - for standard input";
    private static final ObjectMapper JSON = new ObjectMapper()
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY);

    /** Keeps a copy of the list. */
    public Recording {
        lines = List.copyOf(lines);
    }

    /**
     * Reads a recording.
     *
     * @param name of a file, which is compressed if that ends in {@code .gz}, or {@code -} for standard input
     * @return the recording
     * @throws BadInput if there is no such file, or it is no recording
     * @throws IOException if reading fails
     */
    public static Recording read(String name) throws BadInput, IOException {
        return parse(name, text(name));
    }

    private static String text(String name) throws BadInput, IOException {
        byte[] bytes;
        if (name.equals("-")) {
            bytes = System.in.readAllBytes();
        } else {
            Path path = Path.of(name);
            if (!Files.exists(path)) {
                throw new BadInput(FIELD, name, "no such file", ALLOWED);
            }
            if (Files.isDirectory(path)) {
                throw new BadInput(FIELD, name, "is a directory", ALLOWED);
            }
            if (!Files.isReadable(path)) {
                throw new BadInput(FIELD, name, "cannot be read (permission)", ALLOWED);
            }
            bytes = name.endsWith(".gz") ? unpacked(name, path) : Files.readAllBytes(path);
        }
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(java.nio.ByteBuffer.wrap(bytes))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new BadInput(FIELD, name, "is no text", ALLOWED);
        }
    }

    private static byte[] unpacked(String name, Path path) throws BadInput, IOException {
        try (GZIPInputStream in = new GZIPInputStream(Files.newInputStream(path))) {
            return in.readAllBytes();
        } catch (ZipException | EOFException e) {
            throw new BadInput(FIELD, name, "is no gzip file, or a part of one", ALLOWED);
        }
    }

    /** Takes the text of a recording apart. */
    static Recording parse(String name, String text) throws BadInput {
        List<RecordedLine> lines = new ArrayList<>();
        int number = 0;
        for (String line : text.lines().toList()) {
            number++;
            if (!line.isBlank()) {
                lines.add(new RecordedLine(name, number, object(name, number, line)));
            }
        }
        if (lines.isEmpty()) {
            throw new BadInput(FIELD, name, "is empty", ALLOWED);
        }
        if (!lines.getFirst().isHeader()) {
            throw lines.getFirst().bad("header", "is missing", "true, on a first line that says the caller's memory");
        }
        for (RecordedLine line : lines) {
            if (!line.isHeader()) {
                var _ = line.text("op");
            }
        }
        return new Recording(name, lines);
    }

    private static JsonNode object(String name, int number, String line) throws BadInput {
        String where = name + " line " + number;
        try {
            JsonNode node = JSON.readTree(line);
            if (!node.isObject()) {
                throw new BadInput(FIELD, where, "is no JSON object", ALLOWED);
            }
            return node;
        } catch (JsonProcessingException e) {
            JsonLocation at = e.getLocation();
            throw new BadInput(
                    FIELD,
                    where + (at == null ? "" : " column " + at.getColumnNr()),
                    "is broken JSON (" + e.getOriginalMessage() + ")",
                    ALLOWED);
        }
    }
}
