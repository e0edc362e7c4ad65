package dev.faultline.bench.contender;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.faultline.bench.lab.RatioKey;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every contender, on the two threads it is measured on. */
class ContendersTest {

    private static final int PIECE = 64;
    private static final int MOST_SLICES = 50;
    private static final long SLICE_NS = 20_000_000;

    static Stream<Contender> contenders() {
        return Stream.concat(
                Stream.of(Contender.PINGPONG),
                RatioKey.ALL.stream()
                        .flatMap(ratio -> ratio.contenders().stream())
                        .distinct()
                        .filter(contender -> contender.kind().program() == null));
    }

    private static int pieceRoundTrips(Contender contender) {
        return Math.min(PIECE, contender.pieceRoundTrips());
    }

    @ParameterizedTest
    @MethodSource("contenders")
    void completesRoundTripsAndAllocatesNothingOnceWarm(Contender contender) throws InterruptedException {
        Optional<String> missing = contender.kind().missing();
        assumeTrue(missing.isEmpty(), () -> missing.orElse(""));
        AtomicReference<Throwable> failure = new AtomicReference<>();
        try (Contest contest = contender.open();
                SliceRunner runner = new SliceRunner(contest, pieceRoundTrips(contender), List.of(), failure::set)) {
            long leastBytes = Long.MAX_VALUE;
            // A kernel's list has an object for each group.
            boolean allocates = contender.kind() == Kind.LOOP_LIST;
            for (int i = 0; i < MOST_SLICES && leastBytes > 0 && !(allocates && i > 0); i++) {
                Slice slice = runner.run(SLICE_NS);
                assertTrue(slice.roundTrips() >= pieceRoundTrips(contender), slice.line());
                leastBytes = Math.min(leastBytes, slice.requesterBytes() + slice.responderBytes());
            }
            assertEquals(allocates, leastBytes > 0, "allocates");
        }
        assertNull(failure.get());
    }
}
