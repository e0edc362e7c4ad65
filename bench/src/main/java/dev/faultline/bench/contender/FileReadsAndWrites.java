package dev.faultline.bench.contender;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.PageResponseLayout;
import dev.faultline.ring.FaultFile;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Reads one fault off a fault queue's descriptor and writes its answer there, with nobody else at the queue: time of the pair.
 * The device raises its faults before, and takes their answers after.
 */
final class FileReadsAndWrites implements Gauge.Sampler {
    private static final int ENTRIES = 256;
    private static final long PAGE = 0x1000;
    private static final int READ = 1;
    private static final long RECORD = 0x1_0000_0000L;
    private static final long ANSWER = RECORD + PAGE / 2;

    private final MemorySegment page = Arena.ofAuto().allocate(PAGE);
    private final UserMemory memory = new UserMemory();
    private final FaultFile file;
    private final FaultProducer producer;
    private int told;

    FileReadsAndWrites() {
        FaultQueue queue = FaultQueue.open(QueueConfig.of(ENTRIES));
        file = queue.file();
        producer = queue.producer(ENTRIES, (tag, code) -> told++);
        if (!producer.enter()) {
            throw new IllegalStateException("enter on a new queue: refused");
        }
        memory.map(RECORD, page, true);
    }

    /** One fault after the other, as many as the queue has entries; ns. */
    private long pairs() {
        told = 0;
        for (int i = 0; i < ENTRIES; i++) {
            require(producer.raise(i, 7, 5, i, i * PAGE, READ, true) == Result.OK);
        }
        producer.flush();
        long begun = System.nanoTime();
        for (int i = 0; i < ENTRIES; i++) {
            require(file.read(memory, RECORD, PageFaultLayout.SIZE) == PageFaultLayout.SIZE);
            page.set(
                    ValueLayout.JAVA_INT,
                    ANSWER - RECORD + PageResponseLayout.COOKIE_OFFSET,
                    page.get(ValueLayout.JAVA_INT, PageFaultLayout.COOKIE_OFFSET));
            require(file.write(memory, ANSWER, PageResponseLayout.SIZE) == PageResponseLayout.SIZE);
        }
        long took = System.nanoTime() - begun;
        while (told < ENTRIES) {
            producer.poll();
        }
        return took;
    }

    private static void require(boolean condition) {
        if (!condition) {
            throw new IllegalStateException("a fault was not raised, read or answered");
        }
    }

    @Override
    public double sample(long ns) {
        for (long begun = System.nanoTime(); System.nanoTime() - begun < ns; ) {
            pairs();
        }
        long rounds = 0;
        long took = 0;
        while (took < ns) {
            took += pairs();
            rounds++;
        }
        return (double) took / (rounds * ENTRIES);
    }
}
