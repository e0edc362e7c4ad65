package dev.faultline.bench.contender;

/**
 * Replaces the page table of a device with groups outstanding, all of which are answered then: the time for each of 10,000 groups, as a
 * multiple of that for each of 1,000.
 */
final class ReplaceWithOpenGroups implements Gauge.Sampler {
    private static final int FEW = 1_000;
    private static final int MANY = 10_000;
    private static final int WARM_UP = 10;

    private final MockProgram program = new MockProgram();
    private int table = MockProgram.FIRST_TABLE;

    ReplaceWithOpenGroups() {
        for (int i = 0; i < WARM_UP; i++) {
            var _ = replace(MANY);
        }
    }

    /** ns for each group. */
    private double replace(int groups) {
        for (int group = 0; group < groups; group++) {
            program.call(
                    MockProgram.TEST,
                    MockProgram.TEST_BYTES,
                    15,
                    0,
                    0,
                    MockProgram.DEVICE,
                    0,
                    group,
                    1,
                    group << 12,
                    0);
        }
        table = table == MockProgram.FIRST_TABLE ? MockProgram.SECOND_TABLE : MockProgram.FIRST_TABLE;
        long begun = System.nanoTime();
        program.call(MockProgram.TEST, MockProgram.TEST_BYTES, 10, MockProgram.MOCK, 0, table);
        long took = System.nanoTime() - begun;
        int told = program.driver.takeResponses().size();
        if (told != groups) {
            throw new IllegalStateException("answers=" + told + ": raised " + groups);
        }
        return (double) took / groups;
    }

    @Override
    public double sample(long ns) {
        double few = 0;
        double many = 0;
        for (long end = System.nanoTime() + ns; System.nanoTime() < end || many == 0; ) {
            for (int i = 0; i < MANY / FEW; i++) {
                few += replace(FEW) * FEW / MANY;
            }
            many += replace(MANY);
        }
        return many / few;
    }
}
