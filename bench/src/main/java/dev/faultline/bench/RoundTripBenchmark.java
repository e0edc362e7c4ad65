package dev.faultline.bench;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ring.Answer;
import dev.faultline.ring.AnswerSink;
import dev.faultline.ring.CompletionHandler;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import dev.faultline.ring.Waiting;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What the fault queue itself costs: both ends on one thread, so that no line moves between cores.
 *
 * <p>A figure is one round trip: raise, deliver, answer, repost, take the answer. The laboratory measures the same between two threads.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 3, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class RoundTripBenchmark {

    private static final int ENTRIES = 256;
    private static final int WINDOW = 64;
    private static final int DEVICE = 1;
    private static final long FIRST_ADDRESS = 0x7000_0000L;
    private static final long PAGE_BYTES = 4096;
    private static final int ACCESS = PageFaultLayout.PERM_READ;

    private final Ends ends = new Ends();

    /** Made by JMH. */
    public RoundTripBenchmark() {}

    /** Enters both ends, on the thread that measures. */
    @Setup
    public void enter() {
        ends.enter();
    }

    /** Leaves and closes. */
    @TearDown
    public void close() {
        ends.close();
    }

    /**
     * One round trip at a time.
     *
     * @return a number nobody can predict
     */
    @Benchmark
    public long windowOfOne() {
        return ends.roundTrips(1);
    }

    /**
     * Round trips by the 64.
     *
     * @return a number nobody can predict
     */
    @Benchmark
    @OperationsPerInvocation(WINDOW)
    public long windowOf64() {
        return ends.roundTrips(WINDOW);
    }

    private static final class Ends implements CompletionHandler, AnswerSink {

        private final FaultQueue queue = FaultQueue.open(
                QueueConfig.of(ENTRIES).withWaiting(Waiting.SPIN).withLanes(1));
        private final FaultProducer producer = queue.producer(WINDOW, this);
        private final FaultConsumer consumer = queue.consumer();
        private int answered;
        private long addresses;

        void enter() {
            if (!producer.enter()) {
                throw new IllegalStateException("another thread has entered");
            }
            expectOk(consumer.post(0, ENTRIES));
        }

        void close() {
            producer.leave();
            consumer.close();
            queue.close();
        }

        long roundTrips(int count) {
            for (int i = 0; i < count; i++) {
                expectOk(producer.raise(
                        i, DEVICE, FaultProducer.NO_PASID, i, FIRST_ADDRESS + i * PAGE_BYTES, ACCESS, true));
            }
            int before = answered;
            while (answered - before < count) {
                int taken = producer.poll();
                int delivered = consumer.poll(this, count);
                assert taken + delivered >= 0;
            }
            return addresses;
        }

        @Override
        public void group(long userData, FaultGroup group) {
            addresses += group.address(0);
            expectOk(consumer.answerAndRepost(group.cookie(), Answer.SUCCESS));
        }

        @Override
        public void answered(long tag, Answer code) {
            answered++;
        }

        private static void expectOk(Result result) {
            if (result != Result.OK) {
                throw new IllegalStateException("result=" + result);
            }
        }
    }
}
