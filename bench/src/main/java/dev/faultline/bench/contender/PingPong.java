package dev.faultline.bench.contender;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * The yardstick: a word there and a word back, on two lines of their own, with {@link Thread#onSpinWait} while waiting.
 *
 * <p>The pair of lines moves with each round trip over 512 lines in all: one fixed pair falls into one of two speeds, by chance, for a whole run.
 *
 * <p>The segment is a constant to the compiler, so the memory access costs nothing but the memory.
 */
final class PingPong implements Contest {

    private static final int PAIRS = 256;
    private static final MemorySegment LINES = Arena.global().allocate(2L * PAIRS * CacheLine.BYTES, CacheLine.BYTES);
    private static final long ANSWERS_OFFSET = (long) PAIRS * CacheLine.BYTES;

    private long requested;
    private long answered;

    private static long lineOffset(long number) {
        return (number & (PAIRS - 1)) * CacheLine.BYTES;
    }

    @Override
    public int request(int roundTrips) {
        long number = requested;
        for (int i = 0; i < roundTrips; i++) {
            number++;
            long offset = lineOffset(number);
            SharedWords.setLongRelease(LINES, offset, number);
            while (SharedWords.getLongAcquire(LINES, ANSWERS_OFFSET + offset) != number) {
                Thread.onSpinWait();
            }
        }
        requested = number;
        return roundTrips;
    }

    @Override
    public void end() {}

    @Override
    public void respond(StopFlag stop) {
        long number = answered;
        while (true) {
            long next = number + 1;
            long offset = lineOffset(next);
            while (SharedWords.getLongAcquire(LINES, offset) != next) {
                if (stop.isRaised()) {
                    answered = number;
                    return;
                }
                Thread.onSpinWait();
            }
            SharedWords.setLongRelease(LINES, ANSWERS_OFFSET + offset, next);
            number = next;
        }
    }

    @Override
    public void close() {}
}
