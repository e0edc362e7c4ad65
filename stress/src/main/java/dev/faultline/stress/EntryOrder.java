package dev.faultline.stress;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.SharedWords;
import dev.faultline.ring.internal.EntryReader;
import dev.faultline.ring.internal.EntryWriter;
import dev.faultline.ring.internal.Stamps;
import dev.faultline.ring.internal.WordReader;
import dev.faultline.ring.internal.WordWriter;
import java.lang.foreign.MemorySegment;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.II_Result;

/**
 * Entries and words through a ring: seen in order, whole, and never before they are published.
 *
 * <p>Would catch: a stamp that is stored before the entry's bytes, or read after them (old bytes, or a torn entry); a batch whose
 * first stamp is stored before the others; a count of words taken that is stored before the last read of a word, or whose reader
 * writes before it has looked (the new word seen in the old one's place); a read posted again before its entry was read.
 */
public final class EntryOrder {
    private static final int TORN = -1;
    private static final int TRIES = 200;

    private EntryOrder() {}

    /** Both ends of a ring of entries, and of one of words back, in plain Java memory; an entry holds one number seven times. */
    private static final class Ends {
        private static final int WORD_CAPACITY = 2;
        private static final long WORDS = 2L * CacheLine.BYTES;
        private static final long TAKEN = 3L * CacheLine.BYTES;

        private final MemorySegment memory = MemorySegment.ofArray(new long[4 * CacheLine.BYTES / Long.BYTES]);
        final EntryWriter writer;
        final EntryReader reader;
        final WordWriter wordWriter = WordWriter.of(memory, WORDS, WORD_CAPACITY, memory, TAKEN);
        final WordReader wordReader = WordReader.of(memory, WORDS, WORD_CAPACITY, memory, TAKEN);

        /** With a ring of so many entries: one more than are staged at once. */
        Ends(int entries) {
            writer = EntryWriter.of(memory, 0, entries);
            reader = EntryReader.of(memory, 0, entries);
        }

        void write(long value) {
            long entry = writer.next();
            for (int i = Long.BYTES; i < Stamps.ENTRY_BYTES; i += Long.BYTES) {
                SharedWords.putLong(memory, entry + i, value);
            }
            writer.stage(value);
        }

        /** The number in the next entry, 0 if there is none. */
        int read() {
            long value = reader.next();
            if (value == 0) {
                return 0;
            }
            long entry = reader.entry();
            for (int i = Long.BYTES; i < Stamps.ENTRY_BYTES; i += Long.BYTES) {
                if (SharedWords.getLong(memory, entry + i) != value) {
                    value = TORN;
                }
            }
            reader.advance();
            return (int) value;
        }

        boolean writeWord(long value) {
            if (!wordWriter.hasRoom(1)) {
                return false;
            }
            wordWriter.stage(value);
            wordWriter.publish();
            return true;
        }

        int readWord() {
            long value = wordReader.next();
            if (value != 0) {
                wordReader.advance();
            }
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
        private final Ends ends = new Ends(3);

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

    /** A ring of two entries, full: the third takes the place of the first, once a word has said that it was read. */
    @JCStressTest
    @Outcome(id = "1, 0", expect = Expect.ACCEPTABLE, desc = "read first -> reader -> third, or no word yet")
    @Outcome(id = "1, 3", expect = Expect.ACCEPTABLE, desc = "read first -> word -> third -> read third")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Overwritten while it was read, or read again with old bytes.")
    @State
    public static class Reuse {
        private final Ends ends = new Ends(2);

        /** Made by jcstress, once for each run of the two actors. */
        public Reuse() {
            ends.write(1);
            ends.writer.publish();
            ends.write(2);
            ends.writer.publish();
        }

        /** Writes as soon as the word is there. */
        @Actor
        public void writer() {
            for (int i = 0; i < TRIES; i++) {
                if (ends.readWord() != 0) {
                    ends.write(3);
                    ends.writer.publish();
                    return;
                }
            }
        }

        /**
         * Reads, says so, and reads what lies in the same place afterwards.
         *
         * @param r the first and the third entry
         */
        @Actor
        public void reader(II_Result r) {
            r.r1 = ends.read();
            ends.writeWord(1);
            ends.reader.advance();
            for (int i = 0; i < TRIES && r.r2 == 0; i++) {
                r.r2 = ends.read();
            }
        }
    }

    /** A ring with room for one word, full: there is room for the next when that was taken. */
    @JCStressTest
    @Outcome(id = "1, 0", expect = Expect.ACCEPTABLE, desc = "take first -> reader -> second, or no room yet")
    @Outcome(id = "1, 2", expect = Expect.ACCEPTABLE, desc = "take first -> give back -> second -> take second")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Overwritten before it was taken, or taken twice.")
    @State
    public static class WordAgain {
        private final Ends ends = new Ends(2);

        /** Made by jcstress, once for each run of the two actors. */
        public WordAgain() {
            ends.writeWord(1);
        }

        /** Writes as soon as there is room. */
        @Actor
        public void writer() {
            for (int i = 0; i < TRIES; i++) {
                if (ends.writeWord(2)) {
                    return;
                }
            }
        }

        /**
         * Takes, gives back, and takes again.
         *
         * @param r the two words
         */
        @Actor
        public void reader(II_Result r) {
            r.r1 = ends.readWord();
            ends.wordReader.release();
            for (int i = 0; i < TRIES && r.r2 == 0; i++) {
                r.r2 = ends.readWord();
            }
        }
    }
}
