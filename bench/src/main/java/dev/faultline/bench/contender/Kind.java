package dev.faultline.bench.contender;

import dev.faultline.ffm.IoUring;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** What a contender is, whatever window it keeps full. */
public enum Kind {
    /** The yardstick. */
    PINGPONG("pingpong", "two lines and a spin, moving over 512 lines"),
    /** The fault queue. */
    QUEUE("queue", "the fault queue, a lane driven by hand at both ends"),
    /** The fault queue with four producers. */
    QUEUE_4LANES("queue.4lanes", "the fault queue, four producers and one consumer, the window on each lane"),
    /** The fault queue, its answers late. */
    QUEUE_LATE("queue.late", "the fault queue, each group first LATER, then answered"),
    /** The fault queue with a million groups open. */
    QUEUE_LATE_1M("queue.late1M", "the same, each answered when 10^6 later ones have come", "-Xms256m", "-Xmx256m"),
    /** The fault queue with a consumer that sleeps. */
    QUEUE_PARK("queue.park", "the fault queue, its consumer asleep before each request"),
    /** The engine's loop over the fault queue. */
    LOOP("loop", "a device reads 64 bytes of a page that is not there: fault, map a page, answer, retry, copy"),
    /** The same with fresh pages. */
    LOOP_ZEROED("loop.zeroed", "the same, each page a fresh one of zeroes"),
    /** The loop as a kernel has it. */
    LOOP_LIST("loop.list", "the same faults and mappings over a list under a mutex, as a kernel delivers them"),
    /** The fault queue's rings alone. */
    RING("ring", "the fault queue's rings alone: stamped entries out, words back"),
    /** A ring with an index. */
    INDEX("index", "a ring each way under a shared index, answers six to an entry"),
    /** Disruptor. */
    DISRUPTOR("disruptor", "Disruptor 4, a ring each way, single producers, events published in batches"),
    /** Agrona. */
    AGRONA(
            "agrona",
            "Agrona OneToOneRingBuffer each way, claims in place, bounds checks off",
            "-Dagrona.disable.bounds.checks=true",
            "--add-opens=java.base/jdk.internal.misc=ALL-UNNAMED"),
    /** JCTools. */
    JCTOOLS(
            "jctools",
            "JCTools SpscArrayQueue each way, relaxed offers, drained in batches, objects used again",
            "--sun-misc-unsafe-memory-access=allow",
            "-XX:+UseCondCardMark"),
    /** A ring in C. */
    C_RING("c.ring", "a ring each way in C, shared index, 64-byte entries out, packed 8-byte answers back"),
    /** A futex in C. */
    C_FUTEX("c.futex", "a word and a futex in C, the responder asleep before each request"),
    /** The consumer of a descriptor on io_uring. */
    URING_SOCKET(
            "uring.socket",
            "a fault queue's protocol over a socket, its consumer on io_uring, a message for each fault"),
    /** The same in C. */
    C_URING_SOCKET("c.uring.socket", "the same protocol over a socket and io_uring in C"),
    /** Many groups to a message. */
    URING_BATCH("uring.batch", "the same, the window in one message"),
    /** The same in C. */
    C_URING_BATCH("c.uring.batch", "the same in C"),
    /** No-ops of the kernel's ring. */
    URING_NOP32("uring.nop32", "no-ops through io_uring in batches of 32"),
    /** The same in C. */
    C_URING_NOP32("c.uring.nop32", "the same no-ops in C"),
    /** Hits in the IOTLB. */
    IOTLB_HIT("iotlb.hit", "the IOTLB, 4 KiB and 2 MiB pages, each address found by the hit before"),
    /** The IOTLB in C. */
    C_IOTLB("c.iotlb", "the same IOTLB in C"),
    /** Short walks. */
    WALK_L2("walk.l2", "walks of four levels, one after the other, 64 MiB of pages"),
    /** The walk in C. */
    C_WALK_L2("c.walk.l2", "the same walk in C"),
    /** Long walks. */
    WALK_64G("walk.64g", "the same walk, 64 GiB of pages, 128 MiB of tables"),
    /** The long walk in C. */
    C_WALK_64G("c.walk.64g", "the same in C"),
    /** Pages read by a device. */
    DMA_4K("dma4k", "a device reads pages of 4 KiB at random out of 4 MiB, through its TLB"),
    /** Pages copied. */
    COPY_4K("copy4k", "pages of 4 KiB copied at random out of 4 MiB"),
    /** Many PASIDs. */
    PASIDS_1024("pasids.1024", "16 devices that know 65,536 PASIDs each read 8 bytes with 64 of them", "-Xmx1g"),
    /** One PASID. */
    PASIDS_1("pasids.1", "a device that knows one PASID reads 8 bytes with it"),
    /** Walks of two stages. */
    MISS_NESTED(
            "miss.nested", "a device without TLBs reads 8 bytes of 2048 pages in turn, through four levels over four"),
    /** Walks of one stage. */
    MISS_ONE_STAGE("miss.one_stage", "the same through four levels");

    /** Groups that stay open while others are answered. */
    private static final int MILLION = 1_000_000;

    private static final int LEAST_PIECE_ROUND_TRIPS = 512;
    private static final int USUAL_PIECE_ROUND_TRIPS = 4096;
    private static final int SHORT_WORK_PIECE = 8192;
    private static final int NOPS_PIECE = 2048;
    private static final int SOCKET_PIECE = 32;
    private static final long MIB_PAGES = 1 << 8;

    private final String key;
    private final String what;
    private final String jvmFlags;

    Kind(String key, String what, String... jvmFlags) {
        this.key = key;
        this.what = what;
        this.jvmFlags = String.join(" ", jvmFlags);
    }

    /**
     * The first part of its contenders' names.
     *
     * @return words joined by dots
     */
    String key() {
        return key;
    }

    /**
     * What it is, for people.
     *
     * @return a phrase
     */
    String what() {
        return what;
    }

    /**
     * What its process needs beside the flags all have.
     *
     * @return flags of {@code java}
     */
    List<String> jvmFlags() {
        return jvmFlags.isEmpty() ? List.of() : List.of(jvmFlags.split(" ", -1));
    }

    /**
     * The program it is, where it is not Java.
     *
     * @return a source in C, or null
     */
    public @Nullable String program() {
        return switch (this) {
            case C_RING -> "ring.c";
            case C_FUTEX -> "futex.c";
            case C_URING_SOCKET -> "uring_socket.c";
            case C_URING_BATCH -> "uring_batch.c";
            case C_URING_NOP32 -> "uring_nop.c";
            case C_IOTLB -> "iotlb.c";
            case C_WALK_L2 -> "walk_l2.c";
            case C_WALK_64G -> "walk_64g.c";
            default -> null;
        };
    }

    /**
     * Why it cannot be measured on this machine.
     *
     * @return the reason, or empty
     */
    public Optional<String> missing() {
        return switch (this) {
            case URING_SOCKET, C_URING_SOCKET, URING_BATCH, C_URING_BATCH, URING_NOP32, C_URING_NOP32 ->
                IoUring.missing();
            default -> Optional.empty();
        };
    }

    /**
     * Threads that spin at once, each of which needs a core.
     *
     * @return 2 or more
     */
    public int hotThreads() {
        return this == QUEUE_4LANES ? 5 : 2;
    }

    /** Whether it has no window above 1. */
    boolean isOneAtATime() {
        return this == PINGPONG || this == QUEUE_PARK || this == C_FUTEX || compareTo(URING_NOP32) >= 0;
    }

    /**
     * Round trips timed at a time: some tens of microseconds.
     *
     * @param window round trips under way
     * @return 1 or more
     */
    int pieceRoundTrips(int window) {
        if (this == LOOP || this == LOOP_ZEROED || this == LOOP_LIST) {
            return EngineLoop.pages(window);
        }
        if (this == QUEUE_PARK) {
            return 1;
        }
        if (this == URING_NOP32) {
            return NOPS_PIECE;
        }
        if (this == URING_SOCKET || this == URING_BATCH) {
            return window == 1 ? SOCKET_PIECE : SOCKET_PIECE * 32;
        }
        if (this == IOTLB_HIT || this == WALK_L2) {
            return SHORT_WORK_PIECE;
        }
        return window == 1 ? LEAST_PIECE_ROUND_TRIPS : USUAL_PIECE_ROUND_TRIPS;
    }

    /**
     * Makes one, ready for its first slice.
     *
     * @param window round trips it keeps under way
     * @return a new contest
     */
    Contest open(int window) {
        return switch (this) {
            case PINGPONG -> new PingPong();
            case QUEUE -> new CarriedFaults(window, FaultQueueCarrier.carrier(window));
            case QUEUE_4LANES -> new LanesContest(4, window);
            case QUEUE_LATE -> new CarriedFaults(window, FaultQueueCarrier.late(window, 0));
            case QUEUE_LATE_1M -> new CarriedFaults(window, MILLION, FaultQueueCarrier.late(window, MILLION));
            case QUEUE_PARK -> new CarriedFaults(window, FaultQueueCarrier.parked(window));
            case LOOP -> new EngineLoop(window, false);
            case LOOP_ZEROED -> new EngineLoop(window, true);
            case LOOP_LIST -> new ListLoop(window);
            case RING -> new CarriedFaults(window, RingCarrier.carrier());
            case INDEX -> new CarriedFaults(window, IndexCarrier.carrier());
            case DISRUPTOR -> new CarriedFaults(window, DisruptorCarrier.carrier(window));
            case AGRONA -> new CarriedFaults(window, AgronaCarrier.carrier(window));
            case JCTOOLS -> new CarriedFaults(window, JctoolsCarrier.carrier(window));
            case URING_SOCKET -> new CarriedFaults(window, SocketCarrier.uring(window, 1));
            case URING_BATCH -> new CarriedFaults(window, SocketCarrier.uring(window, window));
            case URING_NOP32 -> new UringNops();
            case IOTLB_HIT -> new IotlbHits();
            case WALK_L2 -> new WalkChain(64 * MIB_PAGES);
            case WALK_64G -> new WalkChain(64 * 1024 * MIB_PAGES);
            case DMA_4K -> new PageCopies(true);
            case COPY_4K -> new PageCopies(false);
            case PASIDS_1024 -> new TouchedPasids(16, 1 << 16, 64);
            case PASIDS_1 -> new TouchedPasids(1, 1, 1);
            case MISS_NESTED -> new MissedTranslations(true);
            case MISS_ONE_STAGE -> new MissedTranslations(false);
            case C_RING, C_FUTEX, C_URING_SOCKET, C_URING_BATCH, C_URING_NOP32, C_IOTLB, C_WALK_L2, C_WALK_64G ->
                throw new IllegalArgumentException("kind=" + key + " is a program in C: " + program());
        };
    }

    /**
     * One that keeps so many round trips under way.
     *
     * @param window a power of two
     * @return the contender
     */
    public Contender at(int window) {
        return new Contender(this, window);
    }
}
