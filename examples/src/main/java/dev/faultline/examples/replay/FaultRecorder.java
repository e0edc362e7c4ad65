package dev.faultline.examples.replay;

import dev.faultline.examples.BadInput;
import dev.faultline.ring.FaultGroup;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import org.jspecify.annotations.Nullable;

/**
 * Writes a fault stream: one JSON object a line for each group, in the order the handler gets them.
 *
 * <p>Threads: one writes. Ownership: who opens it closes it. The lines go to a file beside the target, which takes the
 * target's name in {@link #keep} and is gone after {@link #close} without it: there is never half a recording. Nothing is
 * allocated for a group. Units: {@code t_ns} counts from the start of the run.
 *
 * <pre>{"t_ns":1234,"device":1,"pasid":1,"group":0,"addresses":["0x401a000"],"access":["rx"]}</pre>
 */
public final class FaultRecorder implements AutoCloseable {
    private static final String FIELD = "--record";
    private static final String ALLOWED =
            "a new or regular file in a folder that can be written to, not the input itself";
    private static final int BUFFER_BYTES = 1 << 16;
    /** No more than this for each request, and for the rest of a line. */
    private static final int REQUEST_BYTES = 40;

    private final Path target;
    private final Path partial;
    private final OutputStream out;
    private final byte[] digits = new byte[20];
    private byte[] buffer = new byte[BUFFER_BYTES];
    private int length;
    private long groups;
    private boolean kept;

    private FaultRecorder(Path target, Path partial, OutputStream out) {
        this.target = target;
        this.partial = partial;
        this.out = out;
    }

    /**
     * Opens a recording.
     *
     * @param target where it is to be in the end
     * @param input the file that is read meanwhile, or null
     * @return the open recorder
     * @throws BadInput if the target cannot be written or is the input
     */
    public static FaultRecorder open(Path target, @Nullable Path input) throws BadInput {
        String name = target.toString();
        Path folder = target.toAbsolutePath().getParent();
        if (Files.isDirectory(target) || folder == null) {
            throw new BadInput(FIELD, name, "is a directory", ALLOWED);
        }
        if (Files.exists(target) && !Files.isRegularFile(target)) {
            throw new BadInput(FIELD, name, "is not a regular file", ALLOWED);
        }
        if (!Files.isDirectory(folder)) {
            throw new BadInput(FIELD, name, "there is no folder " + folder, ALLOWED);
        }
        try {
            if (input != null && Files.exists(target) && Files.isSameFile(target, input)) {
                throw new BadInput(FIELD, name, "is the input", ALLOWED);
            }
            if (Files.exists(target) && !Files.isWritable(target)) {
                throw new BadInput(FIELD, name, "cannot be written (permission)", ALLOWED);
            }
            Path partial = Files.createTempFile(folder, "." + target.getFileName() + ".", ".partial");
            return new FaultRecorder(target, partial, Files.newOutputStream(partial));
        } catch (IOException e) {
            throw new BadInput(FIELD, name, "cannot be written (" + e.getMessage() + ")", ALLOWED);
        }
    }

    /** How many groups were written. */
    long groups() {
        return groups;
    }

    /** Writes a group. */
    void write(FaultGroup group, long sinceStartNs) {
        int needed = (group.size() + 4) * REQUEST_BYTES;
        if (buffer.length - length < needed) {
            flush();
            if (buffer.length < needed) {
                buffer = new byte[needed];
            }
        }
        append("{\"t_ns\":");
        append(sinceStartNs);
        append(",\"device\":");
        append(group.device());
        if (group.hasPasid(0)) {
            append(",\"pasid\":");
            append(group.pasid(0));
        }
        append(",\"group\":");
        append(group.groupIndex());
        append(",\"addresses\":[");
        for (int i = 0; i < group.size(); i++) {
            append(i == 0 ? "\"0x" : ",\"0x");
            appendHex(group.address(i));
            append('"');
        }
        append("],\"access\":[");
        for (int i = 0; i < group.size(); i++) {
            append(i == 0 ? "\"" : ",\"");
            int access = group.access(i);
            for (int bit = 0; bit < FaultRecord.ACCESS_LETTERS.length(); bit++) {
                if ((access & 1 << bit) != 0) {
                    append(FaultRecord.ACCESS_LETTERS.charAt(bit));
                }
            }
            append('"');
        }
        append("]}\n");
        groups++;
    }

    /**
     * Gives the recording its name; nothing can be written any more.
     *
     * @throws IOException if the last lines cannot be written or the file not moved
     */
    public void keep() throws IOException {
        try {
            flush();
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
        out.close();
        Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        kept = true;
    }

    @Override
    public void close() throws IOException {
        if (!kept) {
            try {
                out.close();
            } finally {
                Files.deleteIfExists(partial);
            }
        }
    }

    private void flush() {
        try {
            out.write(buffer, 0, length);
        } catch (IOException e) {
            throw new UncheckedIOException(String.valueOf(e.getMessage()), e);
        }
        length = 0;
    }

    private void append(char c) {
        buffer[length++] = (byte) c;
    }

    @SuppressWarnings("deprecation") // ASCII only: the cheap way of copying is the right one
    private void append(String text) {
        text.getBytes(0, text.length(), buffer, length);
        length += text.length();
    }

    private void append(long number) {
        int at = digits.length;
        do {
            digits[--at] = (byte) ('0' + number % 10);
            number /= 10;
        } while (number != 0);
        System.arraycopy(digits, at, buffer, length, digits.length - at);
        length += digits.length - at;
    }

    private void appendHex(long number) {
        int at = digits.length;
        do {
            digits[--at] = HEX[(int) number & 15];
            number >>>= 4;
        } while (number != 0);
        System.arraycopy(digits, at, buffer, length, digits.length - at);
        length += digits.length - at;
    }

    private static final byte[] HEX = "0123456789abcdef".getBytes(StandardCharsets.US_ASCII);
}
