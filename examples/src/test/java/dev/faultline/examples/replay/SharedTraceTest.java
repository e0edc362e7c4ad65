package dev.faultline.examples.replay;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.faultline.examples.BadInput;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

class SharedTraceTest {
    private static final int ACCESSES = 10 * SharedTrace.BATCH_ENTRIES + 17;

    @Test
    void everyReaderSeesAllOfItInOrder() throws Exception {
        SharedTrace trace = new SharedTrace(reader(ACCESSES, ""), Long.MAX_VALUE, 3);
        try (ExecutorService threads = Executors.newFixedThreadPool(3)) {
            List<Future<Long>> counts = new ArrayList<>();
            for (int number = 0; number < 3; number++) {
                int me = number;
                counts.add(threads.submit(() -> count(trace, me)));
            }
            for (Future<Long> count : counts) {
                assertEquals(ACCESSES, count.get());
            }
        }
        assertEquals(ACCESSES, trace.accesses());
    }

    @Test
    void stopsAtTheLimit() throws Exception {
        assertEquals(5000, count(new SharedTrace(reader(ACCESSES, ""), 5000, 1), 0));
        assertEquals(4096, count(new SharedTrace(reader(ACCESSES, ""), 4096, 1), 0));
        assertNull(new SharedTrace(reader(0, ""), 10, 1).next(0));
    }

    @Test
    void nobodyWaitsForAReaderThatLeft() throws Exception {
        SharedTrace trace = new SharedTrace(reader(ACCESSES, ""), Long.MAX_VALUE, 2);
        trace.leave(1);
        assertEquals(ACCESSES, count(trace, 0));
    }

    @Test
    void everyReaderIsToldOfDamage() {
        SharedTrace trace = new SharedTrace(reader(10, "rubbish\n"), Long.MAX_VALUE, 2);
        for (int number = 0; number < 2; number++) {
            int me = number;
            assertEquals(
                    "test line 11",
                    assertThrows(BadInput.class, () -> trace.next(me)).value());
        }
    }

    private static long count(SharedTrace trace, int number) throws Exception {
        long count = 0;
        for (SharedTrace.Batch batch; (batch = trace.next(number)) != null; ) {
            assertEquals(count, batch.first());
            for (int i = 0; i < batch.size(); i++) {
                assertEquals(count++, TraceAccess.address(batch.access(i)));
            }
        }
        return count;
    }

    private static TraceReader reader(int accesses, String more) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < accesses; i++) {
            text.append(" L ").append(Integer.toHexString(i)).append(",1\n");
        }
        text.append(more);
        return new TraceReader(new ByteArrayInputStream(text.toString().getBytes(StandardCharsets.US_ASCII)), "test");
    }
}
