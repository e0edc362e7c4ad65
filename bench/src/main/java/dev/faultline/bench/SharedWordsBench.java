package dev.faultline.bench;

import dev.faultline.ffm.SharedWords;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** What an ordered load costs beside a plain one, with nobody else at the line. */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@State(Scope.Thread)
public class SharedWordsBench {

    private final Arena arena = Arena.ofShared();
    private final MemorySegment memory = arena.allocate(64, 64);

    /** Made by JMH. */
    public SharedWordsBench() {}

    /** Writes something to be read. */
    @Setup
    public void fill() {
        SharedWords.putLong(memory, 0, 42);
    }

    /** Gives the memory back. */
    @TearDown
    public void close() {
        arena.close();
    }

    /**
     * A plain load.
     *
     * @return what was read
     */
    @Benchmark
    public long plain() {
        return SharedWords.getLong(memory, 0);
    }

    /**
     * An acquire load.
     *
     * @return what was read
     */
    @Benchmark
    public long acquire() {
        return SharedWords.getLongAcquire(memory, 0);
    }
}
