package dev.faultline.stress;

import dev.faultline.ffm.SharedWords;
import dev.faultline.ring.internal.EntryReader;
import dev.faultline.ring.internal.EntryWriter;
import dev.faultline.ring.internal.RingLayout;
import java.lang.foreign.MemorySegment;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.II_Result;

/**
 * Entries through a ring: seen in order, whole, and never before they are published.
 *
 * <p>Would catch: a tail that is stored before the entry's bytes, or read after them (old bytes, or a torn entry); a head that
 * is stored before the last read of the entry, or whose reader writes before it has looked (the new entry seen in the old
 * one's place).
 */
public final class EntryOrder {
    private static final int TORN = -1;
    private static final int TRIES = 200;

    private EntryOrder() {}

    /** Both ends of a ring in plain Java memory; an entry holds one number eight times over. */
    private static final class Ends {
        private final MemorySegment memory;
        final EntryWriter writer;
        final EntryReader reader;

        Ends(int capacity) {
            memory = MemorySegment.ofArray(new long[(int) (RingLayout.bytes(capacity) / Long.BYTES)]);
            writer = new EntryWriter(memory, 0, capacity);
            reader = new EntryReader(memory, 0, capacity);
        }

        boolean write(long value) {
            long entry = writer.claim();
            if (entry < 0) {
                return false;
            }
            for (int i = 0; i < RingLayout.ENTRY_BYTES; i += Long.BYTES) {
                SharedWords.putLong(memory, entry + i, value);
            }
            return true;
        }

        /** The number in the next entry, 0 if there is none. */
        int read() {
            long entry = reader.next();
            if (entry < 0) {
                return 0;
            }
            long value = SharedWords.getLong(memory, entry);
            for (int i = Long.BYTES; i < RingLayout.ENTRY_BYTES; i += Long.BYTES) {
                if (SharedWords.getLong(memory, entry + i) != value) {
                    value = TORN;
                }
            }
            reader.advance();
            return (int) value;
        }
    }

    /** Two entries, each published by itself. */
    @JCStressTest
    @Outcome(id = "0, 0", expect = Expect.ACCEPTABLE, desc = "reader -> first -> second")
    @Outcome(id = "1, 0", expect = Expect.ACCEPTABLE, desc = "first -> reader -> second")
    @Outcome(id = "1, 2", expect = Expect.ACCEPTABLE, desc = "first -> second -> reader")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Second without first, or an entry with old bytes.")
    @State
    public static class OneByOne {
        private final Ends ends = new Ends(2);

        /** Made by jcstress, once for each run of the two actors. */
        public OneByOne() {}

        /** Publishes twice. */
        @Actor
        public void writer() {
            ends.write(1);
            ends.writer.publish();
            ends.write(2);
            ends.writer.publish();
        }

        /**
         * Reads until there is nothing.
         *
         * @param r the two entries
         */
        @Actor
        public void reader(II_Result r) {
            r.r1 = ends.read();
            r.r2 = r.r1 == 0 ? 0 : ends.read();
        }
    }

    /** Two entries, published together. */
    @JCStressTest
    @Outcome(id = "0, 0", expect = Expect.ACCEPTABLE, desc = "reader -> both")
    @Outcome(id = "1, 2", expect = Expect.ACCEPTABLE, desc = "both -> reader")
    @Outcome(expect = Expect.FORBIDDEN, desc = "One without the other, or an entry with old bytes.")
    @State
    public static class Batch {
        private final Ends ends = new Ends(2);

        /** Made by jcstress, once for each run of the two actors. */
        public Batch() {}

        /** Publishes once. */
        @Actor
        public void writer() {
            ends.write(1);
            ends.write(2);
            ends.writer.publish();
        }

        /**
         * Reads until there is nothing.
         *
         * @param r the two entries
         */
        @Actor
        public void reader(II_Result r) {
            r.r1 = ends.read();
            r.r2 = r.r1 == 0 ? 0 : ends.read();
        }
    }

    /** A ring of one entry, full: what is written next takes the place of what is being read. */
    @JCStressTest
    @Outcome(
            id = "1, 0",
            expect = Expect.ACCEPTABLE,
            desc = "read first -> give back -> reader -> second, or no room yet")
    @Outcome(id = "1, 2", expect = Expect.ACCEPTABLE, desc = "read first -> give back -> second -> read second")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Overwritten while it was read, or read again with old bytes.")
    @State
    public static class Reuse {
        private final Ends ends = new Ends(1);

        /** Made by jcstress, once for each run of the two actors. */
        public Reuse() {
            ends.write(1);
            ends.writer.publish();
        }

        /** Writes as soon as there is room. */
        @Actor
        public void writer() {
            for (int i = 0; i < TRIES; i++) {
                if (ends.write(2)) {
                    ends.writer.publish();
                    return;
                }
            }
        }

        /**
         * Reads, gives back, and reads again.
         *
         * @param r the two entries
         */
        @Actor
        public void reader(II_Result r) {
            r.r1 = ends.read();
            ends.reader.release();
            for (int i = 0; i < TRIES && r.r2 == 0; i++) {
                r.r2 = ends.read();
            }
        }
    }
}
