package dev.faultline.examples.replay;

import dev.faultline.examples.BadInput;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PushbackInputStream;
import java.nio.channels.Channels;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/**
 * Where a trace comes from: the bundled one, a file or standard input, plain or gzip.
 *
 * <p>Threads: one reads; any thread may ask {@link #consumedBytes}. Ownership: whoever opens it closes it. Standard
 * input is read through a channel, so that interrupting the reader ends a read that waits for a silent pipe.
 */
public final class TraceInput implements AutoCloseable {
    /** The name of the trace that comes with the program. */
    public static final String BUNDLED = "sqlite3.trace.gz";

    static final String ALLOWED =
            "a readable file with a lackey trace (plain or gzip) or a recorded fault stream, or - for standard input";

    private static final int GZIP_BUFFER_BYTES = 1 << 16;

    private final String name;
    private final long sizeBytes;
    private final CountingStream counted;
    private final PushbackInputStream text;
    private final boolean faultStream;

    private TraceInput(String name, long sizeBytes, InputStream raw) throws BadInput, IOException {
        this.name = name;
        this.sizeBytes = sizeBytes;
        counted = new CountingStream(raw);
        try {
            text = new PushbackInputStream(unpacked(counted), 1);
            int first = text.read();
            if (first >= 0) {
                text.unread(first);
            }
            faultStream = first == '{';
        } catch (EOFException e) {
            raw.close();
            throw new BadInput("TRACE", name, "the gzip stream ends too early", "a whole gzip file");
        } catch (ZipException e) {
            raw.close();
            throw new BadInput(
                    "TRACE", name, "the gzip stream is damaged (" + e.getMessage() + ")", "a whole gzip file");
        } catch (IOException e) {
            raw.close();
            throw e;
        }
    }

    /**
     * The trace that comes with the program: a run of sqlite3.
     *
     * @return open input
     * @throws BadInput never, unless the program is damaged
     * @throws IOException if reading fails
     */
    public static TraceInput bundled() throws BadInput, IOException {
        InputStream raw = Objects.requireNonNull(TraceInput.class.getResourceAsStream(BUNDLED), BUNDLED);
        return new TraceInput("(bundled " + BUNDLED + ")", raw.available(), raw);
    }

    /**
     * A file.
     *
     * @param path where it is
     * @return open input
     * @throws BadInput if there is no such file, or it cannot be read
     * @throws IOException if reading fails
     */
    public static TraceInput file(Path path) throws BadInput, IOException {
        String name = path.toString();
        if (!Files.exists(path)) {
            throw new BadInput("TRACE", name, "no such file", ALLOWED);
        }
        if (Files.isDirectory(path)) {
            throw new BadInput("TRACE", name, "is a directory", ALLOWED);
        }
        if (!Files.isReadable(path)) {
            throw new BadInput("TRACE", name, "cannot be read (permission)", ALLOWED);
        }
        long size = Files.isRegularFile(path) ? Files.size(path) : -1;
        return new TraceInput(name, size, Files.newInputStream(path));
    }

    /**
     * Standard input.
     *
     * @return open input
     * @throws BadInput if it begins like gzip and is none
     * @throws IOException if reading fails
     */
    public static TraceInput standardInput() throws BadInput, IOException {
        @SuppressWarnings("resource") // standard input is not ours to close
        InputStream raw = Channels.newInputStream(new FileInputStream(FileDescriptor.in).getChannel());
        return new TraceInput("-", -1, raw);
    }

    private static InputStream unpacked(InputStream raw) throws IOException {
        PushbackInputStream start = new PushbackInputStream(raw, 2);
        byte[] magic = new byte[2];
        int read = start.readNBytes(magic, 0, 2);
        start.unread(magic, 0, read);
        boolean gzip = read == 2 && (magic[0] & 0xff) == 0x1f && (magic[1] & 0xff) == 0x8b;
        return gzip ? new GZIPInputStream(start, GZIP_BUFFER_BYTES) : start;
    }

    /**
     * What the user called it.
     *
     * @return for messages
     */
    public String name() {
        return name;
    }

    /**
     * The size of what is read, as stored.
     *
     * @return bytes, or -1 where nobody knows
     */
    public long sizeBytes() {
        return sizeBytes;
    }

    /**
     * How much of {@link #sizeBytes} has been read.
     *
     * @return bytes
     */
    public long consumedBytes() {
        return counted.bytes;
    }

    /**
     * Whether it holds a recorded fault stream instead of a trace.
     *
     * @return true if it begins with a brace
     */
    public boolean isFaultStream() {
        return faultStream;
    }

    /**
     * The text, unpacked.
     *
     * @return always the same stream
     */
    InputStream text() {
        return text;
    }

    @Override
    public void close() throws IOException {
        text.close();
    }

    private static final class CountingStream extends FilterInputStream {
        private long read;
        private volatile long bytes;

        CountingStream(InputStream in) {
            super(in);
        }

        @Override
        public int read() throws IOException {
            int b = super.read();
            if (b >= 0) {
                bytes = ++read;
            }
            return b;
        }

        @Override
        public int read(byte[] b, int off, int len) throws IOException {
            int n = super.read(b, off, len);
            if (n > 0) {
                read += n;
                bytes = read;
            }
            return n;
        }
    }
}
