package dev.faultline.examples.conform;

import com.fasterxml.jackson.databind.JsonNode;
import dev.faultline.examples.BadInput;
import java.math.BigInteger;
import java.util.HexFormat;
import java.util.Locale;

/**
 * A line of a recording: the header, or a call.
 *
 * <p>Threads: one. Errors: a field that is missing or of the wrong kind is {@link BadInput}, with the file and the line.
 */
final class RecordedLine {
    private static final BigInteger LEAST = BigInteger.valueOf(Long.MIN_VALUE);
    private static final BigInteger MOST = BigInteger.ONE.shiftLeft(Long.SIZE).subtract(BigInteger.ONE);

    private final String file;
    private final int number;
    private final JsonNode node;

    RecordedLine(String file, int number, JsonNode node) {
        this.file = file;
        this.number = number;
        this.node = node;
    }

    BadInput bad(String field, String problem, String allowed) {
        return new BadInput(field, file + " line " + number, problem, allowed);
    }

    boolean isHeader() {
        return node.path("header").asBoolean(false);
    }

    /** Whether the call is for comparing. */
    boolean counts() {
        return node.path("exact").asBoolean(true);
    }

    boolean has(String field) {
        return node.hasNonNull(field);
    }

    /** The JSON of a field, to walk in. */
    JsonNode json(String field) {
        return node.path(field);
    }

    /** The object in a field as a line of its own. */
    RecordedLine object(String field) throws BadInput {
        JsonNode inner = node.path(field);
        if (!inner.isObject()) {
            throw bad(field, inner.isMissingNode() ? "is missing" : "is no object", "an object");
        }
        return new RecordedLine(file, number, inner);
    }

    /** The objects in a field, each as a line of its own. */
    java.util.List<RecordedLine> objects(String field) throws BadInput {
        JsonNode list = node.path(field);
        if (!list.isArray()) {
            throw bad(field, list.isMissingNode() ? "is missing" : "is no list", "a list");
        }
        java.util.List<RecordedLine> lines = new java.util.ArrayList<>();
        for (JsonNode element : list) {
            lines.add(new RecordedLine(file, number, element));
        }
        return lines;
    }

    String text(String field) throws BadInput {
        JsonNode value = node.path(field);
        if (!value.isTextual()) {
            throw bad(field, value.isMissingNode() ? "is missing" : "is no text", "a text");
        }
        return value.textValue();
    }

    String text(String field, String otherwise) throws BadInput {
        return has(field) ? text(field) : otherwise;
    }

    /** A number of 64 bits, signed or not, as a number or as text that begins with 0x. */
    long number(String field) throws BadInput {
        JsonNode value = node.path(field);
        String allowed = "a whole number of 64 bits, or one in hexadecimal as text";
        if (value.isIntegralNumber()) {
            BigInteger wide = value.bigIntegerValue();
            if (wide.compareTo(LEAST) >= 0 && wide.compareTo(MOST) <= 0) {
                return wide.longValue();
            }
        } else if (value.isTextual()) {
            String text = value.textValue().toLowerCase(Locale.ROOT);
            try {
                return text.startsWith("0x") ? Long.parseUnsignedLong(text.substring(2), 16) : Long.parseLong(text);
            } catch (NumberFormatException e) {
                throw bad(field, "is no number: " + value.textValue(), allowed);
            }
        }
        throw bad(field, value.isMissingNode() ? "is missing" : "is no number: " + value, allowed);
    }

    long number(String field, long otherwise) throws BadInput {
        return has(field) ? number(field) : otherwise;
    }

    byte[] bytes(String field) throws BadInput {
        String text = text(field);
        try {
            return HexFormat.of().parseHex(text);
        } catch (IllegalArgumentException e) {
            throw bad(
                    field,
                    "is no hexadecimal: " + (text.length() < 40 ? text : text.substring(0, 40) + "..."),
                    "two hexadecimal digits a byte");
        }
    }

    String group() throws BadInput {
        return text("group", "");
    }

    long step() throws BadInput {
        return number("step", number);
    }

    /** What the call is, for people. */
    String call() throws BadInput {
        String op = text("op");
        return has("name") ? op + " " + text("name") : has("fd") ? op + " of " + text("fd") : op;
    }
}
