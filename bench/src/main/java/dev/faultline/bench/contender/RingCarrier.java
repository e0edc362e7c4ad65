package dev.faultline.bench.contender;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ffm.Region;
import dev.faultline.ring.internal.EntryReader;
import dev.faultline.ring.internal.EntryWriter;
import dev.faultline.ring.internal.Stamps;
import dev.faultline.ring.internal.WordReader;
import dev.faultline.ring.internal.WordWriter;
import java.lang.foreign.MemorySegment;
import java.util.function.Function;

/**
 * The rings of the fault queue and nothing else: stamped entries out, words back, a batch at a time. No groups, no credits, no table but
 * the requester's own, no account, no deadline.
 */
final class RingCarrier {

    private static final int ENTRIES = 512;
    private static final int WORDS = 1024;
    private static final int BATCH_ENTRIES = 16;
    private static final int LIMIT_ENTRIES = 32;
    private static final long RECORD_OFFSET = 8;

    /** The user's bits of a stamp: there is a fault. */
    private static final long FAULT = 1;

    /** Added to a code, so that a word is never 0. */
    private static final int CODE_BASE = 1;

    private static final long WORDS_OFFSET = (long) ENTRIES * Stamps.ENTRY_BYTES;
    private static final long TAKEN_OFFSET = WORDS_OFFSET + (long) WORDS * Stamps.WORD_BYTES;
    private static final long BYTES = TAKEN_OFFSET + CacheLine.BYTES;

    private RingCarrier() {}

    static Function<Outstanding, Carrier> carrier() {
        return outstanding -> {
            Region region = Region.allocate(BYTES);
            MemorySegment memory = region.segment();
            return new Carrier(new Ask(outstanding, memory), new Alone(memory), region::close);
        };
    }

    private static final class Ask implements Requester {
        private final Outstanding outstanding;
        private final MemorySegment memory;
        private final EntryWriter faults;
        private final WordReader answers;

        Ask(Outstanding outstanding, MemorySegment memory) {
            this.outstanding = outstanding;
            this.memory = memory;
            this.faults = EntryWriter.of(memory, 0, ENTRIES);
            this.answers = WordReader.of(memory, WORDS_OFFSET, WORDS, memory, TAKEN_OFFSET);
        }

        /** The window is smaller than the ring, so the reading end is never lapped. */
        @Override
        public void send(int tag, int group, long address) {
            EntryWriter end = faults;
            FaultRecord.write(memory, end.next() + RECORD_OFFSET, tag, group, address);
            end.stage(FAULT);
            if (end.staged() >= BATCH_ENTRIES) {
                boolean published = end.publish();
                assert published;
            }
        }

        @Override
        public void flush() {
            boolean _ = faults.publish();
        }

        @Override
        public void receive() {
            WordReader end = answers;
            long word;
            while ((word = end.next()) != 0) {
                end.advance();
                outstanding.answered(FaultRecord.low(word), (int) (word >>> 32) - CODE_BASE == FaultRecord.SUCCESS);
            }
            end.release();
        }
    }

    private abstract static class Serve extends PaddedBefore implements Responder {
        private final MemorySegment memory;
        private final EntryReader faults;
        private final WordWriter answers;
        private long readFields;

        Serve(MemorySegment memory) {
            this.memory = memory;
            this.faults = EntryReader.of(memory, 0, ENTRIES);
            this.answers = WordWriter.of(memory, WORDS_OFFSET, WORDS, memory, TAKEN_OFFSET);
        }

        @Override
        public int serve() {
            EntryReader in = faults;
            WordWriter out = answers;
            if (!out.hasRoom(LIMIT_ENTRIES)) {
                throw new IllegalStateException("ring full: words=" + WORDS);
            }
            int served = 0;
            long sum = readFields;
            while (served < LIMIT_ENTRIES && in.next() != 0) {
                long record = in.entry() + RECORD_OFFSET;
                in.advance();
                sum += FaultRecord.sum(memory, record);
                int code = FaultRecord.answerTo(FaultRecord.access(memory, record)) + CODE_BASE;
                out.stage(FaultRecord.pair(FaultRecord.tag(memory, record), code));
                served++;
            }
            readFields = sum;
            out.publish();
            return served;
        }

        @Override
        public long readFields() {
            return readFields;
        }
    }

    @SuppressWarnings("unused") // they are there to take room
    private static final class Alone extends Serve {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(MemorySegment memory) {
            super(memory);
        }
    }
}
