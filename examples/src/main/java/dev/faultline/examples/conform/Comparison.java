package dev.faultline.examples.conform;

import dev.faultline.examples.BadInput;
import dev.faultline.ffm.Errno;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;

/** What was recorded of one call against what came out. Threads: one. */
final class Comparison {
    private static final int LAST_ERRNO = 4095;
    private static final int SHOWN = 160;

    private final RecordedLine line;
    private final List<Difference> differences = new ArrayList<>();

    Comparison(RecordedLine line) {
        this.line = line;
    }

    List<Difference> differences() {
        return differences;
    }

    private void add(String what, String expected, String actual) throws BadInput {
        differences.add(
                new Difference(line.group(), line.step(), line.text("case", ""), line.call(), what, expected, actual));
    }

    void same(String what, Object expected, Object actual) throws BadInput {
        if (!expected.equals(actual)) {
            add(what, expected.toString(), actual.toString());
        }
    }

    /** The line's {@code ret} and {@code errno} against a result, which is negative for an error. */
    void result(long result) throws BadInput {
        boolean error = result < 0 && result >= -LAST_ERRNO;
        String errno = error ? Errno.name((int) -result) : "0";
        if (line.has("ret")) {
            same("ret", line.number("ret"), error ? -1L : result);
        }
        if (line.has("errno")) {
            same("errno", line.text("errno"), errno);
        }
    }

    /** A number that the line may give. */
    void number(String field, long actual) throws BadInput {
        if (line.has(field)) {
            same(field, line.number(field), actual);
        }
    }

    /** Says where the first difference is; long ones are cut around it. */
    void bytes(String what, byte[] expected, byte[] actual) throws BadInput {
        int at = Arrays.mismatch(expected, actual);
        if (at >= 0) {
            int from = expected.length <= SHOWN / 2 ? 0 : Math.max(0, at / 8 * 8 - 8);
            add(what + " from byte " + at, hex(expected, from), hex(actual, from));
        }
    }

    private static String hex(byte[] bytes, int from) {
        int start = Math.min(from, bytes.length);
        int end = Math.min(bytes.length, start + SHOWN / 2);
        return (start > 0 ? "..." : "")
                + HexFormat.of().formatHex(bytes, start, end)
                + (end < bytes.length ? "..." : "");
    }
}
