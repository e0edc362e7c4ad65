package dev.faultline.bench.contender;

/** A thousand entries in one invalidation command, and in a thousand commands: how many times as long the thousand take. */
final class InvalidationBatches implements Gauge.Sampler {
    private static final int ENTRIES = 1_000;
    private static final int ENTRY_BYTES = 8;
    private static final int TURNS = 8;

    private final MockProgram program = new MockProgram();

    private void invalidate(int entries) {
        program.call(
                MockProgram.INVALIDATE,
                32,
                MockProgram.FIRST_TABLE,
                MockProgram.data(),
                MockProgram.high(),
                MockProgram.DATA_TYPE,
                ENTRY_BYTES,
                entries,
                0);
    }

    @Override
    public double sample(long ns) {
        long single = 0;
        long batch = 0;
        for (long end = System.nanoTime() + 2 * ns; System.nanoTime() < end; ) {
            long begun = System.nanoTime();
            for (int i = 0; i < ENTRIES; i++) {
                invalidate(1);
            }
            long between = System.nanoTime();
            for (int i = 0; i < TURNS; i++) {
                invalidate(ENTRIES);
            }
            batch += System.nanoTime() - between;
            single += between - begun;
        }
        return (double) single * TURNS / batch;
    }
}
