package dev.faultline.bench;

import dev.faultline.bench.lab.LabPlan;
import dev.faultline.bench.lab.LabReport;
import dev.faultline.bench.lab.LabRun;
import dev.faultline.bench.lab.Ratio;
import dev.faultline.bench.lab.RatioKey;
import dev.faultline.examples.BadInput;
import dev.faultline.examples.cli.ExitStatus;
import dev.faultline.examples.cli.Faultline;
import dev.faultline.examples.cli.Interruption;
import dev.faultline.examples.cli.Output;
import dev.faultline.examples.cli.Terminal;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code faultline lab}: the latency laboratory. */
@Command(
        name = "lab",
        mixinStandardHelpOptions = true,
        version = "faultline " + Faultline.VERSION,
        sortOptions = false,
        usageHelpAutoWidth = true,
        description = {
            "Measures the fault queue, its rings alone and the engine's loop against a ping-pong and against other"
                + " queues, in turn, what an idle queue costs and what memory it takes, and prints ratios. Give it two"
                + " cores and a quiet machine; it takes about five minutes.",
            ""
        },
        footer = {
            "",
            "A ratio without a value says why. It is no failure: the machine was busy, or lacks cores or a C compiler.",
            "Examples:",
            "  faultline lab --ratios --json",
            "  faultline lab --only queue.w64 --only ring",
            "  faultline lab --only queue.w64.vs_best_rival --jvms 15 --slices 60"
        })
public final class Lab implements Callable<Integer> {

    private static final String NAME = "lab";
    private static final int MOST_SLICES = 1000;
    private static final int MOST_SLICE_MS = 1000;
    private static final int MOST_JVMS = 50;
    private static final long LIMIT_MS = 270_000;
    private static final int WARM_UP_MS = 700;
    private static final int SHORT_WARM_UP_MS = 100;

    @Mixin
    private Output output;

    @SuppressWarnings("unused") // asked for or not: the laboratory has no other job yet
    @Option(names = "--ratios", description = "Print the ratios. There is nothing else yet, so it may be left out.")
    private boolean ratios;

    @Option(
            names = "--only",
            paramLabel = "KEY",
            description =
                    "Only this ratio, or those that begin with these words, such as queue.w64; which makes it faster."
                            + " May be given more than once.")
    private List<String> only = List.of();

    @Option(
            names = "--slices",
            paramLabel = "N",
            description =
                    "Pairs of slices wanted for each ratio; fewer than 9 give none, and are hardly warmed up. (21)")
    private int slices = 21;

    @Option(
            names = "--slice-ms",
            paramLabel = "MS",
            description = "Length of a slice; short ones are preempted less often. (20)")
    private int sliceMs = 20;

    @Option(
            names = "--jvms",
            paramLabel = "N",
            description = "Fresh processes for each contender, since no two compile alike. (7)")
    private int jvms = 7;

    @Option(names = "--seed", paramLabel = "N", description = "Decides the order of turns. (1)")
    private long seed = 1;

    private Lab() {}

    /**
     * Runs the laboratory and ends the process with its status.
     *
     * @param args the words after {@code faultline lab}
     */
    public static void main(String[] args) {
        String[] words = Stream.concat(Stream.of(NAME), Stream.of(args)).toArray(String[]::new);
        System.exit(Faultline.runWith(new Lab(), words));
    }

    @Override
    public Integer call() throws BadInput, InterruptedException {
        LabPlan plan = plan();
        int cores = Runtime.getRuntime().availableProcessors();
        if (cores < 2) {
            LabReport report = LabReport.refused(plan, "cores=" + cores + ": two threads that spin need two");
            return say(plan, report, false);
        }
        Terminal progress = output.progress();
        LabRun run = new LabRun(plan, progress::show);
        try (Interruption interruption = Interruption.watch()) {
            interruption.stops(run::stop);
            run.run();
            progress.clear();
            return say(plan, LabReport.of(plan, run.measured(), run.isPinned()), interruption.requested());
        }
    }

    private int say(LabPlan plan, LabReport report, boolean isInterrupted) {
        boolean isGood = report.isGood() && !isInterrupted;
        output.result(NAME, plan.seed(), isGood, isInterrupted, report::describe, table -> {
            report.describe(table);
            if (isInterrupted) {
                table.verdict(false, "interrupted: this is what was done so far");
            }
        });
        report.failures().forEach(failure -> System.err.println("faultline lab: " + failure));
        return isInterrupted ? ExitStatus.INTERRUPTED : isGood ? ExitStatus.GOOD : ExitStatus.BAD;
    }

    private LabPlan plan() throws BadInput {
        Set<RatioKey> wanted = new LinkedHashSet<>();
        for (String name : only) {
            List<RatioKey> named = RatioKey.named(name);
            if (named.isEmpty()) {
                throw new BadInput(
                        "--only",
                        name,
                        "is no ratio, nor the words that one begins with",
                        String.join(", ", RatioKey.keys()));
            }
            wanted.addAll(named);
        }
        check("--slices", slices, MOST_SLICES);
        check("--slice-ms", sliceMs, MOST_SLICE_MS);
        check("--jvms", jvms, MOST_JVMS);
        int warmUpMs = slices < Ratio.NEEDED_SLICES ? SHORT_WARM_UP_MS : WARM_UP_MS;
        List<RatioKey> inOrder = RatioKey.ALL.stream()
                .filter(ratio -> only.isEmpty() || wanted.contains(ratio))
                .toList();
        return new LabPlan(inOrder, slices, sliceMs, Math.min(jvms, slices), warmUpMs, seed, LIMIT_MS);
    }

    private static void check(String option, int value, int most) throws BadInput {
        if (value < 1 || value > most) {
            throw new BadInput(option, Integer.toString(value), "out of range", "1 to " + most);
        }
    }
}
