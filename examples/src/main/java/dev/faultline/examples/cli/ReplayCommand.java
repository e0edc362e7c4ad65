package dev.faultline.examples.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.faultline.examples.BadInput;
import dev.faultline.examples.replay.FaultRecorder;
import dev.faultline.examples.replay.Mismatch;
import dev.faultline.examples.replay.Replay;
import dev.faultline.examples.replay.ReplayConfig;
import dev.faultline.examples.replay.ReplayReport;
import dev.faultline.examples.replay.TraceInput;
import dev.faultline.iommu.Counters;
import dev.faultline.iommu.Disaster;
import dev.faultline.iommu.OutOfFrames;
import dev.faultline.ring.Waiting;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;

/** {@code faultline replay}: a real program's memory trace as device accesses, with every byte checked. */
@Command(
        name = "replay",
        mixinStandardHelpOptions = true,
        version = "faultline " + Faultline.VERSION,
        sortOptions = false,
        usageHelpAutoWidth = true,
        description = {
            "Replays the memory trace of a real program as device accesses through the IOMMU. A demand pager maps the"
                    + " pages, evicts by CLOCK when the frames run out, and every byte a device reads is checked.",
            ""
        },
        footer = {
            "",
            "A trace is what  valgrind --tool=lackey --trace-mem=yes --log-file=FILE PROGRAM  writes, plain or gzip.",
            "Examples:",
            "  faultline replay",
            "  faultline replay --devices 4 --frames 200 --window 16 --json",
            "  faultline replay --record faults.jsonl && faultline replay faults.jsonl"
        })
final class ReplayCommand implements Callable<Integer> {
    private static final String NAME = "replay";
    private static final long TICK_MS = 200;

    @Spec
    private CommandSpec spec;

    @Mixin
    private Output output;

    @Parameters(
            index = "0",
            arity = "0..1",
            paramLabel = "TRACE",
            description =
                    "A lackey trace, a stream recorded with --record, or - for standard input. Without it a run of"
                            + " sqlite3 that comes with the program.")
    private @Nullable String trace;

    @Option(
            names = "--devices",
            paramLabel = "N",
            description = "Devices; each replays the whole trace in an address space of its own. (1)")
    private int devices = 1;

    @Option(
            names = "--device-threads",
            paramLabel = "T",
            description = "Threads that step the devices. With one, all counts repeat exactly. (1)")
    private int deviceThreads = 1;

    @Option(
            names = "--frames",
            paramLabel = "N",
            description = "Physical frames for pages. (" + ReplayConfig.DEFAULT_FRAMES + " a device)")
    private @Nullable Integer frames;

    @Option(
            names = "--table-frames",
            paramLabel = "N",
            description = "Physical frames for page tables. (" + ReplayConfig.DEFAULT_TABLE_FRAMES + ")")
    private int tableFrames = ReplayConfig.DEFAULT_TABLE_FRAMES;

    @Option(names = "--window", paramLabel = "N", description = "Accesses a device may have under way. (1)")
    private int window = 1;

    @Option(names = "--group", paramLabel = "N", description = "Pages asked for together. (1)")
    private int group = 1;

    @Option(
            names = "--wait",
            paramLabel = "HOW",
            converter = WaitConverter.class,
            description = "How threads wait for each other: spin, yield, park or eventfd. (park)")
    private Waiting waiting = Waiting.SPIN_THEN_PARK;

    @Option(
            names = "--deadline",
            paramLabel = "TIME",
            converter = DurationOption.class,
            description = "After it a group is answered without the handler, such as 500ms; 0s for never. (10s)")
    private Duration deadline = Duration.ofSeconds(10);

    @Option(names = "--limit", paramLabel = "N", description = "Replay the first N accesses of the trace only.")
    private long limit = Long.MAX_VALUE;

    @Option(
            names = "--seed",
            paramLabel = "N",
            description = "Decides all data, and with --virtual all that happens. (1)")
    private long seed = 1;

    @Option(
            names = "--disaster",
            paramLabel = "NAME",
            converter = DisasterConverter.class,
            description =
                    "Every device causes it again and again: queue-overflow, lost-last, index-reused, stop-marker-race,"
                            + " device-tlb-timeout, failure-answer, reset-in-flight, pasid-reused or flood.")
    private @Nullable Disaster disaster;

    @Option(
            names = "--virtual",
            description = "Virtual time: devices, engine, queue and pager take turns on one thread, in an order and at"
                    + " moments that the seed decides. The same seed gives the same run.")
    private boolean virtual;

    @Option(
            names = "--record",
            paramLabel = "FILE",
            description = "Write the fault stream there, one JSON line a group; replay raises it again.")
    private @Nullable String record;

    ReplayCommand() {}

    @Override
    public Integer call() {
        try (Interruption interruption = Interruption.watch()) {
            return replay(interruption);
        } catch (BadInput | Lacking | IOException | RuntimeException | InterruptedException e) {
            return output.failure(NAME, said(e));
        } catch (OutOfMemoryError e) {
            return output.failure(NAME, noMemory(e));
        }
    }

    private int replay(Interruption interruption) throws BadInput, Lacking, IOException, InterruptedException {
        long deadlineNs = deadline.compareTo(Duration.ofDays(1)) > 0 ? Long.MAX_VALUE : deadline.toNanos();
        if (frames != null && frames == 0) {
            throw new BadInput("--frames", "0", "too few", "1 or more");
        }
        ReplayConfig config = new ReplayConfig(
                        devices,
                        deviceThreads,
                        frames == null ? 0 : frames,
                        tableFrames,
                        window,
                        group,
                        waiting,
                        deadlineNs,
                        limit,
                        seed,
                        disaster,
                        virtual)
                .checked();
        if (virtual) {
            refuse(
                    "there is one thread, which never waits, in virtual time",
                    "with --virtual",
                    "--device-threads",
                    "--wait");
        }
        Path target = record == null ? null : path("--record", record);
        try (TraceInput input = open()) {
            if (input.isFaultStream()) {
                refuse(
                        "is decided by the recording",
                        "with a recorded fault stream",
                        "--devices",
                        "--device-threads",
                        "--group",
                        "--disaster",
                        "--virtual");
            }
            boolean isFile = trace != null && !trace.equals("-");
            try (FaultRecorder recorder = target == null
                    ? null
                    : FaultRecorder.open(target, isFile ? Path.of(String.valueOf(trace)) : null)) {
                return replay(config, input, recorder, interruption);
            }
        }
    }

    private int replay(
            ReplayConfig config, TraceInput input, @Nullable FaultRecorder recorder, Interruption interruption)
            throws BadInput, Lacking, IOException, InterruptedException {
        try (Replay replay = Replay.of(config, input, recorder)) {
            interruption.stops(replay::stop);
            watch(replay);
            Throwable failure = replay.failure();
            if (failure != null && !interruption.requested()) {
                throw rethrown(failure);
            }
            ReplayReport report = replay.report();
            boolean interrupted = interruption.requested() && !report.complete();
            String problem = report.problem();
            if (problem == null && !interrupted && report.traceAccesses() == 0) {
                throw new BadInput("TRACE", input.name(), "has no access", "a trace with one access or more");
            }
            if (problem == null && !interrupted && recorder != null) {
                keep(recorder);
            }
            output.result(
                    NAME,
                    config.seed(),
                    problem == null && !interrupted,
                    interrupted,
                    node -> describe(node, report, problem),
                    table -> describe(table, report, problem, interrupted));
            if (problem != null) {
                System.err.println("faultline " + NAME + ": " + problem);
                return ExitStatus.BAD;
            }
            return interrupted ? ExitStatus.INTERRUPTED : ExitStatus.GOOD;
        }
    }

    private TraceInput open() throws BadInput, IOException {
        if (trace == null) {
            return TraceInput.bundled();
        }
        return trace.equals("-") ? TraceInput.standardInput() : TraceInput.file(path("TRACE", trace));
    }

    private static Path path(String field, String value) throws BadInput {
        try {
            if (value.isEmpty()) {
                throw new BadInput(field, "\"\"", "is empty", "the name of a file");
            }
            return Path.of(value);
        } catch (InvalidPathException e) {
            throw new BadInput(field, value.replaceAll("[^ -~]", "?"), "is no file name", "the name of a file");
        }
    }

    private void refuse(String why, String where, String... options) throws BadInput {
        for (String option : options) {
            if (spec.commandLine().getParseResult().hasMatchedOption(option)) {
                throw new BadInput(option, "", why, "no " + option + " " + where);
            }
        }
    }

    private void watch(Replay replay) throws InterruptedException {
        Terminal terminal = output.progress();
        long startNs = System.nanoTime();
        replay.start();
        while (!replay.await(TICK_MS)) {
            if (terminal.isLive()) {
                terminal.show(progressLine(replay.progress(), (System.nanoTime() - startNs) / 1e9));
            }
        }
        terminal.clear();
    }

    private static String progressLine(Replay.Progress now, double elapsedS) {
        String line = String.format(
                Locale.ROOT, "%,d accesses (%,.0f/s), %,d faults", now.done(), now.done() / elapsedS, now.faults());
        if (Double.isNaN(now.fraction()) || now.fraction() <= 0) {
            return line;
        }
        double fraction = Math.min(1, now.fraction());
        return line
                + String.format(
                        Locale.ROOT, ", %.0f%%, %.0f s left", 100 * fraction, elapsedS * (1 - fraction) / fraction);
    }

    private static void keep(FaultRecorder recorder) throws Lacking {
        try {
            recorder.keep();
        } catch (IOException e) {
            throw new Lacking(
                    "--record", "cannot be written (" + e.getMessage() + ")", "make room, or write elsewhere");
        }
    }

    private static void describe(ObjectNode node, ReplayReport r, @Nullable String problem) {
        ReplayConfig c = r.config();
        node.put("source", r.faultStream() ? "fault_stream" : "trace")
                .put("trace", r.trace())
                .put("trace_accesses", r.traceAccesses());
        node.putObject("options")
                .put("devices", r.faultStream() ? r.spaces() : c.devices())
                .put("device_threads", c.deviceThreads())
                .put("frames", c.frames())
                .put("table_frames", c.tableFrames())
                .put("window", c.window())
                .put("group", c.group())
                .put("wait", WaitConverter.name(c.waiting()))
                .put("deadline_ns", c.deadlineNs())
                .put("limit", c.limit() == Long.MAX_VALUE ? null : c.limit())
                .put("disaster", c.disaster() == null ? null : DisasterConverter.name(c.disaster()));
        node.put("accesses", r.accesses())
                .put("loads", r.loads())
                .put("stores", r.stores())
                .put("accesses_per_s", Math.round(r.accesses() / r.elapsedS()))
                .put("replay_s", Math.round(r.elapsedS() * 1e6) / 1e6)
                .put("verified_bytes", r.verifiedBytes())
                .put("stored_bytes", r.storedBytes())
                .put("restarts", r.restarts())
                .put("device_tlb_time_outs", r.tlbTimeOuts())
                .put("pages_touched", r.pages());
        Counters k = r.counters();
        rate(node.putObject("device_tlb"), k.deviceTlbHits(), k.deviceTlbMisses());
        rate(node.putObject("iotlb"), k.iotlbHits(), k.iotlbMisses());
        node.putObject("paging")
                .put("mapped", r.mapped())
                .put("evictions", r.evictions())
                .put("written_back", r.writtenBack())
                .put("restored", r.restored());
        if (r.recorded() > 0) {
            node.put("recorded", r.recorded());
        }
        ReplayReport.Virtual v = r.virtual();
        if (v != null) {
            node.putObject("virtual")
                    .put("elapsed_ns", v.elapsedNs())
                    .put("acts", v.acts())
                    .put("order", "0x" + Long.toHexString(v.order()));
        }
        node.set("faults", faults(r).json());
        if (problem != null) {
            Mismatch m = r.mismatch();
            Output.error(
                    node,
                    m == null ? "failed" : "mismatch",
                    problem,
                    m == null ? null : "0x" + Long.toHexString(m.address()),
                    m == null ? null : m.found(),
                    m == null ? null : m.expected());
        }
    }

    private static void rate(ObjectNode node, long hits, long misses) {
        node.put("hits", hits).put("misses", misses).put("hit_rate", hits + misses == 0 ? null : hitRate(hits, misses));
    }

    private static double hitRate(long hits, long misses) {
        return Math.round(1e6 * hits / (hits + misses)) / 1e6;
    }

    private static void describe(Table t, ReplayReport r, @Nullable String problem, boolean interrupted) {
        ReplayConfig c = r.config();
        t.title("replay of " + r.trace());
        if (r.faultStream()) {
            t.row(
                    "fault stream",
                    "%,d groups for %d address spaces, %,d frames",
                    r.traceAccesses(),
                    r.spaces(),
                    c.frames());
        } else {
            t.row(
                    "set-up",
                    "%s on %s, %,d frames, window %d, groups of %d",
                    Table.count(c.devices(), "device"),
                    Table.count(c.deviceThreads(), "thread"),
                    c.frames(),
                    c.window(),
                    c.group());
            t.row(
                    "accesses",
                    "%,d in %.2f s (%,.0f/s), of %,d in the trace: %,d loads, %,d stores",
                    r.accesses(),
                    r.elapsedS(),
                    r.accesses() / r.elapsedS(),
                    r.traceAccesses(),
                    r.loads(),
                    r.stores());
            Counters k = r.counters();
            t.row(
                    "TLB hits",
                    "device %.3f %%, IOTLB %.1f %% of the rest",
                    percent(k.deviceTlbHits(), k.deviceTlbMisses()),
                    percent(k.iotlbHits(), k.iotlbMisses()));
        }
        faults(r).rows(t);
        t.row(
                "pages",
                "%,d mapped, %,d evicted, %,d written back, %,d restored%s",
                r.mapped(),
                r.evictions(),
                r.writtenBack(),
                r.restored(),
                r.faultStream() ? "" : String.format(Locale.ROOT, "; %,d touched", r.pages()));
        if (r.restarts() > 0) {
            t.row("started again", "%,d accesses, for the deadline answered them", r.restarts());
        }
        if (r.tlbTimeOuts() > 0) {
            t.row("TLB time-outs", "%,d invalidations not answered, after each a reset", r.tlbTimeOuts());
        }
        if (r.recorded() > 0) {
            t.row("recorded", "%,d groups", r.recorded());
        }
        ReplayReport.Virtual v = r.virtual();
        if (v != null) {
            t.row(
                    "virtual time",
                    "%,.6f s, %,d turns, order 0x%x (the same for the same seed, %d)",
                    v.elapsedNs() / 1e9,
                    v.acts(),
                    v.order(),
                    c.seed());
        }
        if (!r.faultStream()) {
            t.row(
                    "data",
                    "%s read and verified, %s stored (seed %d)",
                    Table.bytes(r.verifiedBytes()),
                    Table.bytes(r.storedBytes()),
                    c.seed());
        }
        if (interrupted) {
            t.verdict(false, "interrupted: the figures are those so far");
        } else if (problem == null) {
            t.verdict(true, r.faultStream() ? "every group was answered once" : "every byte is right");
        } else {
            t.verdict(false, "failed");
        }
    }

    private static FaultBlock faults(ReplayReport r) {
        return new FaultBlock(r.accounting(), r.elapsedS(), r.latencyNs(), r.bytesPerFault());
    }

    private static double percent(long part, long rest) {
        return part + rest == 0 ? 0 : 100.0 * part / (part + rest);
    }

    private RuntimeException rethrown(Throwable failure) throws BadInput, Lacking, IOException, InterruptedException {
        switch (failure) {
            case BadInput e -> throw e;
            case IOException e -> throw e;
            case RuntimeException e -> throw e;
            case Error e -> throw e;
            default -> throw new IllegalStateException(failure);
        }
    }

    private Exception said(Exception e) {
        return switch (e) {
            case OutOfFrames f ->
                new Lacking("--table-frames " + tableFrames, "no frame for a page table", "give more");
            case UncheckedIOException u
            when record != null ->
                new Lacking("--record " + record, String.valueOf(u.getMessage()), "make room, or write elsewhere");
            case IOException io ->
                new BadInput(
                        "TRACE", String.valueOf(trace), "cannot be read (" + io.getMessage() + ")", "a readable file");
            default -> e;
        };
    }

    private Lacking noMemory(OutOfMemoryError e) {
        return new Lacking("memory", String.valueOf(e.getMessage()), "fewer --frames or --devices take less");
    }

    /** A disaster by its name. */
    static final class DisasterConverter implements ITypeConverter<Disaster> {
        @Override
        public Disaster convert(String value) {
            for (Disaster disaster : Disaster.values()) {
                if (name(disaster).equals(value)) {
                    return disaster;
                }
            }
            throw new TypeConversionException(Arrays.stream(Disaster.values())
                    .map(DisasterConverter::name)
                    .collect(Collectors.joining(", ")));
        }

        static String name(Disaster disaster) {
            return disaster.name().toLowerCase(Locale.ROOT).replace('_', '-');
        }
    }

    /** {@code spin}, {@code yield}, {@code park} or {@code eventfd}. */
    static final class WaitConverter implements ITypeConverter<Waiting> {
        @Override
        public Waiting convert(String value) {
            for (Waiting waiting : Waiting.values()) {
                if (name(waiting).equals(value)) {
                    return waiting;
                }
            }
            throw new TypeConversionException("spin, yield, park or eventfd");
        }

        static String name(Waiting waiting) {
            return switch (waiting) {
                case SPIN -> "spin";
                case YIELD -> "yield";
                case SPIN_THEN_PARK -> "park";
                case EVENTFD -> "eventfd";
            };
        }
    }
}
