package dev.faultline.examples.replay;

import dev.faultline.examples.BadInput;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.zip.ZipException;

/**
 * Reads what {@code valgrind --tool=lackey --trace-mem=yes} writes, one access at a time.
 *
 * <p>Threads: one. Ownership: the stream stays the caller's. Memory: one buffer, however long the trace; nothing is
 * allocated for a line. Lines that begin with {@code ==} are valgrind's words and are passed over, empty lines too; a
 * line may end in CR LF.
 */
final class TraceReader {
    /** No access line comes near this; a longer one is not a trace. Valgrind's own words may be longer. */
    static final int LONGEST_LINE_BYTES = 256;

    static final String ALLOWED_LINE =
            "\"I  addr,size\", \" L addr,size\", \" S addr,size\" or \" M addr,size\" as lackey writes them";

    private static final int BUFFER_BYTES = 1 << 16;

    private final InputStream in;
    private final String name;
    private final byte[] buffer = new byte[BUFFER_BYTES];
    private int position;
    private int end;
    private boolean ended;
    private long line;
    private long access;

    /**
     * Reads from a stream.
     *
     * @param in plain text
     * @param name what the user called it, for messages
     */
    TraceReader(InputStream in, String name) {
        this.in = in;
        this.name = name;
    }

    /**
     * Goes to the next access.
     *
     * @return false at the end
     * @throws BadInput if a line is none of a trace, or the stream is damaged
     * @throws IOException if reading fails
     */
    boolean next() throws BadInput, IOException {
        while (true) {
            if (end - position < LONGEST_LINE_BYTES + 2 && !ended) {
                fill();
            }
            if (position == end) {
                return false;
            }
            line++;
            byte first = buffer[position];
            if (first == '=' && position + 1 < end && buffer[position + 1] == '=') {
                skipLine();
            } else if (first == '\n') {
                position++;
            } else if (first == '\r' && position + 1 < end && buffer[position + 1] == '\n') {
                position += 2;
            } else {
                parse();
                return true;
            }
        }
    }

    /** The access {@link #next} went to, packed as {@link TraceAccess} says. */
    long access() {
        return access;
    }

    /** The line {@link #next} went to, from 1. */
    long line() {
        return line;
    }

    private void parse() throws BadInput {
        int at = position;
        int kind;
        if (startsWith(at, 'I', ' ')) {
            kind = TraceAccess.EXECUTE;
        } else if (startsWith(at, ' ', 'L')) {
            kind = TraceAccess.LOAD;
        } else if (startsWith(at, ' ', 'S')) {
            kind = TraceAccess.STORE;
        } else if (startsWith(at, ' ', 'M')) {
            kind = TraceAccess.MODIFY;
        } else {
            throw malformed("not an access");
        }
        if (at + 2 >= end || buffer[at + 2] != ' ') {
            throw malformed("not an access");
        }
        at += 3;

        long address = 0;
        int digits = 0;
        for (int digit; at < end && (digit = hexDigit(buffer[at])) >= 0; at++, digits++) {
            if (address >= TraceAccess.ADDRESS_LIMIT) {
                continue;
            }
            address = address << 4 | digit;
        }
        if (digits == 0 || digits > LONGEST_LINE_BYTES || at >= end || buffer[at] != ',') {
            throw malformed("no address");
        }
        at++;

        int bytes = 0;
        int firstDigit = at;
        for (; at < end && buffer[at] >= '0' && buffer[at] <= '9'; at++) {
            bytes = Math.min(bytes * 10 + (buffer[at] - '0'), TraceAccess.PAGE_BYTES + 1);
        }
        if (at == firstDigit) {
            throw malformed("no size");
        }
        if (at < end && buffer[at] == '\r') {
            at++;
        }
        if (at < end && buffer[at] != '\n') {
            throw malformed("more than an access");
        }
        if (bytes < 1 || bytes > TraceAccess.PAGE_BYTES) {
            throw bad("size out of range in " + excerpt(), "1 to " + TraceAccess.PAGE_BYTES + " bytes");
        }
        if (address + bytes > TraceAccess.ADDRESS_LIMIT) {
            throw bad("address out of range in " + excerpt(), "accesses that end at or below 1000000000000 (2^48)");
        }
        position = at < end ? at + 1 : at;
        access = TraceAccess.pack(kind, address, bytes);
    }

    private boolean startsWith(int at, char first, char second) {
        return at + 1 < end && buffer[at] == first && buffer[at + 1] == second;
    }

    private static int hexDigit(byte c) {
        if (c >= '0' && c <= '9') {
            return c - '0';
        }
        int lower = c | 0x20;
        return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
    }

    private void skipLine() throws BadInput, IOException {
        while (true) {
            for (; position < end; position++) {
                if (buffer[position] == '\n') {
                    position++;
                    return;
                }
            }
            if (ended) {
                return;
            }
            fill();
        }
    }

    private void fill() throws BadInput, IOException {
        System.arraycopy(buffer, position, buffer, 0, end - position);
        end -= position;
        position = 0;
        while (end < LONGEST_LINE_BYTES + 2) {
            int read;
            try {
                read = in.read(buffer, end, buffer.length - end);
            } catch (EOFException e) {
                throw new BadInput("TRACE", name, "the gzip stream ends too early", "a whole gzip file");
            } catch (ZipException e) {
                throw new BadInput(
                        "TRACE", name, "the gzip stream is damaged (" + e.getMessage() + ")", "a whole gzip file");
            }
            if (read < 0) {
                ended = true;
                return;
            }
            end += read;
        }
    }

    private BadInput malformed(String what) {
        int length = lineLength();
        if (length > LONGEST_LINE_BYTES) {
            return bad("longer than " + LONGEST_LINE_BYTES + " bytes: " + excerpt(), ALLOWED_LINE);
        }
        return bad(what + ": " + excerpt(), ALLOWED_LINE);
    }

    private BadInput bad(String problem, String allowed) {
        return new BadInput("TRACE", name + " line " + line, problem, allowed);
    }

    private int lineLength() {
        int length = 0;
        while (position + length < end && buffer[position + length] != '\n') {
            length++;
        }
        return length;
    }

    private String excerpt() {
        int length = lineLength();
        int shown = Math.min(length, 48);
        String text = new String(buffer, position, shown, StandardCharsets.ISO_8859_1).stripTrailing();
        return "\"" + text.replaceAll("[^ -~]", "?") + (length > shown ? "..." : "") + "\"";
    }
}
