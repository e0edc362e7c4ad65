package dev.faultline.bench.contender;

import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;
import java.util.function.Function;

/** The bare ring with an index instead of stamps: a record to an entry out, six answers to an entry back, each batch published by its tail. */
final class IndexCarrier {

    private static final int ENTRIES = 512;
    private static final int BATCH_ENTRIES = 16;
    private static final int LIMIT_ENTRIES = 32;
    private static final int ANSWERS_PER_ENTRY = 6;
    private static final long COUNT_OFFSET = 0;
    private static final long ANSWERS_OFFSET = 16;

    private IndexCarrier() {}

    static Function<Outstanding, Carrier> carrier() {
        return outstanding -> {
            long bytes = IndexRing.bytes(ENTRIES);
            Region region = Region.allocate(2 * bytes);
            MemorySegment memory = region.segment();
            return new Carrier(new Ask(outstanding, memory, bytes), new Alone(memory, bytes), region::close);
        };
    }

    private static final class Ask implements Requester {
        private final Outstanding outstanding;
        private final MemorySegment memory;
        private final IndexRing.Writer faults;
        private final IndexRing.Reader answers;

        Ask(Outstanding outstanding, MemorySegment memory, long answersBase) {
            this.outstanding = outstanding;
            this.memory = memory;
            this.faults = IndexRing.Writer.of(memory, 0, ENTRIES);
            this.answers = IndexRing.Reader.of(memory, answersBase, ENTRIES);
        }

        @Override
        public void send(int tag, int group, long address) {
            FaultRecord.write(memory, faults.claim(), tag, group, address);
            if (faults.staged() >= BATCH_ENTRIES) {
                faults.publish();
            }
        }

        @Override
        public void flush() {
            faults.publish();
        }

        @Override
        public void receive() {
            long entry;
            while ((entry = answers.next()) >= 0) {
                long count = SharedWords.getLong(memory, entry + COUNT_OFFSET);
                for (int i = 0; i < count; i++) {
                    long word = SharedWords.getLong(memory, entry + ANSWERS_OFFSET + (long) i * Long.BYTES);
                    outstanding.answered(FaultRecord.low(word), (int) (word >>> 32) == FaultRecord.SUCCESS);
                }
                answers.advance();
            }
            answers.release();
        }
    }

    private abstract static class Serve extends PaddedBefore implements Responder {
        private final MemorySegment memory;
        private final IndexRing.Reader faults;
        private final IndexRing.Writer answers;
        private long readFields;

        Serve(MemorySegment memory, long answersBase) {
            this.memory = memory;
            this.faults = IndexRing.Reader.of(memory, 0, ENTRIES);
            this.answers = IndexRing.Writer.of(memory, answersBase, ENTRIES);
        }

        @Override
        public int serve() {
            int served = 0;
            long sum = readFields;
            long open = -1;
            int count = 0;
            long record;
            while (served < LIMIT_ENTRIES && (record = faults.next()) >= 0) {
                sum += FaultRecord.sum(memory, record);
                int code = FaultRecord.answerTo(FaultRecord.access(memory, record));
                if (open < 0 || count == ANSWERS_PER_ENTRY) {
                    open = answers.claim();
                    count = 0;
                }
                SharedWords.putLong(
                        memory,
                        open + ANSWERS_OFFSET + (long) count * Long.BYTES,
                        FaultRecord.pair(FaultRecord.tag(memory, record), code));
                SharedWords.putLong(memory, open + COUNT_OFFSET, ++count);
                faults.advance();
                served++;
            }
            readFields = sum;
            answers.publish();
            faults.release();
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

        Alone(MemorySegment memory, long answersBase) {
            super(memory, answersBase);
        }
    }
}
