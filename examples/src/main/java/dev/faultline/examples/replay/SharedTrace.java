package dev.faultline.examples.replay;

import dev.faultline.examples.BadInput;
import java.io.IOException;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * One pass over a trace for several threads, each of which sees all of it.
 *
 * <p>Threads: any number, each with its own number below {@code readers}; who comes first to the end of what is decoded
 * decodes on, under the lock. Progress: a reader that is {@code WINDOW} batches ahead of the slowest waits for it, so a
 * reader must {@link #leave} when it stops. Memory: {@code WINDOW} batches, however long the trace.
 */
final class SharedTrace {
    /** Accesses in a batch. */
    static final int BATCH_ENTRIES = 4096;

    private static final int WINDOW = 4;

    /** Some accesses in a row; valid until the reader that has it asks for the next. */
    static final class Batch {
        private final long[] accesses = new long[BATCH_ENTRIES];
        private int size;
        private long first;

        int size() {
            return size;
        }

        /** One of {@link #size}, packed as {@link TraceAccess} says. */
        long access(int i) {
            return accesses[i];
        }

        /** How many accesses of the trace come before this batch. */
        long first() {
            return first;
        }
    }

    private final TraceReader reader;
    private final long limit;
    private final Batch[] ring = new Batch[WINDOW];
    private final long[] taken;
    private long decoded;
    private long accesses;
    private boolean ended;
    private @Nullable BadInput damage;

    /**
     * Shares a trace.
     *
     * @param reader where the accesses come from
     * @param limit accesses after which the trace counts as ended
     * @param readers how many threads take part
     */
    SharedTrace(TraceReader reader, long limit, int readers) {
        this.reader = reader;
        this.limit = limit;
        taken = new long[readers];
        Arrays.setAll(ring, i -> new Batch());
    }

    /**
     * The next batch of a reader; gives back the one it had.
     *
     * @param number the reader
     * @return the batch, or null at the end
     * @throws BadInput if the trace is damaged; every reader is told
     * @throws IOException if reading fails
     * @throws InterruptedException if interrupted while waiting for slower readers
     */
    synchronized @Nullable Batch next(int number) throws BadInput, IOException, InterruptedException {
        long wanted = taken[number]++;
        notifyAll();
        while (wanted == decoded && !ended) {
            if (wanted - slowest() < WINDOW) {
                decode();
            } else {
                wait();
            }
        }
        return wanted < decoded ? ring[(int) (wanted % WINDOW)] : null;
    }

    /** Says that a reader takes no more, so that nobody waits for it. */
    synchronized void leave(int number) {
        taken[number] = Long.MAX_VALUE;
        notifyAll();
    }

    /** The batch that the slowest reader holds: no batch from there on may be overwritten. */
    private long slowest() {
        long least = Long.MAX_VALUE;
        for (long t : taken) {
            least = Math.min(least, t);
        }
        return least - 1;
    }

    /** How many accesses have been decoded. */
    synchronized long accesses() {
        return accesses;
    }

    private void decode() throws BadInput, IOException {
        if (damage != null) {
            throw damage;
        }
        Batch batch = ring[(int) (decoded % WINDOW)];
        batch.first = accesses;
        batch.size = 0;
        while (batch.size < BATCH_ENTRIES && accesses < limit) {
            try {
                if (!reader.next()) {
                    break;
                }
            } catch (BadInput e) {
                damage = e;
                throw e;
            }
            batch.accesses[batch.size++] = reader.access();
            accesses++;
        }
        if (batch.size == 0) {
            ended = true;
        } else {
            decoded++;
        }
    }
}
