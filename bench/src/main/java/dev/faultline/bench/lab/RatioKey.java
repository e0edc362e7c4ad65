package dev.faultline.bench.lab;

import dev.faultline.bench.contender.Contender;
import dev.faultline.bench.contender.Gauge;
import dev.faultline.bench.contender.Kind;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * One of the ratios the laboratory prints.
 *
 * @param key its name in results and options: words joined by dots
 * @param better which way is better
 * @param basis what it is worked out from
 */
public record RatioKey(String key, Better better, Basis basis) {

    /** Which way is better. */
    public enum Better {
        /** Less is better. */
        LOWER,
        /** More is better. */
        HIGHER
    }

    /** What a ratio is worked out from. */
    public sealed interface Basis {}

    /**
     * Slices of the same rounds: times where less is better, rates where more is.
     *
     * @param subject who is measured
     * @param against whom it is measured against; of several the fastest counts
     */
    public record Paired(Contender subject, List<Contender> against) implements Basis {}

    /**
     * What both threads allocate for each round trip, in bytes.
     *
     * @param subject who is measured
     */
    public record Allocated(Contender subject) implements Basis {}

    /**
     * Round trips by themselves, in millions a second.
     *
     * @param subject who is measured
     */
    public record Paced(Contender subject) implements Basis {}

    /**
     * A gauge that is read several times.
     *
     * @param gauge which
     */
    public record Gauged(Gauge gauge) implements Basis {}

    private static final List<Kind> RIVALS = List.of(Kind.DISRUPTOR, Kind.AGRONA, Kind.JCTOOLS);

    /** All there are, in the order of printing. */
    public static final List<RatioKey> ALL = List.of(
            times("queue.w1.vs_pingpong", Kind.QUEUE.at(1), Contender.PINGPONG),
            times("queue.w1.vs_best_rival", Kind.QUEUE.at(1), rivals(1)),
            rates("queue.w8.vs_best_rival", Kind.QUEUE.at(8), rivals(8)),
            rates("queue.w64.vs_best_rival", Kind.QUEUE.at(64), rivals(64)),
            rates("queue.w256.vs_best_rival", Kind.QUEUE.at(256), rivals(256)),
            rates("queue.w64.vs_agrona", Kind.QUEUE.at(64), Kind.AGRONA.at(64)),
            rates("queue.w64.vs_jctools", Kind.QUEUE.at(64), Kind.JCTOOLS.at(64)),
            rates("ring.w64.vs_best_rival", Kind.RING.at(64), rivals(64)),
            rates("ring.w256.vs_best_rival", Kind.RING.at(256), rivals(256)),
            rates("ring.w256.vs_c", Kind.RING.at(256), Kind.C_RING.at(256)),
            times("ring.w1.vs_index", Kind.RING.at(1), Kind.INDEX.at(1)),
            rates("ring.w256.vs_index", Kind.RING.at(256), Kind.INDEX.at(256)),
            times("queue.park.vs_futex", Kind.QUEUE_PARK.at(1), Kind.C_FUTEX.at(1)),
            rates("queue.4lanes.vs_1lane", Kind.QUEUE_4LANES.at(64), Kind.QUEUE.at(64)),
            gauge("idle.park.cpu_percent", Gauge.IDLE_PARK),
            gauge("idle.sleepers.cpu_percent", Gauge.IDLE_SLEEPERS),
            gauge("idle.yield.cpu_percent", Gauge.IDLE_YIELD),
            gauge("idle.spin.cpu_percent", Gauge.IDLE_SPIN),
            new RatioKey("queue.bytes_per_round_trip", Better.LOWER, new Allocated(Kind.QUEUE.at(64))),
            gauge("queue.bytes_per_outstanding_group", Gauge.OUTSTANDING_BYTES),
            times("queue.1M_outstanding.vs_1", Kind.QUEUE_LATE_1M.at(256), Kind.QUEUE_LATE.at(256)),
            times("loop.w1.vs_queue", Kind.LOOP.at(1), Kind.QUEUE.at(1)),
            times("loop.zeroed.w1.vs_queue", Kind.LOOP_ZEROED.at(1), Kind.QUEUE.at(1)),
            rates("loop.w64.vs_mutex_list", Kind.LOOP.at(64), Kind.LOOP_LIST.at(64)),
            new RatioKey("loop.w64.mfaults_per_s", Better.HIGHER, new Paced(Kind.LOOP.at(64))),
            new RatioKey("loop.bytes_per_fault", Better.LOWER, new Allocated(Kind.LOOP.at(64))),
            rates("uring.nop32.vs_c", Kind.URING_NOP32.at(1), Kind.C_URING_NOP32.at(1)),
            times("uring.socket.w1.vs_c", Kind.URING_SOCKET.at(1), Kind.C_URING_SOCKET.at(1)),
            rates("uring.socket.w64.vs_c", Kind.URING_SOCKET.at(64), Kind.C_URING_SOCKET.at(64)),
            rates("uring.batch.w64.vs_c", Kind.URING_BATCH.at(64), Kind.C_URING_BATCH.at(64)),
            rates("queue.w64.vs_uring_socket", Kind.QUEUE.at(64), Kind.URING_SOCKET.at(64)),
            new RatioKey("uring.bytes_per_fault", Better.LOWER, new Allocated(Kind.URING_BATCH.at(64))),
            times("iotlb.hit.vs_c", Kind.IOTLB_HIT.at(1), Kind.C_IOTLB.at(1)),
            times("walk.l2.vs_c", Kind.WALK_L2.at(1), Kind.C_WALK_L2.at(1)),
            times("walk.64g.vs_c", Kind.WALK_64G.at(1), Kind.C_WALK_64G.at(1)),
            rates("dma4k.vs_copy", Kind.DMA_4K.at(1), Kind.COPY_4K.at(1)),
            times("translate.1024_pasids.vs_1", Kind.PASIDS_1024.at(1), Kind.PASIDS_1.at(1)),
            times("walk.nested.vs_one_stage", Kind.MISS_NESTED.at(1), Kind.MISS_ONE_STAGE.at(1)),
            gauge("map_unmap.ns", Gauge.MAP_UNMAP),
            gauge("facade.readwrite", Gauge.FILE_PAIR),
            new RatioKey("invalidate.1000.vs_single", Better.HIGHER, new Gauged(Gauge.INVALIDATE)),
            gauge("replace.10000.vs_1000", Gauge.REPLACE),
            new RatioKey("translate.bytes", Better.LOWER, new Allocated(Kind.PASIDS_1.at(1))));

    private static Contender[] rivals(int window) {
        return RIVALS.stream().map(rival -> rival.at(window)).toArray(Contender[]::new);
    }

    private static RatioKey times(String key, Contender subject, Contender... against) {
        return new RatioKey(key, Better.LOWER, new Paired(subject, List.of(against)));
    }

    private static RatioKey rates(String key, Contender subject, Contender... against) {
        return new RatioKey(key, Better.HIGHER, new Paired(subject, List.of(against)));
    }

    private static RatioKey gauge(String key, Gauge gauge) {
        return new RatioKey(key, Better.LOWER, new Gauged(gauge));
    }

    /**
     * What must be read for it.
     *
     * @return the gauge, or nothing
     */
    public Set<Gauge> gauges() {
        return basis instanceof Gauged(Gauge gauge) ? Set.of(gauge) : Set.of();
    }

    /**
     * Who must be measured for it, beside the yardstick.
     *
     * @return the contenders
     */
    public Set<Contender> contenders() {
        Set<Contender> contenders = new LinkedHashSet<>();
        switch (basis) {
            case Paired(Contender subject, List<Contender> against) -> {
                contenders.add(subject);
                contenders.addAll(against);
            }
            case Allocated(Contender subject) -> contenders.add(subject);
            case Paced(Contender subject) -> contenders.add(subject);
            case Gauged(Gauge _) -> {}
        }
        contenders.remove(Contender.PINGPONG);
        return contenders;
    }

    /**
     * All names.
     *
     * @return in the order of printing
     */
    public static List<String> keys() {
        return ALL.stream().map(RatioKey::key).toList();
    }

    /**
     * Finds ratios by name.
     *
     * @param name a whole name, or the words it begins with: {@code queue.w64} for all ratios of the queue at window 64
     * @return in the order of printing; empty if there are none
     */
    public static List<RatioKey> named(String name) {
        return ALL.stream()
                .filter(ratio -> ratio.key.equals(name) || ratio.key.startsWith(name + "."))
                .toList();
    }

    @Override
    public String toString() {
        return key;
    }
}
